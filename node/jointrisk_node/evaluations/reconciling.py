"""Evaluations for publishing against the listings that followed: what became none counts as questions."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from jointrisk_node.attempts import attempt
from jointrisk_node.evaluations.charges import ChargeBook

RECONCILED_EVERY: Final = timedelta(minutes=1)

CountTags = Callable[[int], Awaitable[Mapping[str, int]]]
"""Asks the coordinator for the number of different tags of each member that an epoch's log holds, by name."""


class Reconciliation:
    """Credits members with the tags that they have appended.

    A coordinator that counts too many only frees a member's ceiling of what it spent on publishing, which the bucket
    for publishing bounds.

    Args:
        book: the accounts.
        count_tags: asks the coordinator.
    """

    def __init__(self, book: ChargeBook, count_tags: CountTags) -> None:
        self._book = book
        self._count_tags = count_tags

    async def step(self) -> None:
        """Ask once for every epoch in which somebody has evaluated for publishing.

        Raises:
            JointriskError: the coordinator cannot be asked.
        """
        accounts = await asyncio.to_thread(self._book.accounts)
        open_accounts = [(member, epoch) for member, epoch, one in accounts if one.published > one.tags]
        for epoch in sorted({epoch for _, epoch in open_accounts}):
            tags = await self._count_tags(epoch)
            for member, of in open_accounts:
                if of == epoch and member in tags:
                    await asyncio.to_thread(self._book.credit, member, epoch, tags[member])

    async def keep_current(self, every: timedelta = RECONCILED_EVERY) -> None:
        """Reconcile again and again."""
        while True:
            await attempt("tags of publishing members", self.step())
            await asyncio.sleep(every.total_seconds())
