"""Coordinators that lie to a reader: nothing of it is served, and the operator is told."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import CorruptError, JointriskError, UnauthenticatedError, VersionMismatchError
from jointrisk.listing.head import sign_head
from jointrisk.listing.log import EntryKind
from replica_log import EPOCH, FEDERATION, KEY, NOON, DeskAtTest, LogAtTest, record

LATER = NOON + timedelta(minutes=1)


async def refused(at_test: DeskAtTest, kind: type[JointriskError], message: str) -> None:
    """Expect that a synchronisation is refused, twice with the same reason and one record of it."""
    before = at_test.desk.state(EPOCH)
    for _ in range(2):
        with pytest.raises(kind, match=message):
            await at_test.desk.refresh()
    after = at_test.desk.state(EPOCH)
    assert (after.size, after.head_hash) == (before.size, before.head_hash)
    assert message in after.refusal
    assert at_test.events().count("listings.log_refused") == 1
    assert at_test.desk.verify(EPOCH).size == before.size


async def reader(tmp_path: Path, log: LogAtTest) -> DeskAtTest:
    """Return a node that has synchronised ten entries."""
    log.add(*"abcdefghij")
    log.release()
    at_test = DeskAtTest(tmp_path / "node", log)
    await at_test.desk.refresh()
    return at_test


def changed(entries: list[bytes]) -> list[bytes]:
    """Change a byte of a record."""
    entries[-1] = entries[-1][:-1] + bytes([entries[-1][-1] ^ 1])
    return entries


def swapped(entries: list[bytes]) -> list[bytes]:
    """Swap two entries."""
    return [*entries[:-2], entries[-1], entries[-2]]


def shortened(entries: list[bytes]) -> list[bytes]:
    """Leave out the last entry."""
    return entries[:-1]


def lengthened(entries: list[bytes]) -> list[bytes]:
    """Send an entry that the head does not sign."""
    return [*entries, b"\x01" + record("more").to_bytes()]


@pytest.mark.parametrize("alter", [changed, swapped, shortened, lengthened])
async def test_entries_that_the_head_does_not_sign_are_not_served(
    tmp_path: Path, alter: Callable[[list[bytes]], list[bytes]]
) -> None:
    """Whatever is done to them on their way; an honest answer afterwards is."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.add("k", "l")
    log.release(LATER)
    log.alter = lambda entries: alter(list(entries))
    await refused(at_test, CorruptError, "that the log's head signs, got others")
    assert at_test.found("k") == []
    log.alter = list
    await at_test.desk.refresh()
    assert (at_test.found("k"), at_test.found("l")) == ([10], [11])
    assert at_test.desk.state(EPOCH).refusal == ""


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (b"\x07" + bytes(8), "known kind"),
        (b"\x01\x01" + bytes(80), "whole entries"),
        (b"\x02" + (11).to_bytes(8), "mark on an earlier entry"),
        (b"\x03" + (2**63).to_bytes(8), "mark on an earlier entry"),
    ],
)
async def test_bytes_that_are_no_log_are_not_served(tmp_path: Path, entry: bytes, message: str) -> None:
    """Unknown kinds, parts of entries, marks on what is not there yet."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.add("k", "l")
    log.release(LATER)
    log.alter = lambda entries: [*entries[:11], entry]
    await refused(at_test, CorruptError, message)
    log.alter = list
    await at_test.desk.refresh()
    assert at_test.found("k") == [10]


async def test_records_of_a_later_version_ask_for_an_update(tmp_path: Path) -> None:
    """They are neither served nor passed over."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.add("k")
    log.release(LATER)
    log.alter = lambda entries: [*entries[:10], b"\x01\x02" + entries[10][2:]]
    await refused(at_test, VersionMismatchError, "version 1")


