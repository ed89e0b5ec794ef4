"""The list of modules that define tables of the node."""

from importlib import import_module
from typing import Final

from sqlalchemy import MetaData

from jointrisk_node.store import Base

TABLE_MODULES: Final[tuple[str, ...]] = (
    "jointrisk_node.asking.tables",
    "jointrisk_node.audit_journal.tables",
    "jointrisk_node.contracts.tables",
    "jointrisk_node.holder.tables",
    "jointrisk_node.listings.tables",
    "jointrisk_node.membership.tables",
    "jointrisk_node.models.tables",
    "jointrisk_node.signals.tables",
    "jointrisk_node.sums.tables",
)
"""Every module with tables on ``Base``, such as ``jointrisk_node.joining``; a new one is added here."""


def load_tables() -> MetaData:
    """Import every module that defines tables, and return the metadata that then holds them all."""
    for module in TABLE_MODULES:
        import_module(module)
    return Base.metadata
