"""What is learnt together: tasks, strategies, the aggregation seam, checkpoints, and Flower behind one module.

Flower is used as a library and nothing of it may call home: its telemetry is read from the environment when it is first
imported, so this package turns it off before any of its modules can import it.
"""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
