"""Models at a node: fetched, verified against pinned key and contract, kept, one of them active."""

from jointrisk_node.models.fetching import ModelDesk
from jointrisk_node.models.ledger import KeptModel, ModelLedger, active_bundle, stored_bundle

__all__ = ["KeptModel", "ModelDesk", "ModelLedger", "active_bundle", "stored_bundle"]
