"""Shares of old epochs: kept for a while after the next epoch's key was made, then deleted."""

import asyncio
from datetime import timedelta
from typing import Final

from jointrisk.clock import Clock, utc_now
from jointrisk.store import AuditLog, Store
from jointrisk_node.attempts import attempt
from jointrisk_node.evaluations.shares import HeldShares
from jointrisk_node.holder import GenerationLedger

_EVERY: Final = timedelta(minutes=10)


class Retirement:
    """Deletes this node's shares of epochs that are over; listers have published again meanwhile.

    Args:
        store: the node's database.
        generations: its shares.
        shares: those in memory.
        audit: the audit log in the same store.
        old_epochs: for how long they are kept after this node came to know a later epoch's key.
        clock: the time.
    """

    def __init__(
        self,
        store: Store,
        generations: GenerationLedger,
        shares: HeldShares,
        audit: AuditLog,
        old_epochs: timedelta,
        clock: Clock = utc_now,
    ) -> None:
        self._store = store
        self._generations = generations
        self._shares = shares
        self._audit = audit
        self._old_epochs = old_epochs
        self._clock = clock
        self._is_forgotten = False  # a process before this one may have been killed after it deleted something

    def step(self) -> list[int]:
        """Delete what is over; return of which generations. Blocks on the database."""
        now = self._clock()
        with self._store.transaction() as session:
            deleted = list(self._generations.delete_epochs_in(session, now - self._old_epochs, now))
            for generation in deleted:
                self._audit.append_in(session, "key_share.deleted", generation=generation)
        if deleted:
            self._is_forgotten = False
            self._shares.reload()
        self._is_forgotten = self._is_forgotten or self._store.forget_deleted()
        return deleted

    async def keep_current(self, every: timedelta = _EVERY) -> None:
        """Look again and again."""
        while True:
            await attempt("shares of old epochs", asyncio.to_thread(self.step))
            await asyncio.sleep(every.total_seconds())
