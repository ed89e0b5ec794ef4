"""The replica of the listings: what is served after a synchronisation, and what is not there any more."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from fixed_randomness import fixed_randomness
from jointrisk.errors import CorruptError, NotFoundError, UnavailableError
from jointrisk.listing.log import EntryKind, Stretch
from jointrisk.listing.packed import unpack
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import replica_operator_pb2 as pb
from jointrisk_node.replica.chain import Chain
from jointrisk_node.replica.service import ReplicaOperatorService
from replica_log import EPOCH, NOON, DeskAtTest, LogAtTest, Logs, record

DATA = f"replica/{EPOCH}/1/data.mdb"


def node(tmp_path: Path, source: LogAtTest | Logs) -> DeskAtTest:
    """Return a node over the test's directory."""
    return DeskAtTest(tmp_path / "node", source)


async def test_the_fast_chain_is_the_one_of_the_protocol() -> None:
    """Over appends, deleted records and marks it comes to the same points as the code that follows the page."""
    log = LogAtTest()
    log.add(*map(str, range(1030)))
    log.mark(EntryKind.TOMBSTONE, 7)
    log.mark(EntryKind.HOLD, 8)
    chain = Chain(log.points[0])
    chain.take(b"".join(log.packed))
    stretch = Stretch(log.points[0], log.points[-1])
    for entry, _ in unpack(b"".join(log.packed)):
        stretch.take(entry)
    assert chain.point == stretch.end() == log.points[-1]
    assert chain.points == [((1024).to_bytes(8), log.points[1024].hash)]


async def test_what_is_live_is_found_with_its_standing_and_what_has_ended_is_not(tmp_path: Path) -> None:
    """Tombstones and expiries end an entry, holds are told until they are released."""
    log = LogAtTest()
    log.add("a", "b", "c", "d", "e")
    log.append(record("second", tag="e", stamp="west-bank"))
    log.mark(EntryKind.TOMBSTONE, 0)
    log.mark(EntryKind.EXPIRY, 1)
    log.mark(EntryKind.HOLD, 2)
    log.mark(EntryKind.HOLD, 3)
    log.mark(EntryKind.RELEASE, 3)
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    assert {name: at_test.found(name) for name in "abcdex"} == {
        "a": [],
        "b": [],
        "c": [2],
        "d": [3],
        "e": [4, 5],
        "x": [],
    }
    held = {name: at_test.desk.lookup(EPOCH, fixed_randomness(f"tag {name}")(16))[0].held for name in "cde"}
    assert held == {"c": True, "d": False, "e": False}
    assert at_test.desk.lookup(EPOCH, fixed_randomness("tag c")(16))[0].record == record("c")
    assert at_test.desk.verify(EPOCH).live == at_test.desk.state(EPOCH).live == 4


async def test_what_ends_is_gone_with_the_synchronisation_that_tells_of_it(tmp_path: Path) -> None:
    """Its record is not in the replica any more; what is left verifies."""
    log = LogAtTest()
    log.add("a", "b")
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    assert at_test.found("a") == [0]
    log.mark(EntryKind.TOMBSTONE, 0)
    log.add("c")
    log.release(NOON + timedelta(minutes=1))
    await at_test.desk.refresh()
    assert [at_test.found(name) for name in "abc"] == [[], [1], [3]]
    assert log.packed[0] in at_test.desk._epochs[EPOCH].replica.entries(0, 1)
    assert at_test.desk.verify(EPOCH).size == 4


async def test_an_id_may_come_again_after_its_entry_has_ended(tmp_path: Path) -> None:
    """That is its lister's business: to other readers it is a new entry. Also within one synchronisation."""
    log = LogAtTest()
    log.append(record("old", entry_id="one"))
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    log.append(record("new", entry_id="one"))
    log.mark(EntryKind.TOMBSTONE, 0)
    log.append(record("newest", entry_id="one"))
    log.mark(EntryKind.TOMBSTONE, 1)
    log.release(NOON + timedelta(minutes=1))
    await at_test.desk.refresh()
    assert [at_test.found(name) for name in ("old", "new", "newest")] == [[], [], [3]]
    assert at_test.desk.verify(EPOCH).live == 1


async def test_a_restart_goes_on_with_what_was_served(tmp_path: Path) -> None:
    """The replica answers from its stored head without the coordinator."""
    log = LogAtTest()
    log.add("a")
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    again = at_test.restarted(LogAtTest())
    assert again.found("a") == [0]
    assert again.desk.newest(EPOCH) == log.signed


