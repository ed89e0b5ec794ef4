"""gRPC adapter of the logs of listings: members bring entries and read the logs."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from jointrisk.clock import rfc3339
from jointrisk.errors import InvalidInputError, RefusedError
from jointrisk.federation.certificates import Identity
from jointrisk.listing.log import EntryKind
from jointrisk.rpc.documents import to_message
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import listing_pb2 as pb
from jointrisk.rpc.v1.listing_pb2_grpc import ListingServiceServicer
from jointrisk_coordinator.listings.desk import ListingLog
from jointrisk_coordinator.listings.intake import Refusal, State
from jointrisk_coordinator.listings.keeping import ListingKeeper

MOST_WATCHES: Final = 8
"""Streams of heads that one member may have open."""


class ListingServicer(ListingServiceServicer):
    """Serves members. Errors are raised as they are; the server's guard maps them.

    Args:
        listings: the logs.
        keeper: tells when there are new heads.
        member: who calls, by its certificate; raises for who is no member any more. Streams ask again before each
            message.
    """

    def __init__(self, listings: ListingLog, keeper: ListingKeeper, member: Callable[[Context], Identity]) -> None:
        self._listings = listings
        self._keeper = keeper
        self._member = member
        self._watches: Counter[str] = Counter()

    async def Append(self, request: pb.AppendRequest, context: Context) -> pb.AppendResponse:
        """Take sealed entries of the caller."""
        append = self._listings.intake.append
        refused = await asyncio.to_thread(append, self._name(context), request.epoch, request.entries)
        return pb.AppendResponse(refused=_refusals(refused))

    async def Mark(self, request: pb.MarkRequest, context: Context) -> pb.MarkResponse:
        """Withdraw, hold or release entries of the caller."""
        mark, kind = self._listings.intake.mark, _kind(request.kind)
        refused = await asyncio.to_thread(
            mark, self._name(context), request.epoch, kind, request.entry_ids, request.replaced_by
        )
        return pb.MarkResponse(refused=_refusals(refused))

    async def Renew(self, request: pb.RenewEntriesRequest, context: Context) -> pb.RenewEntriesResponse:
        """Put off the expiry of entries of the caller."""
        renew = self._listings.intake.renew
        refused = await asyncio.to_thread(renew, self._name(context), request.epoch, request.entry_ids)
        return pb.RenewEntriesResponse(refused=_refusals(refused))

    async def GetEntries(self, request: pb.GetEntriesRequest, context: Context) -> pb.GetEntriesResponse:
        """Return how entries of the caller stand."""
        states = self._listings.intake.states
        found = await asyncio.to_thread(states, self._name(context), request.epoch, request.entry_ids)
        return pb.GetEntriesResponse(entries=[_state(one) for one in found])

    async def GetHeads(self, request: pb.GetHeadsRequest, context: Context) -> pb.Heads:
        """Return the newest heads."""
        return await self._heads()

    async def WatchHeads(self, request: pb.WatchHeadsRequest, context: Context) -> AsyncIterator[pb.Heads]:
        """Send the newest heads now and whenever there are others."""
        member = self._name(context)
        if self._watches[member] >= MOST_WATCHES:
            raise RefusedError(f"this member watches the heads {MOST_WATCHES} times already")
        self._watches[member] += 1
        try:
            while True:
                number = self._keeper.number
                yield await self._heads()
                await self._keeper.changed(number)
                self._name(context)
        finally:
            self._watches[member] -= 1

    async def ReadLog(self, request: pb.ReadLogRequest, context: Context) -> AsyncIterator[pb.LogStretch]:
        """Send a log's entries."""
        position, is_last = request.from_position, False
        while not is_last:
            self._name(context)
            part = await asyncio.to_thread(
                self._listings.read, request.epoch, position, request.to_size, records=not request.without_records
            )
            head = to_message(part.head) if part.head else None
            yield pb.LogStretch(from_position=part.start, entries=part.entries, head=head)
            position, is_last = part.end, part.is_last

    async def CountTags(self, request: pb.CountTagsRequest, context: Context) -> pb.TagCounts:
        """Return the numbers of tags, to holders."""
        counts = await asyncio.to_thread(self._listings.count_tags, self._name(context), request.epoch)
        return pb.TagCounts(tags=counts)

    def _name(self, context: Context) -> str:
        return self._member(context).member_id

    async def _heads(self) -> pb.Heads:
        return pb.Heads(heads=[to_message(one) for one in await asyncio.to_thread(self._listings.heads)])


def _kind(number: int) -> EntryKind:
    try:
        return EntryKind(number)
    except ValueError:
        raise InvalidInputError("expected a tombstone, hold or release, got another mark") from None


def _refusals(refused: Iterable[Refusal]) -> list[pb.Refusal]:
    return [pb.Refusal(index=one.index, code=one.error.code, reason=one.error.message) for one in refused]


def _state(state: State) -> pb.EntryState:
    expires = datetime.fromtimestamp(state.expires, UTC) if state.expires is not None else None
    return pb.EntryState(state=state.state, position=state.position, expires_at=rfc3339(expires))
