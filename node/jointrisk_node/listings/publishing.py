"""Listing the rows of a file: what is new is evaluated, sealed, stored, and then delivered.

While one part is evaluated the one before it is delivered. What is stored is never evaluated again: the same file again
goes on where it was cut off, wherever that was.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final

from jointrisk.clock import Clock
from jointrisk.errors import ConflictError, JointriskError, UnavailableError
from jointrisk_node.listings.examining import MOST_TOLD, NumberedRow, RefusedRow
from jointrisk_node.listings.kept import KnownRow, SealedRow
from jointrisk_node.listings.ledger import ListingLedger
from jointrisk_node.listings.rows import BrokenRuleError, ListedRow, read_row
from jointrisk_node.listings.sealing import IDENTIFIERS_AT_ONCE, Sealer
from jointrisk_node.listings.settings import ListingsSettings

RowBatches = AsyncIterator[Sequence[NumberedRow]]

_OTHER_CONTENT: Final = "is listed with other content: use `listings correct`"
_NOT_LISTED: Final = "is not listed: use `listings publish`"
_LISTED: Final = frozenset({"listed", "expired"})


@dataclass
class Progress:
    """How far a file has come.

    Attributes:
        rows: looked at.
        listed: newly listed, or corrected.
        already: listed before with the same content.
        refused: not taken.
        stored: entries that this node has stored.
        refusals: those that have not been told yet; at most `MOST_TOLD` in all.
    """

    rows: int = 0
    listed: int = 0
    already: int = 0
    refused: int = 0
    stored: int = 0
    refusals: list[RefusedRow] = field(default_factory=list)

    def refuse(self, row: int, column: str, rule: str) -> None:
        """Note a row that is not taken."""
        self.refused += 1
        if self.refused <= MOST_TOLD:
            self.refusals.append(RefusedRow(row, column, rule))

    def told(self) -> list[RefusedRow]:
        """Return refusals that have not been told, and count them as told."""
        told, self.refusals = self.refusals, []
        return told


@dataclass(frozen=True, slots=True)
class _Read:
    number: int
    row: ListedRow = field(repr=False)
    row_key: bytes = field(repr=False)
    content: bytes = field(repr=False)


class Publisher:
    """Takes rows in. One file at a time.

    Args:
        ledger: where rows are kept.
        sealer: evaluates and seals.
        epoch: returns the newest epoch that this node knows a group key of; raises UnavailableError for none.
        deliver: sends what waits.
        settings: defaults of rows.
        clock: the time.
    """

    def __init__(
        self,
        ledger: ListingLedger,
        sealer: Sealer,
        epoch: Callable[[], int],
        deliver: Callable[[], Awaitable[None]],
        settings: ListingsSettings,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._epoch = epoch
        self._deliver = deliver
        self._settings = settings
        self._clock = clock
        self._busy = asyncio.Lock()

    async def publish(
        self, columns: Sequence[str], batches: RowBatches, *, correcting: bool = False
    ) -> AsyncGenerator[Progress, None]:
        """List rows, or replace what listed ones say; yield the same progress after each part, as it stands then.

        Args:
            columns: names of the cells.
            batches: the rows.
            correcting: they are listed already and say something else now.

        Raises:
            ConflictError: another file is being published.
            JointriskError: the holders or the coordinator cannot be asked, or refuse. What was stored stays, and is
                delivered when they can be.
        """
        if self._busy.locked():
            raise ConflictError("another file is being published", remedy="Wait until it is done.")
        async with self._busy:
            epoch = await asyncio.to_thread(self._epoch)
            work = _Work(self._ledger, self._sealer, epoch, self._deliver, correcting=correcting)
            try:
                async with aclosing(_read_ahead(self._parts(columns, batches, work.progress))) as parts:
                    async for part in parts:
                        await work.take(part)
                        yield work.progress
                await work.finish()
                yield work.progress
            finally:
                await work.stop()

    async def _parts(
        self, columns: Sequence[str], batches: RowBatches, progress: Progress
    ) -> AsyncGenerator[list[_Read], None]:
        """Yield rows in parts of about `IDENTIFIERS_AT_ONCE` identifiers."""
        part: list[_Read] = []
        identifiers = 0
        async for batch in batches:
            read = await asyncio.to_thread(self._read, columns, batch, progress)
            coming = sum(len(one.row.identifiers) for one in read)
            if part and identifiers + coming > IDENTIFIERS_AT_ONCE:
                yield part
                part, identifiers = [], 0
            part += read
            identifiers += coming
        yield part

    def _read(self, columns: Sequence[str], batch: Sequence[NumberedRow], progress: Progress) -> list[_Read]:
        today, vault, read = self._clock().date(), self._ledger.vault, []
        for one in batch:
            progress.rows += 1
            try:
                row = read_row(dict(zip(columns, one.cells, strict=True)), self._settings, today)
            except BrokenRuleError as broken:
                progress.refuse(one.number, broken.column, broken.rule)
            else:
                read.append(_Read(one.number, row, vault.row_key(row.reference), vault.content(row)))
        return read


class _Work:
    """One file's work, part by part."""

    def __init__(
        self,
        ledger: ListingLedger,
        sealer: Sealer,
        epoch: int,
        deliver: Callable[[], Awaitable[None]],
        *,
        correcting: bool,
    ) -> None:
        self.progress = Progress()
        self._ledger = ledger
        self._sealer = sealer
        self._epoch = epoch
        self._deliver = deliver
        self._correcting = correcting
        self._delivery: asyncio.Task[None] | None = None

    async def take(self, part: Sequence[_Read]) -> None:
        """Evaluate and store what is new of a part, then begin to deliver it."""
        known = await asyncio.to_thread(self._ledger.known, [one.row_key for one in part])
        wanted = self._wanted(part, known)
        if wanted:
            sealed = await self._sealer.seal([one.row for one in wanted], self._epoch)
            held = [_with_dispute(one, known.get(one.row_key)) for one in sealed]
            stored = await asyncio.to_thread(self._store, held)
            self.progress.listed += stored
            self.progress.already += len(held) - stored
            self.progress.stored += sum(len(one.entries) for one in held) if stored else 0
        same = [one.row_key for one in part if _says(known.get(one.row_key), one)]
        if same:
            await asyncio.to_thread(self._ledger.try_again, same)
        await self._delivered()
        self._delivery = asyncio.create_task(self._send())

    async def finish(self) -> None:
        """Wait until everything is delivered."""
        await self._delivered()
        await self._send()

    async def stop(self) -> None:
        """Stop delivering here; the daemon goes on with what waits."""
        if self._delivery is not None:
            self._delivery.cancel()
            with suppress(asyncio.CancelledError, JointriskError):
                await self._delivery

    def _store(self, rows: Sequence[SealedRow]) -> int:
        store = self._ledger.correct_rows if self._correcting else self._ledger.store_rows
        return store(rows, self._epoch)

    async def _send(self) -> None:
        await self._deliver()

    async def _delivered(self) -> None:
        if self._delivery is not None:
            task, self._delivery = self._delivery, None
            await task

    def _wanted(self, part: Sequence[_Read], known: Mapping[bytes, KnownRow]) -> list[_Read]:
        wanted: dict[bytes, _Read] = {}
        for one in part:
            listed = known.get(one.row_key)
            if listed is not None and listed.state not in _LISTED:
                listed = None
            if _says(listed, one):
                self.progress.already += 1
            elif one.row_key in wanted:
                self.progress.refuse(one.number, "reference", "stands more than once in the file")
            elif self._correcting == (listed is not None):
                wanted[one.row_key] = one
            else:
                self.progress.refuse(one.number, "reference", _NOT_LISTED if self._correcting else _OTHER_CONTENT)
        return list(wanted.values())


def newest(epochs: Sequence[int]) -> int:
    """Return the newest epoch.

    Raises:
        UnavailableError: there is none.
    """
    if not epochs:
        raise UnavailableError(
            "there is no group key yet, so nothing can be listed or asked about",
            remedy="The coordinator's operator proposes a key ceremony.",
        )
    return max(epochs)


def _says(listed: KnownRow | None, read: _Read) -> bool:
    return listed is not None and listed.state in _LISTED and listed.content == read.content


def _with_dispute(row: SealedRow, listed: KnownRow | None) -> SealedRow:
    """Return a corrected row; a dispute about what it said goes on."""
    held = listed is not None and listed.state in _LISTED and listed.disputed
    return SealedRow(row.row, row.row_key, row.content, row.entries, held=held)


async def _read_ahead(parts: AsyncGenerator[list[_Read], None]) -> AsyncGenerator[list[_Read], None]:
    """Yield parts; while one is worked on, the next one is read."""
    coming = asyncio.create_task(anext(parts, None))
    try:
        while (part := await coming) is not None:
            coming = asyncio.create_task(anext(parts, None))
            yield part
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, JointriskError):
            await coming
        await parts.aclose()
