"""Checks of docs/protocol.md, 4.7: only a lister sees whether the coordinator keeps its entries and withdrawals."""

from jointrisk_node.listings.witnessing.checks import Check, Found, OwnState, Replica, Verdict, judge
from jointrisk_node.listings.witnessing.ledger import Alarm, WitnessLedger
from jointrisk_node.listings.witnessing.watching import Watch

__all__ = ["Alarm", "Check", "Found", "OwnState", "Replica", "Verdict", "Watch", "WitnessLedger", "judge"]
