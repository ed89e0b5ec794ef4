"""Feature contracts at a node: fetched, verified against the coordinator's pinned key, kept."""

from jointrisk_node.contracts.fetching import ContractDesk, GetContract
from jointrisk_node.contracts.ledger import ContractLedger, newest_contract

__all__ = ["ContractDesk", "ContractLedger", "GetContract", "newest_contract"]