async def test_a_record_that_is_kept_back_shows(tmp_path: Path) -> None:
    """Only what a mark up to the head ends may come without its record."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.add("k", "l", "m")
    log.mark(EntryKind.TOMBSTONE, 10)
    log.mark(EntryKind.HOLD, 11)
    log.drop_record(11)
    log.release(LATER)
    await refused(at_test, CorruptError, "got 1 without a body")
    assert at_test.found("m") == []
    log.mark(EntryKind.EXPIRY, 11)
    log.release(LATER)
    await at_test.desk.refresh()
    assert [at_test.found(name) for name in "klm"] == [[], [], [12]]


async def test_two_live_entries_of_one_id_are_not_served(tmp_path: Path) -> None:
    """Until one of them has ended."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.append(record("copy", entry_id="id a"))
    log.release(LATER)
    await refused(at_test, CorruptError, "one live entry of an id")
    assert at_test.found("copy") == []
    log.mark(EntryKind.TOMBSTONE, 10)
    log.release(LATER)
    await at_test.desk.refresh()
    assert at_test.found("a") == [0]
    assert at_test.desk.verify(EPOCH).live == 10


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_ninth_live_entry_of_a_lister_under_a_tag_is_not_served(tmp_path: Path, at_once: bool) -> None:
    """Whether it comes with the others or later; other listers' entries, and those that have ended, don't count."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.append(*(record(f"r{number}", tag="t") for number in range(8)))
    log.append(record("others", tag="t", stamp="west-bank"))
    log.release(LATER)
    if not at_once:
        await at_test.desk.refresh()
        assert len(at_test.found("t")) == 9
    log.append(record("r8", tag="t"))
    log.release(LATER)
    await refused(at_test, CorruptError, "at most 8 live entries")
    assert 19 not in at_test.found("t")
    log.mark(EntryKind.EXPIRY, 10)
    log.release(LATER)
    await at_test.desk.refresh()
    assert at_test.found("t") == list(range(11, 20))
    assert at_test.desk.verify(EPOCH).live == 19


async def test_a_head_of_somebody_else_is_no_head(tmp_path: Path) -> None:
    """It has to be signed by the coordinator, for this federation."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.add("k")
    other = Ed25519PrivateKey.generate()
    log.signed = sign_head(FEDERATION, EPOCH, log.points[-1], LATER, other)
    with pytest.raises(UnauthenticatedError):
        await at_test.desk.refresh()
    log.signed = sign_head("others", EPOCH, log.points[-1], LATER, KEY)
    with pytest.raises(CorruptError, match="federation"):
        await at_test.desk.refresh()
    assert at_test.found("k") == []


async def test_a_log_never_goes_back(tmp_path: Path) -> None:
    """Neither to fewer entries, nor to an older head, nor after a restart or a rebuild."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.signed = sign_head(FEDERATION, EPOCH, log.points[10], NOON - timedelta(seconds=1), KEY)
    await refused(at_test, CorruptError, "expected a head of at least 10 entries")
    log.signed = sign_head(FEDERATION, EPOCH, log.points[9], LATER, KEY)
    restarted = at_test.restarted()
    with pytest.raises(CorruptError, match="expected a head of at least 10 entries"):
        await restarted.desk.rebuild(EPOCH)
    assert restarted.found("a") == [0]
    assert [alarm.reason for alarm in restarted.desk.forks()] == ["shrunk"]


async def test_another_history_of_the_same_size_is_a_fork(tmp_path: Path) -> None:
    """The coordinator itself has shown both."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    other = LogAtTest()
    other.add(*"abcdefghiX")
    log.signed, log.alter = other.release(LATER), lambda _: list(other.packed)
    await refused(at_test, CorruptError, "another of the same size")
    assert [(alarm.reason, alarm.brought_by) for alarm in at_test.desk.forks()] == [("other_history", "coordinator")]


async def test_another_history_of_more_entries_leads_nowhere(tmp_path: Path) -> None:
    """What is on the disk and the new entries do not make its head."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    other = LogAtTest()
    other.add(*"abcdefghiXYZ")
    log.signed, log.alter = other.release(LATER), lambda _: list(other.packed)
    await refused(at_test, CorruptError, "that the log's head signs, got others")
    assert at_test.found("Z") == []


async def test_a_log_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator cannot fill a node's disk."""
    monkeypatch.setattr("jointrisk_node.replica.syncing._OVERSHOOT", 5)
    monkeypatch.setattr("jointrisk_node.replica.syncing._BATCH", 1)
    log = LogAtTest()
    at_test = await reader(tmp_path, log)
    log.add("k")
    log.release(LATER)
    log.alter = lambda entries: [*entries, *entries[:10]] * 100
    await refused(at_test, CorruptError, "got more and more")
    assert log.parts_read < 5
