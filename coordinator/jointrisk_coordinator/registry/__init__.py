"""The model registry at the coordinator: what runs made, signed once, kept for good, served to members."""

from jointrisk_coordinator.registry.ledger import PublishedModel
from jointrisk_coordinator.registry.publishing import ModelRegistry

__all__ = ["ModelRegistry", "PublishedModel"]
