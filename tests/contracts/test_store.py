"""What the store promises, on every database."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from jointrisk.errors import ConflictError, InvalidInputError, JointriskError, NotFoundError, UnavailableError
from jointrisk.store import Store, open_store
from store_sample import MIGRATIONS
from store_sample.tables import Round, Run
from store_sample.writer import count

OpenSample = Callable[..., Store]
TESTS = Path(__file__).parents[1]
MOMENT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
MARKER = "planted-7f3a"


def add_run(session: Session, name: str = "first", **fields: object) -> Run:
    """Add a run with plain values where none are given."""
    run = Run(**{"name": name, "counter": 0, "started": MOMENT, "state": b"", "note": ""} | fields)
    session.add(run)
    session.flush()
    return run


def add_run_and_fail(session: Session) -> None:
    """Add a run within a change that then fails."""
    add_run(session)
    raise ZeroDivisionError


def names(store: Store) -> list[str]:
    """Return the names of all runs."""
    with store.reading() as session:
        return list(session.scalars(select(Run.name).order_by(Run.name)))


def run_writer(action: str, store: Store, times: int = 1) -> subprocess.Popen[bytes]:
    """Start a second process on the same database."""
    url = store.url.render_as_string(hide_password=False)
    return subprocess.Popen([sys.executable, "-m", "store_sample.writer", action, url, str(times)], cwd=TESTS)


def test_a_block_that_ends_is_committed(store: Store) -> None:
    """What a transaction wrote is there for others, and its objects can be read afterwards."""
    with store.transaction() as session:
        run = add_run(session)
    assert names(store) == ["first"]
    assert run.name == "first"


def test_a_block_that_raises_leaves_nothing(store: Store) -> None:
    """An exception rolls everything back and comes out as it is."""
    with pytest.raises(ZeroDivisionError), store.transaction() as session:
        add_run_and_fail(session)
    assert names(store) == []


def test_the_thread_can_write_again_after_an_error(store: Store) -> None:
    """A failed transaction is over: the next one in the same thread works."""
    with pytest.raises(ZeroDivisionError), store.transaction():
        raise ZeroDivisionError
    with store.transaction() as session:
        add_run(session)
    assert names(store) == ["first"]


def test_values_come_back_as_they_went_in(store: Store) -> None:
    """Moments keep microseconds and come back in UTC; integers have 64 bits; bytes are bytes."""
    moment = datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=8)))
    with store.transaction() as session:
        add_run(session, started=moment, counter=2**62, state=b"\x00\xff", note="信用 \U0001f4b3")
    with store.reading() as session:
        run = session.scalars(select(Run)).one()
    assert (run.started, run.started.utcoffset()) == (moment, timedelta(0))
    assert (run.counter, run.state, run.note) == (2**62, b"\x00\xff", "信用 \U0001f4b3")


def test_a_naive_moment_is_refused(store: Store) -> None:
    """A datetime without a zone would mean another moment on each machine."""
    with pytest.raises(Exception, match="aware"), store.transaction() as session:
        add_run(session, started=datetime(2026, 3, 1))  # noqa: DTZ001
    assert names(store) == []


def test_moments_compare_in_queries(store: Store) -> None:
    """A query finds rows by moment whatever zone the moment is given in."""
    with store.transaction() as session:
        add_run(session, "early", started=MOMENT)
        add_run(session, "late", started=MOMENT + timedelta(seconds=1))
    east = (MOMENT + timedelta(milliseconds=500)).astimezone(timezone(timedelta(hours=9)))
    with store.reading() as session:
        assert session.scalars(select(Run.name).where(Run.started < east)).all() == ["early"]


def test_a_collision_names_the_rule_and_no_value(store: Store) -> None:
    """Uniqueness is kept; the error says which rule, not which value, in its text and in what it is chained to."""
    with store.transaction() as session:
        add_run(session, MARKER)
    with pytest.raises(ConflictError) as caught, store.transaction() as session:
        add_run(session, MARKER)
    assert "name" in str(caught.value)
    assert MARKER not in str(caught.value)
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_references_are_kept(store: Store) -> None:
    """A row that refers to nothing is refused, and rows go with what they belong to."""
    with pytest.raises(ConflictError), store.transaction() as session:
        session.add(Round(run_number=77))
    with store.transaction() as session:
        session.add(Round(run_number=add_run(session).number))
    with store.transaction() as session:
        session.execute(delete(Run))
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Round)) == 0


def test_a_reader_cannot_write(store: Store) -> None:
    """A session of `reading` refuses changes, and the next transaction on the same connection can write."""
    with pytest.raises(JointriskError), store.reading() as session:
        add_run(session)
    with store.transaction() as session:
        add_run(session, "second")
    assert names(store) == ["second"]


def test_a_reader_sees_one_snapshot_and_does_not_wait(store: Store) -> None:
    """What is committed, or being written, while a reader is at work does not show to it and does not stop it."""
    with store.transaction() as session:
        add_run(session)
    count_runs = select(func.count()).select_from(Run)
    with store.reading() as reader, ThreadPoolExecutor(1) as other:
        assert reader.scalar(count_runs) == 1
        other.submit(_add_one_more, store).result(timeout=20)
        assert reader.scalar(count_runs) == 1
    assert len(names(store)) == 2


def _add_one_more(store: Store) -> None:
    with store.transaction() as session:
        add_run(session, "more")


def test_readers_see_no_uncommitted_change(store: Store) -> None:
    """A reader beside an open transaction neither waits nor sees its changes."""
    with store.transaction() as session, ThreadPoolExecutor(1) as other:
        add_run(session)
        assert other.submit(names, store).result(timeout=20) == []


@pytest.mark.parametrize("inner", ["transaction", "reading"])
def test_transactions_do_not_nest(store: Store, inner: str) -> None:
    """A transaction inside a transaction of the same thread is an error at once, not a wait for itself."""
    with store.transaction(), pytest.raises(ConflictError, match="pass its session on"), getattr(store, inner)():
        pass
    with store.transaction() as session:
        add_run(session)
    assert names(store) == ["first"]


def test_read_decide_write_is_safe_between_threads_and_processes(store: Store) -> None:
    """Counting from four threads and another process at once loses no step."""
    with store.transaction() as session:
        add_run(session)
    other = run_writer("count", store, times=25)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(count, store) for _ in range(60)]:
            done.result(timeout=60)
    assert other.wait(timeout=60) == 0
    with store.reading() as session:
        assert session.scalars(select(Run.counter)).one() == 85


def test_a_writer_does_not_wait_for_ever(store: Store, open_sample: OpenSample) -> None:
    """A writer whose turn does not come in time is told so, by an error that invites another try."""
    impatient = open_sample(wait_seconds=0.2)
    with store.transaction() as session, ThreadPoolExecutor(1) as other:
        add_run(session)
        with pytest.raises(UnavailableError, match="another writer"):
            other.submit(count, impatient).result(timeout=20)
    count(impatient)


def test_nobody_waits_for_ever_for_a_connection(open_sample: OpenSample) -> None:
    """With every connection in use, the next reader is told so."""
    store = open_sample(wait_seconds=0.2)
    release = threading.Event()
    with ThreadPoolExecutor(15) as pool:
        ready = threading.Barrier(16)
        held = [pool.submit(_hold, store, ready, release) for _ in range(15)]
        ready.wait(timeout=20)
        with pytest.raises(UnavailableError), store.reading() as session:
            session.execute(text("SELECT 1"))
        release.set()
        assert [one.result(timeout=20) for one in held] == [1] * 15


def _hold(store: Store, ready: threading.Barrier, release: threading.Event) -> object:
    with store.reading() as session:
        answer = session.scalar(text("SELECT 1"))
        ready.wait(timeout=20)
        release.wait(timeout=20)
    return answer


def test_what_was_committed_outlives_a_kill(store: Store) -> None:
    """A process killed by -9 right after its commit leaves the change behind, and no lock."""
    with store.transaction() as session:
        add_run(session)
    assert run_writer("die", store).wait(timeout=60) == -9
    count(store)
    with store.reading() as session:
        assert session.scalars(select(Run.counter)).one() == 2


def migrations_up_to(folder: Path, last: str) -> Path:
    """Copy the sample's migrations without those after ``last``."""
    copied = Path(shutil.copytree(MIGRATIONS, folder / f"up_to_{last}"))
    for script in (copied / "versions").glob("0*.py"):
        if script.name[:4] > last:
            script.unlink()
    return copied


