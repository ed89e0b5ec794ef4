"""How many streams one member may have: at once, and opened within a minute.

An honest node has one, and for moments the one before it. A stream that its peer has stopped reading cannot be ended
from here, only be counted; and every stream that comes and goes costs lines of a log.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import UnavailableError
from jointrisk.throttle import Throttle

_AT_ONCE = 8
_A_MINUTE = 120


class Crowd:
    """Counts members' streams.

    Args:
        at_once: streams that a member may have at a time, those included that have not ended yet.
        a_minute: streams that a member may open in a minute.
        clock: the time.
    """

    def __init__(self, at_once: int = _AT_ONCE, a_minute: int = _A_MINUTE, clock: Clock = utc_now) -> None:
        self._at_once = at_once
        self._a_minute = a_minute
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._opened: dict[str, Throttle] = {}

    @contextmanager
    def place(self, member_id: str) -> Iterator[None]:
        """Count a stream for as long as the block lasts.

        Raises:
            UnavailableError: the member has too many.
        """
        throttle = self._opened.setdefault(member_id, Throttle(self._a_minute, timedelta(minutes=1)))
        if throttle.passes(self._clock()) is None:
            raise _too_many(member_id, f"opened more than {self._a_minute} streams in a minute")
        if self._open[member_id] >= self._at_once:
            raise _too_many(member_id, f"has {self._at_once} streams that have not ended")
        self._open[member_id] += 1
        try:
            yield
        finally:
            self._open[member_id] -= 1
            self._open += Counter()  # drops zeros


def _too_many(member_id: str, what: str) -> UnavailableError:
    return UnavailableError(f"{member_id} {what}", remedy="A node needs one: find out what else uses its certificate.")
