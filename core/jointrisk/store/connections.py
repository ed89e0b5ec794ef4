"""Engines: one set of guarantees, made with each database's own means."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from jointrisk.errors import InvalidInputError, NotFoundError

READS_ONLY: Final = "jointrisk_reads_only"
"""Execution option: True opens a snapshot that cannot write, False waits for its turn to write."""

WAIT_SECONDS: Final = 30
"""How long a writer waits for its turn, and anybody for a connection, before it is told that there is none."""
_RETRY_SECONDS = 0.01
_EMPTYING_MILLISECONDS = 1000
_POSTGRESQL_WRITER = 0x6A6F696E74
"""The advisory lock that a writer holds until its transaction ends ("joint" in ASCII)."""
_SQLITE_SETTINGS = (
    "PRAGMA synchronous = FULL",  # in WAL mode NORMAL would lose acknowledged commits at a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
)
_POSTGRESQL_CONNECT = {"connect_timeout": 10}
_POSTGRESQL_SETTINGS = (
    "SET TIME ZONE 'UTC'",
    "SET synchronous_commit = on",
)


def make_engine(url: str, wait_seconds: float = WAIT_SECONDS) -> Engine:
    """Return an engine for a database, with our guarantees installed. Connects only when first used.

    Raises:
        InvalidInputError: the URL is of no kind that we can use.
        NotFoundError: the folder of a SQLite file does not exist.
    """
    parsed = _parse(url)
    milliseconds = round(wait_seconds * 1000)
    if parsed.drivername == "sqlite":
        _make_file(Path(parsed.database or ""))
        engine = create_engine(parsed, hide_parameters=True, pool_timeout=wait_seconds)
        _install(engine, (f"PRAGMA busy_timeout = {milliseconds}", *_SQLITE_SETTINGS), _begin_sqlite)
        event.listen(engine, "connect", lambda connection, _: _use_write_ahead_log(connection, wait_seconds))
        return engine
    engine = create_engine(
        parsed, hide_parameters=True, pool_timeout=wait_seconds, pool_pre_ping=True, connect_args=_POSTGRESQL_CONNECT
    )
    _install(engine, (f"SET lock_timeout = {milliseconds}", *_POSTGRESQL_SETTINGS), _begin_postgresql)
    return engine


def empty_log(connection: Any) -> bool:
    """Move SQLite's write-ahead log into the file and empty it; return whether that was possible.

    Args:
        connection: of the driver, outside a transaction.
    """
    (before,) = connection.execute("PRAGMA busy_timeout").fetchone()
    # Writers wait meanwhile. One reader of an old snapshot must not make them wait as long as for one another.
    connection.execute(f"PRAGMA busy_timeout = {_EMPTYING_MILLISECONDS}")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {before}")
    return not busy


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


def _make_file(file: Path) -> None:
    """Make the file private: SQLite would not, and its -wal and -shm files take over the mode of this one."""
    if not file.parent.is_dir():
        raise NotFoundError(f"expected a folder {file.parent} for the database, got none", remedy="Run `init` first.")
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _install(engine: Engine, settings: tuple[str, ...], begin: Callable[[Connection], None]) -> None:
    def prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN would come late and deferred: two readers that then both write would collide.
        if engine.dialect.name == "sqlite":
            connection.isolation_level = None
        for setting in settings:
            connection.execute(setting)
        connection.commit()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)


def _use_write_ahead_log(connection: Any, wait_seconds: float) -> None:
    """Switch a new file over; SQLite does not wait by itself here when another process is about to do the same."""
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get(READS_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads_only else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(READS_ONLY, False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_WRITER})")
