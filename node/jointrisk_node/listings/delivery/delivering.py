"""Telling the coordinator what is stored, until it has acknowledged everything; and putting off its horizon."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, NotFoundError
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import pack_ids, packed_appends
from jointrisk.rpc.v1 import listing_pb2 as pb
from jointrisk_node.listings.delivery.ledger import DeliveryLedger, MarkWanted

_PUT_OFF = 2 / 3  # of the time to the horizon: a third is left for a coordinator that is down
_SHORTEST = timedelta(minutes=1)

log = structlog.get_logger()


class ListingCalls(Protocol):
    """Calls of the coordinator's ListingService. Each raises what a failed call stands for (JointriskError)."""

    async def append_listings(self, request: pb.AppendRequest) -> pb.AppendResponse:
        """Append sealed entries."""
        ...

    async def mark_listings(self, request: pb.MarkRequest) -> pb.MarkResponse:
        """Withdraw, hold or release entries."""
        ...

    async def renew_listings(self, request: pb.RenewEntriesRequest) -> pb.RenewEntriesResponse:
        """Put off the expiry of entries."""
        ...

    async def listing_states(self, request: pb.GetEntriesRequest) -> pb.GetEntriesResponse:
        """Ask how own entries stand."""
        ...


class Delivery:
    """Sends what waits. One request goes on at a time, so that nothing overtakes anything.

    Args:
        ledger: what waits.
        calls: of the coordinator.
        clock: the time.
    """

    def __init__(self, ledger: DeliveryLedger, calls: ListingCalls, clock: Clock = utc_now) -> None:
        self._ledger = ledger
        self._calls = calls
        self._clock = clock
        self._lock = asyncio.Lock()

    async def deliver(self) -> None:
        """Send everything that waits; what is not acknowledged waits on.

        Raises:
            JointriskError: the coordinator cannot be asked, or refuses a whole request.
        """
        async with self._lock:
            for epoch in await asyncio.to_thread(self._ledger.epochs, "append"):
                await self._in_epoch(epoch, self._append(epoch))
            for epoch in await asyncio.to_thread(self._ledger.epochs, "mark"):
                await self._in_epoch(epoch, self._mark(epoch))

    async def renew(self, epoch: int, entry_ids: Sequence[bytes]) -> None:
        """Put off the expiry of entries of one epoch.

        Raises:
            JointriskError: the coordinator cannot be asked, or refuses the whole request.
        """
        async with self._lock:
            await self._in_epoch(epoch, self._renew(epoch, entry_ids))

    async def _in_epoch(self, epoch: int, act: Awaitable[None]) -> None:
        """Act on an epoch's log; one that is not served any more is done with."""
        try:
            await act
        except NotFoundError:
            if not await asyncio.to_thread(self._ledger.log_is_gone, epoch):
                raise
            log.info("listings.log_gone", epoch=epoch)

    async def _append(self, epoch: int) -> None:
        while offered := await asyncio.to_thread(self._ledger.to_append, epoch):
            request = pb.AppendRequest(epoch=epoch, entries=packed_appends(offered))
            ids = [one.sealed.entry_id for one in offered]
            refused = _codes(ids, (await self._calls.append_listings(request)).refused)
            taken = [one for one in ids if one not in refused]
            renew_at = await self._renew_at(epoch, taken)
            await asyncio.to_thread(self._ledger.refused, epoch, refused)
            await asyncio.to_thread(self._ledger.appended, epoch, taken, renew_at)

    async def _mark(self, epoch: int) -> None:
        while marks := await asyncio.to_thread(self._ledger.to_mark, epoch):
            kind = marks[0].kind
            request = pb.MarkRequest(epoch=epoch, kind=pb.MarkKind.ValueType(kind), entry_ids=_ids(marks))
            request.replaced_by = pack_ids(one.replaced_by for one in marks if one.replaced_by is not None)
            refused = _codes([one.entry_id for one in marks], (await self._calls.mark_listings(request)).refused)
            await self._not_marked(epoch, kind, refused)
            told = [one.entry_id for one in marks if one.entry_id not in refused]
            await asyncio.to_thread(self._ledger.marked, epoch, kind, told)

    async def _not_marked(self, epoch: int, kind: EntryKind, refused: Mapping[bytes, str]) -> None:
        """Note what becomes of marks that were not taken, so that none is sent again and again."""
        gone = [one for one, code in refused.items() if code == NotFoundError.code]
        conflicts = [one for one, code in refused.items() if code == ConflictError.code]
        # A tombstone is refused only because what should replace the entry has ended; another mark, because it has.
        is_end = kind is EntryKind.TOMBSTONE
        await asyncio.to_thread(self._ledger.lapsed, gone if is_end else gone + conflicts)
        await asyncio.to_thread(self._ledger.end_plainly, conflicts if is_end else [])
        done = {*gone, *conflicts}
        other = {one: code for one, code in refused.items() if one not in done}
        await asyncio.to_thread(self._ledger.mark_refused, epoch, other)

    async def _renew(self, epoch: int, entry_ids: Sequence[bytes]) -> None:
        request = pb.RenewEntriesRequest(epoch=epoch, entry_ids=pack_ids(entry_ids))
        gone = _codes(entry_ids, (await self._calls.renew_listings(request)).refused)
        kept = [one for one in entry_ids if one not in gone]
        await asyncio.to_thread(self._ledger.lapsed, gone)
        await asyncio.to_thread(self._ledger.renewed, epoch, kept, await self._renew_at(epoch, kept))

    async def _renew_at(self, epoch: int, entry_ids: Sequence[bytes]) -> datetime:
        """Return when entries that were just taken are to be renewed: the coordinator gives all one horizon."""
        now = self._clock()
        if not entry_ids:
            return now
        request = pb.GetEntriesRequest(epoch=epoch, entry_ids=pack_ids(entry_ids[:1]))
        states = (await self._calls.listing_states(request)).entries
        try:
            horizon = datetime.fromisoformat(states[0].expires_at)
        except (IndexError, ValueError):
            return now + _SHORTEST
        return now + max((horizon - now) * _PUT_OFF, _SHORTEST)


def _codes(entry_ids: Sequence[bytes], refused: Iterable[pb.Refusal]) -> dict[bytes, str]:
    """Return the error code of each entry that was not taken."""
    return {entry_ids[one.index]: one.code for one in refused if one.index < len(entry_ids)}


def _ids(marks: Sequence[MarkWanted]) -> bytes:
    return pack_ids(one.entry_id for one in marks)
