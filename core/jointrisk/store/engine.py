"""The store: transactions that mean the same on SQLite and on PostgreSQL.

On both engines writers run one after another from the first statement of a transaction on (SQLite: ``BEGIN
IMMEDIATE``; PostgreSQL: an advisory lock), so that read, decide, write needs no further care, and readers see
one snapshot and never wait. Everything committed is on the disk.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from jointrisk.errors import ConflictError
from jointrisk.store import connections, migrating
from jointrisk.store.faults import translated


class Store:
    """A database at its newest schema. Made by `open_store`; safe to share between threads.

    Args:
        engine: a connected engine of `connections.make_engine`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._thread = threading.local()

    @property
    def url(self) -> URL:
        """Where the database is. Its ``str`` hides the password."""
        return self.engine.url

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a session that commits at the end of the block, or rolls back when it raises.

        Objects loaded in it can be read after the block. Pass the session on to whatever takes part in the
        change: transactions do not nest.

        Raises:
            ConflictError: this thread has a transaction open already, or the change broke a uniqueness or
                reference rule that the block did not look at before.
            UnavailableError: the database cannot be reached, or another writer kept it for too long.
        """
        self._refuse_nesting()
        self._thread.writing = True
        try:
            with self._session(reads_only=False) as session, session.begin():
                yield session
        finally:
            self._thread.writing = False

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one snapshot of the database and cannot write.

        Raises:
            ConflictError: this thread has a transaction open, whose changes the snapshot would not show.
            UnavailableError: the database cannot be reached.
        """
        self._refuse_nesting()
        with self._session(reads_only=True) as session, session.begin():
            yield session

    def revision(self) -> str | None:
        """Return the schema's revision, or None when no migration has run."""
        with self.engine.connect() as connection:
            return migrating.current_revision(connection)

    def forget_deleted(self) -> bool:
        """Leave nothing in the database's files of what was deleted or replaced before.

        SQLite overwrites deleted rows in its file (secure_delete), but its write-ahead log goes on holding what they
        were until it is emptied. PostgreSQL keeps dead rows until its vacuum; nothing is done there.

        Returns:
            Whether it is done. Not while somebody else reads an older snapshot: try again later.
        """
        if self.engine.dialect.name != "sqlite":
            return True
        try:
            with closing(self.engine.raw_connection()) as connection:
                return connections.empty_log(connection)
        except (DBAPIError, PoolTimeoutError) as error:
            raise translated(error) from None

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

    @contextmanager
    def _session(self, *, reads_only: bool) -> Iterator[Session]:
        bound = self.engine.execution_options(**{connections.READS_ONLY: reads_only})
        try:
            with Session(bound, expire_on_commit=False, autoflush=True) as session:
                yield session
        except (DBAPIError, PoolTimeoutError) as error:
            raise translated(error) from None

    def _refuse_nesting(self) -> None:
        if getattr(self._thread, "writing", False):
            raise ConflictError("a transaction is open in this thread already: pass its session on")


def open_store(url: str, migrations: Path, *, wait_seconds: float = connections.WAIT_SECONDS) -> Store:
    """Connect to a database, bring it to the newest schema, and return it.

    Args:
        url: ``sqlite:////absolute/path`` (the file is made when missing, 0600) or
            ``postgresql://user@host/database``.
        migrations: the folder with alembic's ``env.py`` and ``versions``.
        wait_seconds: how long a writer waits for its turn before it gets an `UnavailableError`.

    Raises:
        InvalidInputError: the URL is of no kind that we can use.
        ConflictError: the database was written by a newer version of jointrisk.
        UnavailableError: the database cannot be reached.
    """
    engine = connections.make_engine(url, wait_seconds)
    try:
        migrating.upgrade(engine, migrations)
    except (DBAPIError, PoolTimeoutError) as error:
        engine.dispose()
        raise translated(error) from None
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)
