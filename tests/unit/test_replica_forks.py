"""Members that a coordinator shows different logs find out from each other's heads."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.federation.signing import Signed, public_bytes
from jointrisk.listing.head import has_diverged, read_head, sign_head
from jointrisk.listing.log import Point
from jointrisk.listing.packed import unpack
from jointrisk_node.replica.disk import signed_from_json
from replica_log import EPOCH, FEDERATION, KEY, NOON, DeskAtTest, LogAtTest

LATER = NOON + timedelta(minutes=1)


async def reader(tmp_path: Path, log: LogAtTest, *names: str) -> DeskAtTest:
    """Return a node that has synchronised entries of these names."""
    log.add(*names)
    log.release()
    at_test = DeskAtTest(tmp_path / "node", log)
    await at_test.desk.refresh()
    return at_test


def head_of(*names: str, at: timedelta = timedelta()) -> Signed:
    """Return the head of a log of these entries."""
    log = LogAtTest()
    log.add(*names)
    return log.release(NOON + at)


async def met(at_test: DeskAtTest, signed: Signed) -> list[str]:
    """Bring a head, and return the reasons of the alarms."""
    at_test.desk.compare(EPOCH, signed, "west-bank")
    await at_test.desk.refresh()
    return [alarm.reason for alarm in at_test.desk.forks()]


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.01)


async def test_heads_of_one_log_are_no_fork(tmp_path: Path) -> None:
    """Older and newer ones, and the same again."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log, *"abcdef")
    for signed in (head_of(*"abc"), head_of(*"abcdef"), head_of(*"abcdefgh", at=timedelta(minutes=1))):
        assert await met(at_test, signed) == []
    log.add("g", "h")
    log.release(LATER)
    assert await met(at_test, head_of(*"abcdefg")) == []


async def test_two_histories_of_one_size_are_a_fork(tmp_path: Path) -> None:
    """It is told once, kept as a file that proves it, and still there after a restart."""
    at_test = await reader(tmp_path, LogAtTest(), *"abc")
    other = head_of(*"abX")
    assert await met(at_test, other) == ["other_history"]
    assert await met(at_test, other) == ["other_history"]
    assert at_test.events() == ["listings.fork"]
    (alarm,) = at_test.restarted().desk.forks()
    kept = json.loads(alarm.evidence.read_bytes())
    heads = [signed_from_json(json.dumps(one).encode()) for one in kept["heads"]]
    assert {read_head(one, public_bytes(KEY), FEDERATION, EPOCH).size for one in heads} == {3}
    assert other in heads
    assert alarm.brought_by == "west-bank"


async def test_a_later_head_of_fewer_entries_is_a_fork(tmp_path: Path) -> None:
    """Even where it is the past of the own log."""
    at_test = await reader(tmp_path, LogAtTest(), *"abc")
    assert await met(at_test, head_of("a", "b", at=timedelta(minutes=1))) == ["shrunk"]


async def test_a_smaller_head_of_another_history_is_a_fork_that_anybody_can_judge(tmp_path: Path) -> None:
    """The evidence holds the own point and the entries from there on, without their records."""
    at_test = await reader(tmp_path, LogAtTest(), *map(str, range(1100)))
    assert await met(at_test, head_of(*map(str, range(1049)), "X")) == ["diverged"]
    (alarm,) = at_test.desk.forks()
    kept = json.loads(alarm.evidence.read_bytes())
    heads = [signed_from_json(json.dumps(one).encode()) for one in kept["heads"]]
    smaller, larger = sorted(
        (read_head(one, public_bytes(KEY), FEDERATION, EPOCH) for one in heads), key=lambda head: head.size
    )
    own = Point(kept["own"]["size"], bytes.fromhex(kept["own"]["hash"]))
    between = [entry for entry, _ in unpack(alarm.evidence.with_suffix(".entries").read_bytes())]
    assert has_diverged(smaller, larger, own, between)
    assert not has_diverged(smaller, larger, Point(smaller.size, smaller.hash), between)


async def test_a_larger_head_waits_for_the_own_log(tmp_path: Path) -> None:
    """As soon as that has come so far, it is compared."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log, *"abc")
    assert await met(at_test, head_of(*"abXYZ")) == []
    log.add("d")
    log.release(NOON)
    await at_test.desk.refresh()
    assert at_test.desk.forks() == []
    log.add("e", "f")
    log.release(LATER)
    await at_test.desk.refresh()
    assert [alarm.reason for alarm in at_test.desk.forks()] == ["diverged"]


async def test_two_waiting_heads_are_compared_with_each_other(tmp_path: Path) -> None:
    """Two members that are ahead of this node have been shown different logs."""
    at_test = await reader(tmp_path, LogAtTest(), *"abc")
    assert await met(at_test, head_of(*"abcX")) == []
    assert await met(at_test, head_of(*"abcY")) == ["other_history"]


@pytest.mark.parametrize("signer", ["other key", "other epoch"])
async def test_a_head_that_the_coordinator_did_not_sign_accuses_nobody(tmp_path: Path, signer: str) -> None:
    """Members cannot make up a fork."""
    at_test = await reader(tmp_path, LogAtTest(), *"abc")
    key, epoch = (Ed25519PrivateKey.generate(), EPOCH) if signer == "other key" else (KEY, EPOCH + 1)
    assert await met(at_test, sign_head(FEDERATION, epoch, Point(3, bytes(32)), NOON, key)) == []
    assert at_test.events() == []


async def test_heads_are_compared_in_the_background(tmp_path: Path) -> None:
    """Bringing one neither waits nor needs a synchronisation."""
    at_test = await reader(tmp_path, LogAtTest(), *"abc")
    comparing = asyncio.create_task(at_test.desk.keep_comparing())
    await asyncio.sleep(0.01)
    await asyncio.to_thread(at_test.desk.compare, EPOCH, head_of(*"abX"), "west-bank")
    await eventually(lambda: at_test.desk.forks() != [])
    comparing.cancel()


async def test_the_replica_follows_the_coordinator(tmp_path: Path) -> None:
    """What is released is served without anybody asking for it; a failure is tried again."""
    log = LogAtTest()
    at_test = await reader(tmp_path, log, *"abc")
    log.add("d")
    log.release(LATER)
    log.cut_after = 0
    following = asyncio.create_task(at_test.desk.keep_current())
    await asyncio.sleep(0.05)
    assert at_test.found("d") == []
    log.cut_after = None
    await eventually(lambda: at_test.found("d") == [3])
    following.cancel()
