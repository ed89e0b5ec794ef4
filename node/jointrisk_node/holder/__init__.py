"""Holding a share of the group key: key ceremonies, and the generations that they made."""

from jointrisk_node.holder.ledger import GenerationLedger
from jointrisk_node.holder.link import CeremonyLink
from jointrisk_node.holder.participation import CeremonyDesk

__all__ = ["CeremonyDesk", "CeremonyLink", "GenerationLedger"]