def test_opening_brings_the_schema_up_to_date_and_keeps_rows(database_url: str, tmp_path: Path) -> None:
    """Rows, and rows that refer to them, are there after a migration that rebuilds their table."""
    old = open_store(database_url, migrations_up_to(tmp_path, "0001"))
    assert old.revision() == "0001"
    with old.transaction() as session:
        session.execute(text("INSERT INTO run VALUES (1, 'old', 0, '2026-03-01 00:00:00', '')"))
        session.execute(text("INSERT INTO round VALUES (5, 1)"))
    old.close()
    new = open_store(database_url, MIGRATIONS)
    with new.reading() as session:
        assert session.execute(select(Run.name, Run.note, Round.number).join(Round)).all() == [("old", "none", 5)]
    assert new.revision() == "0003"
    with pytest.raises(ConflictError), new.transaction() as session:
        session.add(Round(run_number=77))
    new.close()


def test_a_database_of_a_newer_version_is_refused(store: Store, database_url: str, tmp_path: Path) -> None:
    """An older program does not touch what it does not know."""
    with pytest.raises(ConflictError, match="0003") as caught:
        open_store(database_url, migrations_up_to(tmp_path, "0002"))
    assert "version" in caught.value.remedy
    assert store.revision() == "0003"


def test_a_migration_that_fails_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """All steps of an upgrade happen or none, also where the engine is SQLite."""
    migrations = migrations_up_to(tmp_path, "0001")
    open_store(database_url, migrations).close()
    broken = 'from alembic import op\nrevision, down_revision = "0002", "0001"\n\ndef upgrade() -> None:\n'
    broken += '    op.execute("CREATE TABLE leftover (x INTEGER)")\n    raise ZeroDivisionError\n'
    (migrations / "versions" / "0002_broken.py").write_text(broken)
    with pytest.raises(ZeroDivisionError):
        open_store(database_url, migrations)
    (migrations / "versions" / "0002_broken.py").unlink()
    store = open_store(database_url, migrations)
    assert store.revision() == "0001"
    with store.transaction() as session:
        session.execute(text("CREATE TABLE leftover (x INTEGER)"))
    store.close()


