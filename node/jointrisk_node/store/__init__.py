"""The node's database: ``Base`` of its tables and its migrations. Tables sit with their capability."""

from pathlib import Path
from typing import Final

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from jointrisk.store import COLUMN_TYPES, NAMING_CONVENTION, audit_table

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""The folder of migrations, for `jointrisk.store.open_store`."""


class Base(DeclarativeBase):
    """Base of every table of the node."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = COLUMN_TYPES


audit_table(Base.metadata)
