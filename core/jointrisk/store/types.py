"""Column types and names that mean the same in SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, DateTime, Dialect, Double, Integer, LargeBinary
from sqlalchemy.types import TypeDecorator, TypeEngine

NAMING_CONVENTION: Final = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""How constraints are named, so that migrations can alter them on both engines."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: an aware datetime in, an aware datetime in UTC out, microseconds kept.

    SQLite has no time zones and would give back naive datetimes.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use the time zone where the engine has one."""
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware datetime into what the engine stores.

        Raises:
            ValueError: the datetime is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware datetime, got a naive one")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the engine stored into an aware datetime in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.replace(tzinfo=UTC)


COLUMN_TYPES: Final[dict[Any, Any]] = {
    # PostgreSQL's INTEGER ends at 2^31 - 1. SQLite numbers rows by itself only in a column that says INTEGER.
    int: BigInteger().with_variant(Integer, "sqlite"),
    float: Double(),
    bytes: LargeBinary(),
    datetime: UtcDateTime(),
}
"""The ``type_annotation_map`` of both packages' ``Base``."""
