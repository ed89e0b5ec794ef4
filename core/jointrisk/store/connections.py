"""Engines: one set of guarantees, made with each database's own means."""

import os
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from jointrisk.errors import InvalidInputError, NotFoundError

READS_ONLY: Final = "jointrisk_reads_only"
"""Execution option: True opens a snapshot that cannot write, False waits for its turn to write."""

_WAIT_SECONDS = 30
_POSTGRESQL_WRITER = 0x6A6F696E74
"""The advisory lock that a writer holds until its transaction ends ("joint" in ASCII)."""
_SQLITE_SETTINGS = (
    f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # in WAL mode NORMAL would lose acknowledged commits at a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
)
_POSTGRESQL_SETTINGS = (
    "SET TIME ZONE 'UTC'",
    f"SET lock_timeout = '{_WAIT_SECONDS}s'",
    "SET synchronous_commit = on",
)


def make_engine(url: str) -> Engine:
    """Return an engine for a database, with our guarantees installed. Connects only when first used.

    Raises:
        InvalidInputError: the URL is of no kind that we can use.
        NotFoundError: the folder of a SQLite file does not exist.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    return _postgresql(parsed)


def _parse(url: str) -> URL:
    expected = "expected sqlite:////absolute/path or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInputError(f"{expected}, got something that is no URL") from None
    if parsed.drivername not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        raise InvalidInputError(f"{expected}, got a URL that starts with {parsed.drivername}:")
    if parsed.drivername == "sqlite" and not Path(parsed.database or "").is_absolute():
        raise InvalidInputError(f"{expected}, got a SQLite URL without an absolute path")
    return parsed.set(drivername="sqlite" if parsed.drivername == "sqlite" else "postgresql+psycopg")


def _sqlite(url: URL) -> Engine:
    file = Path(url.database or "")
    if not file.parent.is_dir():
        raise NotFoundError(f"expected a folder {file.parent} for the database, got none", remedy="Run `init` first.")
    # SQLite would make the file readable by others; its -wal and -shm files take over the mode of this one.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(
        url, hide_parameters=True, pool_timeout=_WAIT_SECONDS, connect_args={"timeout": _WAIT_SECONDS}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    # The driver's own BEGIN would come late and deferred: two readers that then both write would collide.
    connection.isolation_level = None
    for setting in _SQLITE_SETTINGS:
        connection.execute(setting)


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get(READS_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_timeout=_WAIT_SECONDS,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10},
    )
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _: ConnectionPoolEntry) -> None:
    for setting in _POSTGRESQL_SETTINGS:
        connection.execute(setting)
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(READS_ONLY, False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_WRITER})")
