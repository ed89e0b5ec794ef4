"""A federation whose daemons keep their state in PostgreSQL: the same commands, the same course, across restarts."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from lender_books import add_lender, run_settings
from local_federation import CommandFailedError, Daemon, LocalFederation
from postgres import PASSWORD, private_postgres

pytestmark = pytest.mark.federation


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server with a database for each daemon."""
    with private_postgres() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE coordinator")
            connection.execute("CREATE DATABASE bank")
        yield url


def store(server: str, database: str) -> str:
    """Return the table of settings that puts a daemon's state there."""
    url = make_url(server).set(drivername="postgresql+psycopg", database=database)
    return f'[store]\nurl = "{url.render_as_string(hide_password=False)}"\n'


def texts(federation: LocalFederation) -> str:
    """Return all logs and audit logs."""
    daemons: list[Daemon] = [federation.coordinator, *federation.nodes.values()]
    logs = [(daemon.home.parent / f"{daemon.name}.log").read_text() for daemon in daemons]
    return "\n".join([*logs, *(daemon.command("audit", "list", "--json", "--last", "1000") for daemon in daemons)])


def test_a_federation_lives_in_postgresql(tmp_path: Path, server: str) -> None:
    """Join, train, restart both, train again; runs and members are still known, both audit logs are sound."""
    with LocalFederation(tmp_path / "f", founding_members=1, approvals_required=1) as federation:
        federation.init_coordinator(store(server, "coordinator"))
        federation.coordinator.start()
        bank = add_lender(federation, "bank", more_toml=store(server, "bank"))
        federation.wait_online()
        first = federation.run(run_settings("probe", members=1))
        assert (first["state"], first["rounds_done"]) == ("done", 2)

        for daemon in (bank, federation.coordinator):
            assert daemon.stop() == 0
        federation.coordinator.start()
        bank.start()
        federation.wait_online()
        second = federation.run(run_settings("probe", members=1))
        assert second["arrays_sha256"] == first["arrays_sha256"], "the same seeds and members give the same bits"
        listed = federation.coordinator.json("runs", "list")["runs"]
        assert [run["run_id"] for run in listed] == [second["run_id"], first["run_id"]]
        for daemon in (federation.coordinator, bank):
            assert daemon.json("audit", "verify")["records"] >= 4
            assert not list(daemon.home.glob("*.db*")), "no database on the daemon's own disk"
        assert PASSWORD not in texts(federation)


def test_a_changed_audit_record_in_postgresql_is_found(tmp_path: Path, server: str) -> None:
    """Whoever writes to the database is told on: exit code 10, and the record."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE forged")
    federation = LocalFederation(tmp_path / "f")
    federation.init_coordinator(store(server, "forged"))
    with federation:
        federation.coordinator.start()
    federation.coordinator.command("audit", "verify")
    address = make_url(server).set(database="forged").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("UPDATE audit_record SET fields = '{\"version\":\"9\"}' WHERE event = 'daemon.started'")
    with pytest.raises(CommandFailedError, match="not what was written") as caught:
        federation.coordinator.command("audit", "verify")
    assert caught.value.code == 10


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"database": "nowhere"}, 7, "database cannot be used now"),
        ({"password": "wrong-" + PASSWORD}, 7, "database cannot be used now"),
        ({"port": 1}, 7, "database cannot be used now"),
        ({"drivername": "mysql"}, 2, "expected sqlite"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_without_its_password(
    tmp_path: Path, server: str, change: dict[str, str | int], code: int, said: str
) -> None:
    """The daemon ends with a documented code and no traceback."""
    federation = LocalFederation(tmp_path / "f")
    url = make_url(server).set(drivername="postgresql+psycopg").set(**change)  # type: ignore[arg-type]
    federation.init_coordinator(f'[store]\nurl = "{url.render_as_string(hide_password=False)}"\n')
    with pytest.raises(CommandFailedError, match=said) as caught:
        federation.coordinator.command("run", with_key=True)
    assert caught.value.code == code
    assert PASSWORD not in caught.value.stderr
    assert "Traceback" not in caught.value.stderr
