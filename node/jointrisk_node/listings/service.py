"""gRPC adapter of a lender's own listings, for the node's operator."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

from jointrisk.clock import rfc3339
from jointrisk.errors import InvalidInputError
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import listing_lister_pb2 as pb
from jointrisk.rpc.v1.listing_lister_pb2_grpc import ListingListerServicer
from jointrisk_node.listings.desk import MOST_REFERENCES, ListerDesk, ListerState, ReferencesOutcome
from jointrisk_node.listings.examining import NumberedRow
from jointrisk_node.listings.kept import OwnRow
from jointrisk_node.listings.publishing import Progress, RowBatches
from jointrisk_node.listings.rows import COLUMNS

_UNKNOWN_TOLD = 1000

_Change = Callable[[Sequence[str]], Awaitable[ReferencesOutcome]]


class ListingLister(ListingListerServicer):
    """Serves the operator socket.

    Args:
        desk: this lender's listings.
    """

    def __init__(self, desk: ListerDesk) -> None:
        self._desk = desk

    async def Publish(
        self, request_iterator: AsyncIterator[pb.PublishRows], context: Context
    ) -> AsyncIterator[pb.PublishProgress]:
        """List rows; tell how far it has come."""
        async for told in self._told(self._desk.publish, request_iterator):
            yield told

    async def Correct(
        self, request_iterator: AsyncIterator[pb.PublishRows], context: Context
    ) -> AsyncIterator[pb.PublishProgress]:
        """Replace what listed rows say; tell how far it has come."""
        async for told in self._told(self._desk.correct, request_iterator):
            yield told

    async def Withdraw(
        self, request_iterator: AsyncIterator[pb.ListedReferences], context: Context
    ) -> pb.ReferencesReport:
        """End rows."""
        return await self._changed(request_iterator, self._desk.withdraw)

    async def Dispute(
        self, request_iterator: AsyncIterator[pb.ListedReferences], context: Context
    ) -> pb.ReferencesReport:
        """Put rows into dispute, or end it."""
        ended: list[bool] = []

        async def noted() -> AsyncIterator[pb.ListedReferences]:
            async for part in request_iterator:
                ended.append(part.ended)
                yield part

        return await self._changed(noted(), lambda part: self._desk.dispute(part, ended=ended[0]))

    async def RenewListed(
        self, request_iterator: AsyncIterator[pb.ListedReferences], context: Context
    ) -> pb.ReferencesReport:
        """Put off the horizon of rows' entries, of all where no reference comes."""
        report = await self._changed(request_iterator, self._desk.renew)
        if not report.taken + report.already + report.unknown_count:
            report.taken = (await self._desk.renew(None)).taken
            report.waiting = await self._desk.settle()
        return report

    async def ListOwn(self, request: pb.ListOwnRequest, context: Context) -> AsyncIterator[pb.OwnListings]:
        """Tell what is listed."""
        pages = self._desk.own(withdrawn=request.all)
        while page := await asyncio.to_thread(next, pages, None):
            yield pb.OwnListings(listings=[_own(one) for one in page])

    async def GetLister(self, request: pb.GetListerRequest, context: Context) -> pb.ListerStatus:
        """Tell how the listings stand."""
        return _status(await asyncio.to_thread(self._desk.state))

    async def _told(
        self,
        take: Callable[[Sequence[str], RowBatches], AsyncGenerator[Progress, None]],
        requests: AsyncIterator[pb.PublishRows],
    ) -> AsyncIterator[pb.PublishProgress]:
        first = await anext(aiter(requests), None)
        if first is None or not first.columns or not set(first.columns) <= set(COLUMNS):
            raise InvalidInputError("expected the names of listings' columns first")
        progress = Progress()
        async with aclosing(take(first.columns, _batches(first, requests))) as working:
            async for progress in working:
                yield _progress(progress, await self._desk.waiting())
        yield _progress(progress, await self._desk.waiting(), done=True)

    async def _changed(self, requests: AsyncIterator[pb.ListedReferences], change: _Change) -> pb.ReferencesReport:
        report, before = pb.ReferencesReport(), 0
        async for request in requests:
            for start in range(0, len(request.references), MOST_REFERENCES):
                part = request.references[start : start + MOST_REFERENCES]
                outcome = await change(part)
                report.taken += outcome.taken
                report.already += outcome.already
                report.unknown_count += len(outcome.unknown)
                room = _UNKNOWN_TOLD - len(report.unknown)
                report.unknown.extend(before + place + 1 for place in outcome.unknown[:room])
                before += len(part)
        report.waiting = await self._desk.settle()
        return report


async def _batches(first: pb.PublishRows, others: AsyncIterator[pb.PublishRows]) -> RowBatches:
    yield _rows(first)
    async for request in others:
        yield _rows(request)


def _rows(request: pb.PublishRows) -> list[NumberedRow]:
    return [NumberedRow(row.number, tuple(row.cells)) for row in request.rows]


def _progress(progress: Progress, waiting: int, *, done: bool = False) -> pb.PublishProgress:
    return pb.PublishProgress(
        rows=progress.rows,
        listed=progress.listed,
        already=progress.already,
        refused=progress.refused,
        stored=progress.stored,
        waiting=waiting,
        refusals=[pb.RowRefusal(row=one.row, column=one.column, rule=one.rule) for one in progress.told()],
        done=done,
    )


def _own(own: OwnRow) -> pb.OwnListing:
    row = own.row
    return pb.OwnListing(
        reference=row.reference,
        category=row.category,
        severity=row.severity,
        listed_on=row.listed_on.isoformat(),
        expires_on=row.expires_on.isoformat(),
        amount_band=row.band,
        state="disputed" if own.disputed and own.state == "listed" else own.state,
        kinds=[one.kind.value for one in row.identifiers],
        epochs=own.epochs,
    )


def _status(state: ListerState) -> pb.ListerStatus:
    epochs = sorted({*state.epochs, *([state.newest] if state.newest else [])})
    return pb.ListerStatus(
        listed=state.rows.get("listed", 0),
        disputed=state.rows.get("disputed", 0),
        expired=state.rows.get("expired", 0),
        withdrawing=state.rows.get("withdrawing", 0),
        epochs=[_epoch(state, epoch) for epoch in epochs],
        alarms=[
            pb.ListerAlarm(
                what=one.what,
                epoch=one.epoch,
                count=one.count,
                positions=one.positions,
                signed_at=rfc3339(one.signed_at),
                log_size=one.log_size,
            )
            for one in state.alarms
        ],
    )


def _epoch(state: ListerState, epoch: int) -> pb.ListerEpoch:
    counts = state.epochs.get(epoch)
    again = state.again if epoch == state.newest else 0
    if counts is None:
        return pb.ListerEpoch(epoch=epoch, to_publish_again=again)
    return pb.ListerEpoch(
        epoch=epoch,
        live=counts.live,
        to_append=counts.to_append,
        to_mark=counts.to_mark,
        refused=counts.refused,
        to_publish_again=again,
        verified=counts.verified,
    )
