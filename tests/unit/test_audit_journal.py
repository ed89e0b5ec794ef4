"""The audit journal: durable at once, in the audit log exactly once."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.audit_journal import AuditJournal, JournalLedger
from jointrisk_node.store.tables import load_tables


class JournalAtTest:
    """A journal and its database in a folder; made again over the same folder it is both after a restart."""

    def __init__(self, root: Path) -> None:
        engine = make_engine(f"sqlite:///{root / 'state.db'}")
        load_tables().create_all(engine)
        self.store = Store(engine)
        self.audit = AuditLog(self.store)
        self.journal = AuditJournal(root / "journal", JournalLedger(self.store, self.audit))

    def stop(self) -> None:
        """Let go of the files without moving anything."""
        self.journal.environment.close()
        self.store.close()

    def counts(self) -> list[object]:
        """Return what the records in the audit log say, in order."""
        return [entry.fields["count"] for entry in self.audit.entries(event="evaluation.")]


@pytest.fixture
def made(tmp_path: Path) -> JournalAtTest:
    """Return a new one."""
    return JournalAtTest(tmp_path)


async def test_records_that_come_together_are_moved_in_order(made: JournalAtTest) -> None:
    """More than one batch arrives in the audit log, each record once, in a sound chain, and the journal is empty."""
    await asyncio.gather(*(made.journal.append("evaluation.asked", count=n) for n in range(150)))
    assert (made.journal.waiting(), made.counts()) == (150, [])
    assert made.journal.drain() == 150
    assert (made.journal.waiting(), made.counts()) == (0, list(range(150)))
    assert made.audit.verify().flaw is None


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A process that is killed right after a write loses nothing, and the record tells when it happened."""
    child = os.fork()
    if child == 0:
        JournalAtTest(tmp_path).journal.write("evaluation.asked", count=7)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    after = JournalAtTest(tmp_path)
    after.journal.drain()
    assert after.counts() == [7]
    (entry,) = after.audit.entries(event="evaluation.")
    assert str(entry.fields["at"]) <= entry.time


def test_a_kill_between_moving_and_deleting_moves_nothing_twice(tmp_path: Path, made: JournalAtTest) -> None:
    """The journal still holds what is in the audit log already: it is not moved again, and new records are."""
    for n in range(3):
        made.journal.write("evaluation.asked", count=n)
    shutil.copytree(tmp_path / "journal", tmp_path / "before")
    made.journal.drain()
    made.stop()
    shutil.rmtree(tmp_path / "journal")
    (tmp_path / "before").rename(tmp_path / "journal")
    after = JournalAtTest(tmp_path)
    assert after.journal.waiting() == 3
    after.journal.write("evaluation.asked", count=3)
    after.journal.drain()
    assert (after.counts(), after.journal.waiting()) == ([0, 1, 2, 3], 0)


def test_numbers_go_on_after_an_emptied_journal(tmp_path: Path, made: JournalAtTest) -> None:
    """A record written after everything was moved, and after a restart, is not taken for one that was moved."""
    made.journal.write("evaluation.asked", count=1)
    made.journal.drain()
    made.stop()
    after = JournalAtTest(tmp_path)
    after.journal.write("evaluation.asked", count=2)
    after.journal.drain()
    assert after.counts() == [1, 2]


def test_a_record_goes_with_the_transaction_of_others(made: JournalAtTest) -> None:
    """What is rolled back leaves no record; what commits leaves one beside the change."""
    quota = made.journal.environment.open_db(b"quota")
    for count, commits in ((1, False), (2, True)):
        transaction = made.journal.environment.begin(write=True)
        transaction.put(b"left", str(count).encode(), db=quota)
        made.journal.put_in(transaction, "evaluation.charged", {"count": count})
        (transaction.commit if commits else transaction.abort)()
    made.journal.drain()
    with made.journal.environment.begin(db=quota) as reading:
        assert (made.counts(), reading.get(b"left")) == ([2], b"2")


async def test_a_field_that_breaks_the_form_is_refused_at_once(made: JournalAtTest) -> None:
    """Nothing is written that the audit log would not take: it would stop all that come after it."""
    with pytest.raises(InvalidInputError):
        await made.journal.append("evaluation.asked", witness="00")
    with pytest.raises(InvalidInputError):
        made.journal.write("evaluation.asked", count=2**63)
    await made.journal.append("evaluation.asked", count=1)
    assert made.journal.drain() == 1


async def test_a_record_that_breaks_the_form_keeps_no_other_from_the_disk(made: JournalAtTest) -> None:
    """Records that come together are written together; one of them is refused, and its writer alone is told."""
    told = await asyncio.gather(
        made.journal.append("evaluation.asked", count=1),
        made.journal.append("evaluation.asked", witness="00"),
        made.journal.append("evaluation.asked", count=2),
        return_exceptions=True,
    )
    assert (told[0], type(told[1]), told[2]) == (None, InvalidInputError, None)
    made.journal.drain()
    assert made.counts() == [1, 2]


def test_stopping_moves_what_waits(tmp_path: Path, made: JournalAtTest) -> None:
    """After an orderly end the audit log has everything, and nobody but the owner may read the journal's files."""
    made.journal.write("evaluation.asked", count=1)
    made.journal.close()
    assert made.counts() == [1]
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "journal", *(tmp_path / "journal").iterdir())} == {0}