async def test_a_replica_that_is_too_old_answers_nothing(tmp_path: Path) -> None:
    """After the limit asking is an error that says age and limit; a newer head of the same log ends it."""
    log = LogAtTest()
    log.add("a")
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    at_test.now = NOON + timedelta(hours=1)
    assert at_test.found("a") == [0]
    at_test.now += timedelta(seconds=1)
    with pytest.raises(UnavailableError, match="at most 3600 s old, got them 3601 s old"):
        at_test.found("a")
    log.release(at_test.now)
    await at_test.desk.refresh()
    assert at_test.found("a") == [0]
    assert at_test.desk.state(EPOCH).age == timedelta()


async def test_asking_without_a_replica_is_an_error(tmp_path: Path) -> None:
    """Neither an epoch that is not there nor one that has not come yet looks like "not found"."""
    log = LogAtTest()
    log.add("a")
    log.release()
    log.cut_after = 0
    at_test = node(tmp_path, log)
    with pytest.raises(UnavailableError):
        await at_test.desk.refresh()
    with pytest.raises(UnavailableError, match="not been synchronised"):
        at_test.found("a")
    with pytest.raises(NotFoundError):
        at_test.found("a", epoch=EPOCH + 1)


async def test_a_connection_that_is_lost_loses_nothing_that_has_come(tmp_path: Path) -> None:
    """The next attempt reads on; nothing is served before the head."""
    log = LogAtTest()
    log.add(*map(str, range(1000)))
    log.release()
    log.cut_after = 7
    at_test = node(tmp_path, log)
    with pytest.raises(UnavailableError):
        await at_test.desk.refresh()
    again = at_test.restarted()
    with pytest.raises(UnavailableError):
        again.found("1")
    log.cut_after, log.parts_read = None, 0
    await again.desk.refresh()
    assert log.parts_read == 3
    assert again.found("999") == [999]


async def test_epochs_are_kept_apart_and_go_when_they_are_not_served_any_more(tmp_path: Path) -> None:
    """A rotation makes a second replica; the first goes with its log, and comes back only as new as it was."""
    old, new = LogAtTest(EPOCH), LogAtTest(EPOCH + 1)
    old.add("a")
    new.add("b")
    first = old.release()
    new.release()
    logs = Logs(old, new)
    at_test = node(tmp_path, logs)
    await at_test.desk.refresh()
    assert (at_test.found("a"), at_test.found("b")) == ([0], [])
    assert (at_test.found("a", EPOCH + 1), at_test.found("b", EPOCH + 1)) == ([], [0])
    logs.logs = [new]
    await at_test.desk.refresh()
    assert at_test.desk.epochs() == [EPOCH + 1]
    assert not (at_test.folder / str(EPOCH) / "1").exists()
    logs.logs = [LogAtTest(EPOCH), new]
    with pytest.raises(CorruptError, match="at least 1 entries"):
        await at_test.desk.refresh()
    assert first != logs.logs[0].signed


async def test_a_rebuilt_replica_takes_over_at_once_and_the_old_one_answers_until_then(tmp_path: Path) -> None:
    """Also where the rebuilding was interrupted, and the process with it."""
    log = LogAtTest()
    log.add(*map(str, range(300)))
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    log.cut_after = 1
    with pytest.raises(UnavailableError):
        await at_test.desk.rebuild(EPOCH)
    again = at_test.restarted()
    assert again.found("299") == [299]
    assert again.desk.state(EPOCH).rebuilding
    log.cut_after, log.parts_read = None, 0
    await again.desk.refresh()
    assert log.parts_read == 2
    assert again.found("299") == [299]
    assert not again.desk.state(EPOCH).rebuilding
    assert sorted(path.name for path in (again.folder / str(EPOCH)).iterdir()) == ["2", "current", "head"]
    assert again.events() == ["listings.replica_rebuilt"]


async def test_what_is_read_is_kept_current_while_another_is_built(tmp_path: Path) -> None:
    """A rebuilding that takes long makes nothing old."""
    log = LogAtTest()
    log.add(*map(str, range(300)))
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    log.add("new")
    log.release(NOON + timedelta(minutes=1))
    log.cut_after = 1
    with pytest.raises(UnavailableError):
        await at_test.desk.rebuild(EPOCH)
    assert at_test.found("new") == [300]
    assert at_test.desk.state(EPOCH).rebuilding


