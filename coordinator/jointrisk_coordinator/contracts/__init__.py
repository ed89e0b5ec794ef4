"""Feature contracts at the coordinator: proposed from a sample, published in signed versions, served to members."""

from jointrisk_coordinator.contracts.drafting import Draft, draft
from jointrisk_coordinator.contracts.ledger import PublishedContract, current, get, published
from jointrisk_coordinator.contracts.publishing import Sign, publish

__all__ = ["Draft", "PublishedContract", "Sign", "current", "draft", "get", "publish", "published"]
