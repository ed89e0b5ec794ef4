"""What is deleted can be made to leave the database's files, and not only its tables."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from jointrisk.store import Store, open_store
from store_sample import MIGRATIONS
from store_sample.tables import Run

MARKER = "planted-4c81d0e2b7"


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[], bool]:
    """Tell whether the marker is in any file of the database."""
    return lambda: any(MARKER.encode() in path.read_bytes() for path in tmp_path.iterdir())


@pytest.fixture
def sqlite(tmp_path: Path) -> Store:
    """A database in a folder of its own."""
    return open_store(f"sqlite:///{tmp_path}/state.db", MIGRATIONS)


def run(name: str) -> Run:
    """Return a row."""
    return Run(name=name, counter=0, started=datetime.now(UTC), state=b"", note="")


def add_and_delete(store: Store) -> None:
    """Write the marker in one transaction and delete it in another."""
    with store.transaction() as session:
        session.add(run(MARKER))
    with store.transaction() as session:
        session.execute(delete(Run))


def test_a_deleted_row_is_in_no_file_once_it_is_forgotten(sqlite: Store, on_disk: Callable[[], bool]) -> None:
    """The write-ahead log still had it; the database works on."""
    add_and_delete(sqlite)
    assert on_disk()
    assert sqlite.forget_deleted()
    assert not on_disk()
    with sqlite.transaction() as session:
        session.add(run("after"))
    sqlite.close()


def test_forgetting_does_not_wait_for_a_long_reader(sqlite: Store, on_disk: Callable[[], bool]) -> None:
    """It says that it is not done, harms nobody, and works when the reader has gone."""
    with sqlite.transaction() as session:
        session.add(run("before"))
    with sqlite.reading() as reader:
        assert len(reader.scalars(select(Run)).all()) == 1
        add_and_delete_elsewhere(sqlite)
        assert not sqlite.forget_deleted()
        assert on_disk()
        assert len(reader.scalars(select(Run)).all()) == 1
    assert sqlite.forget_deleted()
    assert not on_disk()
    sqlite.close()


def add_and_delete_elsewhere(store: Store) -> None:
    """Do the same through a second store, as another process would."""
    other = open_store(str(store.url), MIGRATIONS)
    add_and_delete(other)
    other.close()


def test_every_database_can_be_asked(store: Store) -> None:
    """On PostgreSQL there is nothing to do."""
    with store.transaction() as session:
        session.add(run(MARKER))
    assert store.forget_deleted()
