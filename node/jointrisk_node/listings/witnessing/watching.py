"""Looking own entries up in the replica at every verified head."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.federation.signing import Signed
from jointrisk_node.attempts import attempt
from jointrisk_node.listings.witnessing.checks import Check, OwnState, Replica, Verdict, judge, judge_stamps
from jointrisk_node.listings.witnessing.ledger import WitnessLedger

_IN_DOUBT_KEPT = 10_000

log = structlog.get_logger()


@dataclass
class _Looked:
    """What one check has found so far."""

    sound: list[bytes] = field(default_factory=list)
    bad: list[tuple[OwnState, Verdict]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Whole:
    """The last check of all entries of an epoch."""

    size: int
    at: datetime


class Watch:
    """Checks own entries.

    Args:
        ledger: what the log must show.
        replica: what it shows.
        grace: how long after an acknowledgement it must.
        recheck: how often all entries are looked up again, while the log grows; in between only those that are new,
            changed or in doubt.
        clock: the time.
    """

    def __init__(
        self,
        ledger: WitnessLedger,
        replica: Replica,
        *,
        grace: timedelta,
        recheck: timedelta,
        clock: Clock = utc_now,
    ) -> None:
        self._ledger = ledger
        self._replica = replica
        self._grace = grace
        self._recheck = recheck
        self._clock = clock
        self._whole: dict[int, _Whole] = {}

    async def keep_watch(self, *, every: timedelta) -> None:
        """Check at every new head of the replica, looking for one now and then."""
        seen: dict[int, Signed | None] = {}
        while True:
            heads = {epoch: self._replica.newest(epoch) for epoch in self._replica.epochs()}
            if heads != seen:
                seen = heads
                await attempt("own listings", asyncio.to_thread(self.check))
            await asyncio.sleep(every.total_seconds())

    def check(self) -> None:
        """Check every epoch of the replica; blocking.

        Raises:
            UnavailableError: the replica is older than its limit.
        """
        for epoch in self._replica.epochs():
            self._check(epoch)

    def _check(self, epoch: int) -> None:
        state, head = self._replica.state(epoch), self._replica.newest(epoch)
        if state.signed_at is None:
            return
        told_before = state.signed_at - self._grace
        whole = self._is_due(epoch, state.size)
        looked = _Looked()
        for page in self._pages(epoch, told_before, unverified=not whole):
            looked.sound.clear()
            self._look(epoch, page, looked)
            self._ledger.verified(looked.sound, state.size)
        found = self._certain(looked.bad, told_before)
        self._ledger.conclude(epoch, found, head, state.size, state.signed_at)
        for check, verdicts in found.items():
            log.error("listings.own_entries_wrong", what=check.value, epoch=epoch, entries=len(verdicts))
        if whole:
            self._whole[epoch] = _Whole(state.size, self._clock())

    def _is_due(self, epoch: int, size: int) -> bool:
        last = self._whole.get(epoch)
        return last is None or (last.size != size and self._clock() - last.at >= self._recheck)

    def _pages(self, epoch: int, told_before: datetime, *, unverified: bool) -> Iterator[list[list[OwnState]]]:
        after = b""
        while page := self._ledger.page(epoch, after, told_before=told_before, unverified=unverified):
            yield page
            after = page[-1][0].tag

    def _look(self, epoch: int, groups: Sequence[Sequence[OwnState]], looked: _Looked) -> None:
        for group in groups:
            found = self._replica.lookup(epoch, group[0].tag)
            verdicts = [(own, judge(own, found)) for own in group]
            stamps = judge_stamps([own.entry_id for own in group], found)
            looked.sound += [own.entry_id for own, verdict in verdicts if verdict is None]
            looked.bad += [(own, verdict) for own, verdict in verdicts if verdict is not None]
            if stamps is not None:
                looked.bad.append((group[0], stamps))

    def _certain(self, bad: Sequence[tuple[OwnState, Verdict]], told_before: datetime) -> dict[Check, list[Verdict]]:
        """Leave out what has changed meanwhile, and have the rest looked at again at the next head."""
        found: dict[Check, list[Verdict]] = {}
        for start in range(0, len(bad), _IN_DOUBT_KEPT):
            part = bad[start : start + _IN_DOUBT_KEPT]
            unchanged = self._ledger.unchanged([own for own, _ in part], told_before)
            self._ledger.in_doubt(unchanged)
            for own, verdict in part:
                if own.entry_id in unchanged:
                    found.setdefault(verdict.check, []).append(verdict)
        return found
