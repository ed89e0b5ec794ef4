"""Who failed lately: such holders are asked last, and liars not at all for a while."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jointrisk.clock import Clock, rfc3339
from jointrisk.evaluation import Purpose
from jointrisk_node.asking.outcome import Missing

_FIRST = timedelta(seconds=1)
_LONGEST = timedelta(seconds=30)
_REFUSAL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Failure:
    since: datetime
    until: datetime
    wait: timedelta
    why: str
    lied: bool = False


class Standing:
    """What this node remembers of failures, until it ends. For the event loop's thread.

    Args:
        clock: the time.
        avoid_liar: how long a holder that answered falsely is not asked.
    """

    def __init__(self, clock: Clock, avoid_liar: timedelta) -> None:
        self._clock = clock
        self._avoid_liar = avoid_liar
        self._failures: dict[str, _Failure] = {}
        self._refusals: dict[tuple[str, Purpose], datetime] = {}

    def failed(self, member: str, why: str) -> Missing:
        """Note that a holder could not be had; it is asked last for a time that grows with each failure."""
        now, before = self._clock(), self._failures.get(member)
        wait = min(before.wait * 2, _LONGEST) if before else _FIRST
        since = before.since if before else now
        self._failures[member] = _Failure(since, now + wait, wait, why)
        return Missing(f"{why}, since {rfc3339(since)}")

    def lied(self, member: str, why: str) -> Missing:
        """Note that a holder answered falsely; it is not asked for a while."""
        now = self._clock()
        self._failures[member] = _Failure(now, now + self._avoid_liar, self._avoid_liar, why, lied=True)
        return self._lie(self._failures[member])

    def refused(self, member: str, purpose: Purpose) -> None:
        """Note that a holder refuses, for this purpose; it is asked last for a moment."""
        self._refusals[member, purpose] = self._clock() + _REFUSAL

    def answered(self, member: str) -> None:
        """Note that a holder answered as it should."""
        self._failures.pop(member, None)

    def avoided(self, member: str) -> Missing | None:
        """Return why a holder is not to be asked at all now, or None."""
        failure = self._failures.get(member)
        return self._lie(failure) if failure and failure.lied and failure.until > self._clock() else None

    def ordered(self, members: Iterable[str], purpose: Purpose) -> list[str]:
        """Return the members, those that are expected to answer first; their order is kept otherwise."""
        now = self._clock()

        def rank(member: str) -> int:
            failure = self._failures.get(member)
            if failure is not None and failure.until > now:
                return 2
            return int(self._refusals.get((member, purpose), now) > now)

        return sorted(members, key=rank)

    @staticmethod
    def _lie(failure: _Failure) -> Missing:
        return Missing(f"answered falsely at {rfc3339(failure.since)}, avoided until {rfc3339(failure.until)}")
