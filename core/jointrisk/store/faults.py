"""What a database driver's error means to us, without the values that drivers put into their messages."""

import sqlite3

from psycopg import Error as PostgresError
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from jointrisk.errors import ConflictError, CorruptError, InvalidInputError, JointriskError, UnavailableError

_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED", "55P03"}
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"}
_SQLITE_MISTAKE = "SQLITE_ERROR"  # a missing table, for example; its text holds names only
_WRITES_REFUSED = {"SQLITE_READONLY", "25006"}


def translated(error: SQLAlchemyError) -> Exception:
    """Return the error to raise in place of a driver's.

    Mistakes in our own SQL come back as they are; everything else loses its text, which could hold stored
    values.
    """
    if not isinstance(error, DBAPIError):
        return _no_connection(error)
    name = _name_of(error.orig)
    if isinstance(error, ProgrammingError) or name == _SQLITE_MISTAKE:
        return error
    if isinstance(error, IntegrityError):
        return ConflictError(f"the change collides with what is stored ({_rule_of(error.orig)})")
    if isinstance(error, DataError):
        return InvalidInputError(f"a value does not fit the column that it was meant for ({name})")
    return _translated_by_name(error, name)


def _translated_by_name(error: DBAPIError, name: str) -> Exception:
    if any(name.startswith(busy) for busy in _BUSY):
        return UnavailableError("another writer kept the database for too long", remedy="Try again.")
    if any(name.startswith(damaged) for damaged in _DAMAGED):
        return CorruptError(f"the database is damaged ({name})", remedy="Restore it from a backup.")
    if any(name.startswith(refused) for refused in _WRITES_REFUSED):
        return JointriskError(f"a read-only database or session was written to ({name})")
    if isinstance(error, OperationalError):
        return _no_connection(error, name)
    return JointriskError(f"the database failed ({name})")


def _no_connection(error: SQLAlchemyError, name: str = "") -> UnavailableError:
    return UnavailableError(
        f"the database cannot be used now ({name or type(error).__name__})",
        remedy="Check that it runs, that its address is right and that the disk is not full.",
    )


def _name_of(cause: BaseException | None) -> str:
    """Return the engine's own name of what happened: SQLite's error name or PostgreSQL's SQLSTATE."""
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", "") or type(cause).__name__
    if isinstance(cause, PostgresError):
        return cause.sqlstate or type(cause).__name__
    return type(cause).__name__


def _rule_of(cause: BaseException | None) -> str:
    """Return the rule that was broken: names of tables and columns, never the values."""
    if isinstance(cause, PostgresError):
        return cause.diag.constraint_name or cause.sqlstate or "unknown rule"
    # SQLite's text is "UNIQUE constraint failed: invitation.id".
    return str(cause)
