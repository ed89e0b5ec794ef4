"""The node's daemon: the only place that wires its parts together.

Modules: `running` (its life, membership, contract, training, models), `listings` (holding, asking, listing, signals).
"""

from jointrisk_node.daemon.running import run_daemon

__all__ = ["run_daemon"]
