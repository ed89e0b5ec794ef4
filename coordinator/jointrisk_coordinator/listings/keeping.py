"""Keeps the logs going, and wakes who waits for new heads."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from jointrisk.errors import JointriskError
from jointrisk_coordinator.listings.desk import ListingLog

log = structlog.get_logger()

_SECONDS: Final = 1.0
"""How often it is looked whether something is due."""


class ListingKeeper:
    """Runs in the daemon's event loop, where it has to be made.

    Args:
        listings: the logs.
        window: of the releases; 0: each append is released at once.
    """

    def __init__(self, listings: ListingLog, window: timedelta) -> None:
        self._listings = listings
        self._number = 0
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        listings.on_changed.append(lambda: self._soon(self._announce))
        if not window:
            listings.on_taken.append(lambda: self._soon(self._taken.set))

    @property
    def number(self) -> int:
        """A number that grows with every new head."""
        return self._number

    async def changed(self, number: int) -> None:
        """Return when there are heads that are newer than at a number of before."""
        while self._number == number:
            await self._changed.wait()

    async def run(self) -> None:
        """Do what is due, until cancelled. What fails is tried again."""
        while True:
            self._taken.clear()
            try:
                await asyncio.to_thread(self._listings.keep)
            except JointriskError as error:
                log.warning("listings.postponed", code=error.code, reason=error.message)
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._taken.wait()
            except TimeoutError:
                pass

    def _soon(self, call: Callable[[], None]) -> None:
        """Call in the event loop, from whatever thread."""
        self._loop.call_soon_threadsafe(call)

    def _announce(self) -> None:
        self._number += 1
        waited, self._changed = self._changed, asyncio.Event()
        waited.set()
