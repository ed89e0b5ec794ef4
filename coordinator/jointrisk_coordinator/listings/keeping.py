"""Keeps the logs going, and wakes who waits for new heads."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from jointrisk.errors import JointriskError, UnavailableError
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
        self._has_stopped = False
        self._loop = asyncio.get_running_loop()
        listings.on_changed.append(lambda: self._soon(self._announce))
        if not window:
            listings.on_taken.append(lambda: self._soon(self._taken.set))

    @property
    def number(self) -> int:
        """A number that grows with every new head."""
        return self._number

    async def changed(self, number: int) -> None:
        """Return when there are heads that are newer than at a number of before.

        Raises:
            UnavailableError: there will be none from here: the daemon stops.
        """
        while self._number == number and not self._has_stopped:
            await self._changed.wait()
        if self._has_stopped:
            raise UnavailableError("the coordinator is stopping", remedy="Try again.")

    async def run(self) -> None:
        """Do what is due, until cancelled; then who waits is told. What fails is tried again."""
        try:
            while True:
                self._taken.clear()
                await self._keep()
                await self._wait()
        finally:
            self._has_stopped = True
            self._announce()

    async def _keep(self) -> None:
        try:
            await asyncio.to_thread(self._listings.keep)
        except JointriskError as error:
            log.warning("listings.postponed", code=error.code, reason=error.message)
        except Exception as error:  # noqa: BLE001 - nothing ends the releases; the text could hold anything
            log.error("listings.failed", error=type(error).__name__)  # noqa: TRY400 - as in the guard

    async def _wait(self) -> None:
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