async def test_a_head_file_that_cannot_be_read_keeps_no_node_from_starting(tmp_path: Path) -> None:
    """The replica's own head says as much; the audit log tells of the file."""
    log = LogAtTest()
    log.add("a")
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    (at_test.folder / str(EPOCH) / "head").write_bytes(b"{}")
    again = at_test.restarted()
    assert again.found("a") == [0]
    assert again.events() == ["listings.head_unreadable"]
    log.signed = LogAtTest().signed
    with pytest.raises(CorruptError, match="at least 1 entries"):
        await again.desk.refresh()


async def test_the_operator_sees_sizes_ages_and_alarms(tmp_path: Path) -> None:
    """Through the service that the command line calls."""
    log = LogAtTest()
    log.add("a", "b")
    log.mark(EntryKind.TOMBSTONE, 0)
    log.release()
    at_test = node(tmp_path, log)
    context = cast("Context", None)
    service = ReplicaOperatorService(at_test.desk)
    assert not (await service.GetReplicas(pb.GetReplicasRequest(), context)).replicas
    with pytest.raises(NotFoundError):
        await service.RebuildReplica(pb.RebuildReplicaRequest(), context)
    at_test.now += timedelta(seconds=7)
    (one,) = (await service.SyncReplicas(pb.SyncReplicasRequest(), context)).replicas
    assert (one.epoch, one.size, one.live, one.age_seconds, one.signed_at) == (EPOCH, 3, 1, 7, "2026-03-01T12:00:00Z")
    (sound,) = (await service.VerifyReplicas(pb.VerifyReplicasRequest(), context)).replicas
    assert (sound.live, sound.head_hash) == (1, log.points[-1].hash.hex())
    other = LogAtTest()
    other.add("x", "y", "z")
    at_test.desk.compare(EPOCH, other.release(), "west-bank")
    report = await service.RebuildReplica(pb.RebuildReplicaRequest(), context)
    assert [(fork.reason, fork.brought_by) for fork in report.forks] == [("other_history", "west-bank")]
    assert report.forks[0].evidence == str(at_test.desk.forks()[0].evidence)


@pytest.mark.parametrize("damage", [b"", b"no database", b"cut"])
async def test_files_that_cannot_be_read_are_fetched_again(tmp_path: Path, damage: bytes) -> None:
    """A file that is empty, another's or cut off is no answer and no crash."""
    log = LogAtTest()
    log.add(*map(str, range(300)))
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    at_test.desk.close()
    path = tmp_path / "node" / DATA
    path.write_bytes(path.read_bytes()[:8192] if damage == b"cut" else damage * 1000)
    again = node(tmp_path, log)
    with pytest.raises(UnavailableError):
        again.found("7")
    await again.desk.refresh()
    assert again.found("7") == [7]


@pytest.mark.parametrize("what", [b"ciphertext", b"id", b"tag"])
async def test_a_changed_byte_on_the_disk_is_found_by_verify(tmp_path: Path, what: bytes) -> None:
    """Verifying reads everything, and holds it against the signed head."""
    log = LogAtTest()
    log.add(*map(str, range(300)))
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    at_test.desk.close()
    path = tmp_path / "node" / DATA
    data = path.read_bytes()
    value = fixed_randomness(f"{what.decode()} 150")(16)
    assert value in data
    path.write_bytes(data.replace(value, bytes([value[0] ^ 1]) + value[1:]))
    again = node(tmp_path, log)
    with pytest.raises(CorruptError):
        again.desk.verify(EPOCH)


@pytest.mark.parametrize("index", ["tags", "ids"])
async def test_an_index_that_is_not_the_logs_is_found_by_verify(tmp_path: Path, index: str) -> None:
    """An entry that is in the log and cannot be found would be a silent "not found"."""
    log = LogAtTest()
    log.add(*map(str, range(300)))
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    disk = at_test.desk._epochs[EPOCH].replica.disk()
    with disk.writing() as transaction:
        transaction.delete(fixed_randomness(f"{index[:-1]} 150")(16), db=getattr(disk, index))
    with pytest.raises(CorruptError, match="indexes"):
        at_test.desk.verify(EPOCH)


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask is."""
    log = LogAtTest()
    log.add("a")
    log.release()
    at_test = node(tmp_path, log)
    await at_test.desk.refresh()
    modes = {
        (path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in [at_test.folder, *at_test.folder.rglob("*")]
    }
    assert modes == {(True, 0o700), (False, 0o600)}
