"""The list of modules that define tables of the coordinator."""

from importlib import import_module
from typing import Final

from sqlalchemy import MetaData

from jointrisk_coordinator.store import Base

TABLE_MODULES: Final[tuple[str, ...]] = (
    "jointrisk_coordinator.ceremonies.tables",
    "jointrisk_coordinator.contracts.tables",
    "jointrisk_coordinator.listings.tables",
    "jointrisk_coordinator.membership.tables",
    "jointrisk_coordinator.registry.tables",
    "jointrisk_coordinator.runs.tables",
)
"""Every module with tables on ``Base``, such as ``jointrisk_coordinator.runs``; a new one is added here."""


def load_tables() -> MetaData:
    """Import every module that defines tables, and return the metadata that then holds them all."""
    for module in TABLE_MODULES:
        import_module(module)
    return Base.metadata
