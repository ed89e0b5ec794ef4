"""Every test of the contract suite runs on SQLite and on PostgreSQL, on a fresh database each time."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from jointrisk.store import Store, open_store
from postgres import private_postgres
from store_sample import MIGRATIONS

OpenSample = Callable[..., Store]
"""Opens the test's database once more, as another process of the same daemon would."""


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server of this session's own; skips where there is none, unless CI demands it."""
    with private_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/state.db"
        return
    server: str = request.getfixturevalue("postgresql_server")
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def open_sample(database_url: str) -> Iterator[OpenSample]:
    """Open the database with the sample's tables; all that were opened are closed at the end."""
    opened: list[Store] = []

    def open_one(**options: float) -> Store:
        opened.append(open_store(database_url, MIGRATIONS, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_sample: OpenSample) -> Store:
    """The database with the sample's tables."""
    return open_sample()
