"""A bound on how often something is done for others: written to a log, said, taken."""

import threading
from datetime import datetime, timedelta


class Throttle:
    """Lets so many through in each period, and counts the rest.

    Args:
        limit: how many.
        period: in how much time.
    """

    def __init__(self, limit: int, period: timedelta) -> None:
        self._limit = limit
        self._period = period
        self._lock = threading.Lock()
        self._began: datetime | None = None
        self._passed = 0
        self._held_back = 0

    def passes(self, now: datetime) -> int | None:
        """Return how many were held back before this one, or None when this one is held back."""
        with self._lock:
            if self._began is None or now - self._began >= self._period:
                self._began, self._passed = now, 0
            if self._passed >= self._limit:
                self._held_back += 1
                return None
            self._passed += 1
            held_back, self._held_back = self._held_back, 0
            return held_back
