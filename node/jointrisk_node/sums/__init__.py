"""What this node answers in secure sums, durably: sessions, attempts, statements; and what it signs in them.

`SumLedger` is the database, `SumDesk` what a run's worker process may ask of the daemon. The worker computes; whether
an answer leaves is decided here, in the transaction that stores it.
"""

from jointrisk_node.sums.desk import SumDesk, SumPolicy
from jointrisk_node.sums.ledger import SumLedger

__all__ = ["SumDesk", "SumLedger", "SumPolicy"]