def test_threads_that_open_an_empty_database_together_agree(open_sample: OpenSample) -> None:
    """The migrations run once, whoever comes first."""
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_sample(), range(4)))
    assert {store.revision() for store in stores} == {"0003"}


def test_processes_that_open_an_empty_database_together_agree(database_url: str) -> None:
    """As with threads."""
    command = [sys.executable, "-m", "store_sample.writer", "count", database_url, "1"]
    together = [subprocess.Popen(command, cwd=TESTS) for _ in range(3)]
    assert [process.wait(timeout=60) for process in together] == [0, 0, 0]


def test_databases_that_are_opened_together_do_not_mix(tmp_path: Path) -> None:
    """Each thread's migrations go to its own database."""
    with ThreadPoolExecutor(4) as pool:
        urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(8)]
        stores = list(pool.map(lambda url: open_store(url, MIGRATIONS), urls))
    for store in stores:
        count(store)
        assert store.revision() == "0003"
        store.close()


def test_a_password_does_not_show(store: Store) -> None:
    """The text forms of a store's address hide the password."""
    assert "kept-out" not in f"{store.url} {store.url!r} {store.engine!r}"


def test_an_unreachable_server_is_unavailable_and_its_password_not_shown() -> None:
    """A server that is not there gives an error that invites another try."""
    with pytest.raises(UnavailableError) as caught:
        open_store(f"postgresql://user:{MARKER}@127.0.0.1:1/none", MIGRATIONS)
    assert MARKER not in f"{caught.value} {caught.value.remedy}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///relative.db", "mysql://host/db", f"{MARKER}", "postgresql+asyncpg://host/db"]
)
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    """The error says which forms there are, and does not repeat what could hold a password."""
    with pytest.raises(InvalidInputError, match="sqlite:////absolute/path") as caught:
        open_store(url, MIGRATIONS)
    assert MARKER not in str(caught.value)


def test_a_sqlite_file_is_private(tmp_path: Path) -> None:
    """The database and the files that SQLite puts beside it are for their owner alone."""
    store = open_store(f"sqlite:///{tmp_path}/state.db", MIGRATIONS)
    with store.transaction() as session:
        add_run(session)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_sqlite_is_set_to_keep_what_it_acknowledged(tmp_path: Path) -> None:
    """Write-ahead log, synced at each commit, references on, deleted rows overwritten."""
    store = open_store(f"sqlite:///{tmp_path}/state.db", MIGRATIONS)
    with store.reading() as session:
        found = [
            session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        ]
    store.close()
    assert found == ["wal", 2, 1, 1]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A database in a folder that is not there says so."""
    with pytest.raises(NotFoundError, match="nowhere"):
        open_store(f"sqlite:///{tmp_path}/nowhere/state.db", MIGRATIONS)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """A damaged file is an error of ours, not the driver's."""
    (tmp_path / "state.db").write_bytes(b"this is no database at all, but long enough to be looked at" * 20)
    with pytest.raises(JointriskError, match="damaged") as caught:
        open_store(f"sqlite:///{tmp_path}/state.db", MIGRATIONS)
    assert caught.value.code == "corrupt"


def test_a_mistake_in_our_own_statements_is_told_as_it_is(store: Store) -> None:
    """A missing table is no outage: the driver's error comes out, so that the mistake is found."""
    with pytest.raises(DBAPIError, match="missing_table"), store.reading() as session:
        session.execute(text("SELECT * FROM missing_table"))
