"""What the daemon does by itself: renews listings, and publishes them again after a rotation."""

import asyncio
from collections.abc import Awaitable, Callable

from jointrisk.clock import Clock
from jointrisk_node.listings.delivery import Delivery, DeliveryLedger
from jointrisk_node.listings.delivery.ledger import DueEntry
from jointrisk_node.listings.ledger import ListingLedger
from jointrisk_node.listings.rows import ListedRow
from jointrisk_node.listings.sealing import Sealer


class Upkeep:
    """Renews entries before the coordinator's horizon, and brings rows into a new epoch.

    Args:
        ledger: rows.
        waiting: entries.
        delivery: tells the coordinator.
        sealer: evaluates and seals.
        clock: the time.
    """

    def __init__(
        self, ledger: ListingLedger, waiting: DeliveryLedger, delivery: Delivery, sealer: Sealer, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._waiting = waiting
        self._delivery = delivery
        self._sealer = sealer
        self._clock = clock

    async def renew(self) -> int:
        """Put off the horizon of all entries that are due; those whose label has expired are left to end.

        Returns:
            How many entries were put off.

        Raises:
            JointriskError: the coordinator cannot be asked, or refuses.
        """
        renewed = 0
        while due := await asyncio.to_thread(self._waiting.to_renew, self._clock()):
            expired = await asyncio.to_thread(self._expire, due)
            kept = [one.entry_id for one in due if one.row_key not in expired]
            if kept:
                await self._delivery.renew(due[0].epoch, kept)
            renewed += len(kept)
        return renewed

    def _expire(self, due: list[DueEntry]) -> set[bytes]:
        """Note rows that say nothing any more; return their keys, and those of rows that are gone."""
        today = self._clock().date()
        ended = {one.row_key for one in due if one.sealed is None or self._opened(one).is_expired(today)}
        if ended:
            self._ledger.expire(ended)
        return ended

    def _opened(self, due: DueEntry) -> ListedRow:
        return self._ledger.vault.open_row(due.row_key, due.sealed or b"")

    async def publish_again(self, epoch: int, most: int, *, pause: Callable[[], Awaitable[None]]) -> int:
        """Bring every row that is listed into an epoch, a few at a time.

        Args:
            epoch: the newest.
            most: rows at a time.
            pause: awaited between them.

        Returns:
            How many rows were brought.

        Raises:
            JointriskError: the holders or the coordinator cannot be asked, or refuse; what was stored goes on later.
        """
        await self._delivery.deliver()
        brought, begun = 0, False
        while rows := await asyncio.to_thread(self._rows_without, epoch, most):
            if begun:
                await pause()
            begun = True
            sealed = await self._sealer.seal(rows, epoch)
            brought += await asyncio.to_thread(self._ledger.add_entries, sealed, epoch)
            await self._delivery.deliver()
        return brought

    def _rows_without(self, epoch: int, most: int) -> list[ListedRow]:
        """Return rows to be brought; those that have expired are noted as such, and others come in their place."""
        today, vault = self._clock().date(), self._ledger.vault
        while found := self._ledger.rows_without(epoch, most):
            opened = [(known.row_key, vault.open_row(known.row_key, sealed or b"")) for known, sealed in found]
            self._ledger.expire([key for key, row in opened if row.is_expired(today)])
            if rows := [row for _, row in opened if not row.is_expired(today)]:
                return rows
        return []
