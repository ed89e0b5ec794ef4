"""How much a member may have evaluated here: a bucket for each purpose, and one ceiling for an epoch. Pure.

A holder sees neither identifiers nor kinds, and cannot check purposes: so the ceiling counts all of them together.
Evaluations for publishing count against it until appends under *different* tags of that member are seen in the log:
what they did not become counts as questions. Formula, and what a member can reach by it: docs/protocol.md, section 5.4.

    level    = max(0, level - time * capacity / period) + n      at most the capacity
    counted  = evaluations for other purposes + max(0, evaluations for publishing - tags seen)      at most the ceiling

Whole numbers only, in millionths of an evaluation; what is rounded away is never in favour of the member.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from jointrisk.errors import CorruptError, QuotaError
from jointrisk.evaluation import Purpose
from jointrisk_node.evaluations.settings import QuotaSettings

PERIODS: Mapping[Purpose, timedelta] = {
    Purpose.ADMISSION: timedelta(days=1),
    Purpose.PORTFOLIO: timedelta(days=30),
    Purpose.INVESTIGATION: timedelta(days=30),
    Purpose.PUBLISHING: timedelta(days=30),
}
"""In how much time an empty bucket is full again."""

_LEAST = 100
_UNIT = 1_000_000
_MICROSECOND = timedelta(microseconds=1)
_FORMAT = struct.Struct(">QQQ" + "QQ" * len(Purpose))
_ORDER = tuple(PERIODS)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a member is granted.

    Attributes:
        capacities: evaluations for each purpose that can be asked for at once, and within the period.
        epoch_ceiling: evaluations within an epoch over all purposes.
    """

    capacities: Mapping[Purpose, int]
    epoch_ceiling: int

    @classmethod
    def of(cls, settings: QuotaSettings) -> "Allowance":
        """Derive it from what the member declares, where nothing else is set."""
        book = settings.customers * settings.identifiers_each
        applications = settings.originations * settings.identifiers_each
        derived = {
            Purpose.ADMISSION: (settings.admission, max(_LEAST, -(-3 * applications // 365))),
            Purpose.PORTFOLIO: (settings.portfolio, book),
            Purpose.INVESTIGATION: (settings.investigation, max(_LEAST, book // 100)),
            Purpose.PUBLISHING: (settings.publishing, book + applications // 12),
        }
        capacities = {purpose: formula if own is None else own for purpose, (own, formula) in derived.items()}
        ceiling = 4 * book + 2 * applications if settings.epoch_ceiling is None else settings.epoch_ceiling
        return cls(capacities, ceiling)


@dataclass(frozen=True, slots=True)
class Level:
    """How full the bucket of a purpose is.

    Attributes:
        used: millionths of an evaluation.
        at: when that was, microseconds since 1970.
    """

    used: int = 0
    at: int = 0

    def now(self, capacity: int, period: timedelta, moment: int) -> "Level":
        """Return it as it is at a moment; a clock that was set back empties nothing."""
        if moment <= self.at:
            return self
        drained = (moment - self.at) * capacity * _UNIT // (period // _MICROSECOND)
        return Level(max(0, self.used - drained), moment)


@dataclass(frozen=True, slots=True)
class Account:
    """What one member has used in one epoch.

    Attributes:
        asked: evaluations charged for purposes other than publishing.
        published: those charged for publishing.
        tags: different tags of the member in the epoch's log, as far as seen.
        levels: of the buckets, in the order of `PERIODS`.
    """

    asked: int = 0
    published: int = 0
    tags: int = 0
    levels: tuple[Level, ...] = (Level(),) * len(Purpose)

    @property
    def counted(self) -> int:
        """What counts against the epoch's ceiling."""
        return self.asked + max(0, self.published - self.tags)

    @property
    def charged(self) -> int:
        """All evaluations that were charged."""
        return self.asked + self.published

    def level(self, allowance: Allowance, purpose: Purpose, moment: int) -> Level:
        """Return the level of a purpose's bucket at a moment, microseconds since 1970."""
        known = self.levels[_ORDER.index(purpose)]
        return known.now(allowance.capacities[purpose], PERIODS[purpose], moment)

    def left(self, allowance: Allowance, purpose: Purpose, moment: int) -> int:
        """Return how many evaluations could be asked for now, the ceiling not counted."""
        return max(0, allowance.capacities[purpose] - -(-self.level(allowance, purpose, moment).used // _UNIT))

    def epoch_left(self, allowance: Allowance) -> int:
        """Return how many evaluations are left of the epoch's ceiling."""
        return max(0, allowance.epoch_ceiling - self.counted)

    def charge(self, allowance: Allowance, purpose: Purpose, number: int, moment: int) -> "Account":
        """Return the account after a charge.

        Raises:
            QuotaError: it is more than is granted; nothing is charged.
        """
        level = self.level(allowance, purpose, moment)
        if level.used + number * _UNIT > allowance.capacities[purpose] * _UNIT:
            raise _bucket_used_up(allowance, purpose, number, self.left(allowance, purpose, moment))
        changed = self._with(purpose, Level(level.used + number * _UNIT, level.at), number)
        if changed.counted > allowance.epoch_ceiling:
            raise QuotaError(
                f"expected at most {self.epoch_left(allowance)} evaluations, what is left of this epoch, got {number}",
                remedy="The holder's operator can raise epoch_ceiling; evaluations for publishing count until listed.",
            )
        return changed

    def credit(self, tags: int) -> "Account":
        """Return the account after so many different tags were seen in all. A count that goes back is not believed."""
        return replace(self, tags=max(self.tags, min(tags, 2**64 - 1)))

    def _with(self, purpose: Purpose, level: Level, number: int) -> "Account":
        place = _ORDER.index(purpose)
        levels = (*self.levels[:place], level, *self.levels[place + 1 :])
        if purpose is Purpose.PUBLISHING:
            return replace(self, published=self.published + number, levels=levels)
        return replace(self, asked=self.asked + number, levels=levels)

    def encode(self) -> bytes:
        """Write it as bytes of a fixed length."""
        levels = (number for level in self.levels for number in (level.used, level.at))
        return _FORMAT.pack(self.asked, self.published, self.tags, *levels)

    @classmethod
    def decode(cls, data: bytes) -> "Account":
        """Read what `encode` wrote.

        Raises:
            CorruptError: it has another length.
        """
        try:
            asked, published, tags, *levels = _FORMAT.unpack(data)
        except struct.error:
            raise CorruptError("a member's account of evaluations is not what was written") from None
        return cls(asked, published, tags, tuple(Level(*pair) for pair in zip(levels[::2], levels[1::2], strict=True)))


def _bucket_used_up(allowance: Allowance, purpose: Purpose, number: int, left: int) -> QuotaError:
    capacity, days = allowance.capacities[purpose], PERIODS[purpose].days
    return QuotaError(
        f"expected at most {left} evaluations for {purpose} now, got {number}; {capacity} are granted in {days} d",
        remedy="Ask for fewer, ask later, or have the holder's operator grant more ([holder.quotas]).",
    )
