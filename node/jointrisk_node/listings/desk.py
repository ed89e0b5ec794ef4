"""A lender's listings, for its operator: what is asked for is durable first, and carried out by the daemon."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import JointriskError
from jointrisk.identifiers import Identifier
from jointrisk.listing.record import Randomness
from jointrisk_node.attempts import attempt
from jointrisk_node.listings.delivery import Delivery, DeliveryLedger, ListingCalls
from jointrisk_node.listings.delivery.ledger import EpochCounts
from jointrisk_node.listings.kept import KnownRow, OwnRow
from jointrisk_node.listings.ledger import ListingLedger
from jointrisk_node.listings.publishing import Progress, Publisher, RowBatches, newest
from jointrisk_node.listings.rows import BrokenRuleError, check_reference
from jointrisk_node.listings.sealing import Evaluate, Sealer
from jointrisk_node.listings.settings import ListingsSettings
from jointrisk_node.listings.upkeep import Upkeep
from jointrisk_node.listings.witnessing import Alarm, WitnessLedger

MOST_REFERENCES: Final = 4096
"""References that are looked up at a time."""

_LISTED = frozenset({"listed", "expired"})

log = structlog.get_logger()


@dataclass(frozen=True)
class ReferencesOutcome:
    """What came of a part of references.

    Attributes:
        taken: rows that it is done for.
        already: rows for which it was so.
        unknown: places of references in the part that name no listed row, from 0.
    """

    taken: int
    already: int
    unknown: tuple[int, ...]


@dataclass(frozen=True)
class ListerState:
    """How the listings stand.

    Attributes:
        rows: rows by state, and "disputed".
        epochs: entries by epoch.
        again: rows that are still to be published again in the newest epoch.
        newest: the newest epoch; 0 for none.
        alarms: what the log shows and should not.
    """

    rows: dict[str, int]
    epochs: dict[int, EpochCounts]
    again: int
    newest: int
    alarms: list[Alarm]


class ListerDesk:
    """This lender's listings.

    Args:
        ledger: rows.
        waiting: entries that wait for the coordinator.
        witness: alarms.
        calls: of the coordinator.
        evaluate: asks the holders, for publishing.
        epochs: epochs that this node knows a group key of.
        settings: the table ``[listings]``.
        randomness: draws entry ids.
        clock: the time.
    """

    def __init__(
        self,
        ledger: ListingLedger,
        waiting: DeliveryLedger,
        witness: WitnessLedger,
        calls: ListingCalls,
        evaluate: Evaluate,
        epochs: Callable[[], Sequence[int]],
        settings: ListingsSettings,
        randomness: Randomness,
        clock: Clock = utc_now,
    ) -> None:
        self._ledger = ledger
        self._waiting = waiting
        self._witness = witness
        self._epochs = epochs
        self._settings = settings
        self._delivery = Delivery(waiting, calls, clock)
        sealer = Sealer(ledger.vault, evaluate, settings.member_kind, randomness)
        self._publisher = Publisher(ledger, sealer, lambda: newest(epochs()), self._delivery.deliver, settings, clock)
        self.upkeep = Upkeep(ledger, waiting, self._delivery, sealer, clock)

    def own_pseudonym(self, primary: Identifier) -> bytes:
        """Return this lender's pseudonym for a person, by the primary identifier: its own entries bear it."""
        return self._ledger.vault.pseudonym(primary)

    def publish(self, columns: Sequence[str], batches: RowBatches) -> AsyncGenerator[Progress, None]:
        """List rows (`Publisher.publish`)."""
        return self._publisher.publish(columns, batches)

    def correct(self, columns: Sequence[str], batches: RowBatches) -> AsyncGenerator[Progress, None]:
        """Replace what listed rows say (`Publisher.publish`)."""
        return self._publisher.publish(columns, batches, correcting=True)

    async def withdraw(self, references: Sequence[str]) -> ReferencesOutcome:
        """End rows; durable when this returns.

        Args:
            references: at most `MOST_REFERENCES`.
        """
        return await self._change(references, lambda row: row.state == "withdrawing", self._ledger.withdraw)

    async def dispute(self, references: Sequence[str], *, ended: bool) -> ReferencesOutcome:
        """Put rows into dispute, or end the dispute; durable when this returns.

        Args:
            references: at most `MOST_REFERENCES`.
            ended: whether it has ended.
        """
        return await self._change(
            references,
            lambda row: row.state in _LISTED and row.disputed != ended,
            lambda keys: self._ledger.dispute(keys, held=not ended),
        )

    async def renew(self, references: Sequence[str] | None) -> ReferencesOutcome:
        """Put off the horizon of rows' entries now, of all for None."""
        if references is None:
            taken = await asyncio.to_thread(self._waiting.renewal_wanted, None)
            return ReferencesOutcome(taken, 0, ())
        return await self._change(references, lambda _: False, self._waiting.renewal_wanted)

    async def settle(self) -> int:
        """Try to carry out now what waits; return how many entries wait still. Failures are for the next time."""
        try:
            await self._delivery.deliver()
            await self.upkeep.renew()
        except JointriskError as error:
            log.info("listings.waiting", code=error.code)
        await asyncio.to_thread(self._ledger.purge)
        return await asyncio.to_thread(self._waiting.waiting)

    async def waiting(self) -> int:
        """Return how many entries wait for the coordinator's word."""
        return await asyncio.to_thread(self._waiting.waiting)

    def own(self, *, withdrawn: bool = False) -> Iterator[list[OwnRow]]:
        """Yield what is listed, in pages; blocking."""
        return self._ledger.own(withdrawn=withdrawn)

    def state(self) -> ListerState:
        """Return how the listings stand; blocking."""
        epochs = self._epochs()
        last = max(epochs, default=0)
        return ListerState(
            self._ledger.row_counts(),
            self._waiting.counts(),
            self._ledger.lacking(last) if epochs else 0,
            last,
            self._witness.alarms(),
        )

    def alarms(self) -> list[Alarm]:
        """Return what the log shows about own entries and should not; blocking."""
        return self._witness.alarms()

    async def keep_up(self) -> None:
        """Carry out what waits, now and then: after a failure, a restart, or while the coordinator was down."""
        while True:
            await attempt("listings", self._delivery.deliver())
            await attempt("withdrawn listings", asyncio.to_thread(self._ledger.purge))
            await asyncio.sleep(self._settings.deliver_every.total_seconds())

    async def keep_renewed(self) -> None:
        """Renew what is due, now and then."""
        while True:
            await attempt("listing renewals", self.upkeep.renew())
            await asyncio.sleep(self._settings.renew_every.total_seconds())

    async def keep_epoch(self) -> None:
        """Bring rows into the newest epoch, slowly."""
        while True:
            if epochs := await asyncio.to_thread(self._epochs):
                again = self.upkeep.publish_again(max(epochs), self._settings.republish_rows, pause=self._pause)
                await attempt("publishing again", again)
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._settings.republish_every.total_seconds())

    async def _change(
        self,
        references: Sequence[str],
        is_so: Callable[[KnownRow], bool],
        change: Callable[[Sequence[bytes]], object],
    ) -> ReferencesOutcome:
        keys = [self._key(one) for one in references]
        known = await asyncio.to_thread(self._ledger.known, [key for key in keys if key is not None])
        already = {key for key, row in known.items() if is_so(row)}
        wanted = [key for key, row in known.items() if row.state in _LISTED and key not in already]
        if wanted:
            await asyncio.to_thread(change, wanted)
        found = already | set(wanted)
        unknown = tuple(place for place, key in enumerate(keys) if key not in found)
        return ReferencesOutcome(len(wanted), len(already), unknown)

    def _key(self, reference: str) -> bytes | None:
        try:
            return self._ledger.vault.row_key(check_reference(reference))
        except BrokenRuleError:
            return None
