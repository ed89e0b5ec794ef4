"""Heads that come after newer ones were verified: announced while the log was read, they are no log that goes back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

from jointrisk.federation.signing import Signed
from jointrisk.listing.head import sign_head
from replica_log import EPOCH, FEDERATION, KEY, NOON, DeskAtTest, LogAtTest


class AnnouncingLog(LogAtTest):
    """A log that announces heads one after the other, and can be read to its newest at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: list[Signed] = []
        self.done = asyncio.Event()

    async def watch(self) -> AsyncIterator[Sequence[Signed]]:
        """Yield all that are announced, then wait for ever."""
        for one in self.announced:
            yield [one]
        self.done.set()
        await asyncio.Event().wait()


def growing() -> AnnouncingLog:
    """Return a log that has announced three heads, of 2, 4 and 6 entries; readers get all six."""
    log = AnnouncingLog()
    for place, names in enumerate(("ab", "cd", "ef")):
        log.add(*names)
        log.announced.append(log.release(NOON + timedelta(seconds=place)))
    return log


async def watched(root: Path, log: AnnouncingLog) -> DeskAtTest:
    """Let a node follow a log until it has had all that is announced, or has broken off."""
    at_test = DeskAtTest(root / "node", log)
    following = asyncio.create_task(at_test.desk.keep_current())
    try:
        async with asyncio.timeout(10):
            while not log.done.is_set() and "listings.log_refused" not in at_test.events():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.wait([following])
    return at_test


async def test_a_head_that_a_reading_has_overtaken_is_left_out(tmp_path: Path) -> None:
    """The first reading ends at the newest head; the two that wait in the stream raise no alarm."""
    at_test = await watched(tmp_path, growing())
    assert (at_test.desk.state(EPOCH).size, at_test.desk.state(EPOCH).refusal) == (6, "")
    assert "listings.log_refused" not in at_test.events()
    assert at_test.desk.forks() == []


async def test_a_stream_that_goes_back_is_refused(tmp_path: Path) -> None:
    """A head behind the one before it in the same stream was never overtaken."""
    log = growing()
    log.announced = [log.announced[2], log.announced[0]]
    at_test = await watched(tmp_path, log)
    assert at_test.events().count("listings.log_refused") == 1
    assert at_test.desk.state(EPOCH).size == 6


async def test_a_smaller_log_that_is_signed_later_is_refused(tmp_path: Path) -> None:
    """It isn't behind in time, so nothing has overtaken it."""
    log = growing()
    log.announced[1] = sign_head(FEDERATION, EPOCH, log.points[4], NOON + timedelta(minutes=1), KEY)
    at_test = await watched(tmp_path, log)
    assert at_test.events().count("listings.log_refused") == 1
    await at_test.desk.refresh()  # judges what was brought before
    assert [alarm.reason for alarm in at_test.desk.forks()] == ["shrunk"]
