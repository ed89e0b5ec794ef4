"""Bringing one replica up to the coordinator's newest head."""

import asyncio
from datetime import datetime

from jointrisk.errors import CorruptError, UnavailableError
from jointrisk.federation.signing import Signed
from jointrisk.listing.head import Head
from jointrisk_node.replica.replica import Replica, Served
from jointrisk_node.replica.source import LogPart, LogSource

_BATCH = 4 << 20
"""Bytes that are written in one transaction."""

_OVERSHOOT = 1 << 22
"""Entries beyond the announced head that a log may have grown by while it is read."""


class Floor:
    """The newest head that has been verified: what comes after it is neither smaller nor older.

    Args:
        head: the newest one; None before the first.
    """

    def __init__(self, head: Head | None = None) -> None:
        self._head = head

    @property
    def head(self) -> Head | None:
        """The newest head; None before the first."""
        return self._head

    def has_overtaken(self, head: Head, asked: Head | None) -> bool:
        """Tell whether a head is behind only because a newer one has been verified since it was asked for.

        *Heads are announced while a log is read, which ends at a newer one.*

        Args:
            head: the one that came.
            asked: the newest one when it was asked for, or the one before it in a stream.
        """
        known = self._head
        if known is None or (head.size, head.signed_at) == (known.size, known.signed_at):
            return False
        overtaken = head.size <= known.size and head.signed_at <= known.signed_at
        return overtaken and (asked is None or (head.size >= asked.size and head.signed_at >= asked.signed_at))

    def require(self, head: Head) -> None:
        """Refuse a head that goes back.

        Raises:
            CorruptError: it is smaller, older, or of another history.
        """
        known = self._head
        if known is None:
            return
        if head.size < known.size or head.signed_at < known.signed_at:
            raise CorruptError(
                f"expected a head of at least {known.size} entries that is not older than the last, got one of "
                f"{head.size} entries signed at {_time(head.signed_at)}",
                remedy="Keep it: a log that goes back hides what was listed or withdrawn.",
            )
        if head.size == known.size and head.hash != known.hash:
            raise CorruptError(
                "expected the log that was verified before, got another of the same size",
                remedy="Keep both heads: the coordinator has signed two histories.",
            )

    def raise_to(self, head: Head) -> None:
        """Take a head that has been verified."""
        self._head = head


async def synchronise(replica: Replica, source: LogSource, announced: Signed, floor: Floor) -> Served:
    """Fetch, verify and serve what is new.

    What has been fetched stays when the source is cut off, and the next call goes on there.

    Args:
        replica: what is brought up to date.
        source: the coordinator.
        announced: its newest head.
        floor: what the head may not go back behind.

    Returns:
        What is served now.

    Raises:
        UnavailableError: the source ended before the log did.
        CorruptError, UnauthenticatedError, VersionMismatchError: the log does not verify, or breaks the rules; what
            was served before still is.
    """
    head = replica.read(announced)
    floor.require(head)
    fetched = await asyncio.to_thread(replica.intake.fetched)
    if fetched != head.point:
        announced = await _Reading(replica, source, fetched.size, head.size + _OVERSHOOT).run()
        head = replica.read(announced)
        floor.require(head)
    await asyncio.to_thread(replica.intake.close, announced, head)
    return await asyncio.to_thread(replica.settle)


class _Reading:
    """One reading of the log from a position to its end."""

    def __init__(self, replica: Replica, source: LogSource, start: int, most: int) -> None:
        self._intake = replica.intake
        self._parts = source.read(replica.epoch, start)
        self._size = start
        self._most = most
        self._waiting = bytearray()

    async def run(self) -> Signed:
        """Store all parts; return the head that came with the last."""
        head: Signed | None = None
        try:
            async for part in self._parts:
                await self._take(part)
                head = part.head or head
        except UnavailableError:
            await self._write()
            raise
        await self._write()
        if head is None:
            raise UnavailableError("the coordinator ended the log before its head came")
        return head

    async def _take(self, part: LogPart) -> None:
        if not self._waiting and part.entries:
            self._require_place(part)
        self._waiting += part.entries
        if len(self._waiting) >= _BATCH:
            await self._write()

    def _require_place(self, part: LogPart) -> None:
        if part.from_position != self._size:
            raise CorruptError(f"expected the log from position {self._size} on, got it from {part.from_position}")

    async def _write(self) -> None:
        if not self._waiting:
            return
        data, self._waiting = bytes(self._waiting), bytearray()
        self._size = (await asyncio.to_thread(self._intake.take, data)).size
        if self._size > self._most:
            await asyncio.to_thread(self._intake.drop)
            raise CorruptError("expected the log to end at the coordinator's head, got more and more")


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
