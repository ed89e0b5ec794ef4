"""What an entry says about a person, in one byte form of one size.

    version 1 | category | severity | amount band | member kind | listed on (2) | expires on (2) | pseudonym (16)
    | zeros (7)

A byte each where no number stands; 32 bytes together, so that a sealed label's size tells nothing. Days are counted
from 2000-01-01. What no field says is not sealed: no text, no amount, no name of the lender.
"""

import math
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from jointrisk.errors import CorruptError, InvalidInputError, VersionMismatchError
from jointrisk.listing.derive import require_length

LABEL_LENGTH: Final = 32
"""Bytes of every label."""

PSEUDONYM_LENGTH: Final = 16

LONGEST_DAYS: Final = 3653
"""Most days from ``listed_on`` to ``expires_on``: ten years. Nobody stays listed for ever by one entry."""

_VERSION = 1
_DAY_ZERO = date(2000, 1, 1)
_LAST_DAY = _DAY_ZERO + timedelta(days=2**16 - 1)
_USED = 9 + PSEUDONYM_LENGTH


class Category(StrEnum):
    """What an entry reports: five reasons to beware, two credit events."""

    CONFIRMED_DEFAULT = "confirmed_default"
    FRAUD = "fraud"
    IDENTITY_THEFT = "identity_theft"
    """The identifier was used by somebody else."""
    INTERMEDIARY = "intermediary"
    """Somebody who brings in loans by false papers."""
    JUDGMENT = "judgment"
    """A court's judgment is not complied with."""
    ACTIVE_LOAN = "active_loan"
    APPLICATION = "application"


class Severity(StrEnum):
    """How much an entry weighs; credit events weigh nothing by themselves."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class AmountBand(StrEnum):
    """The amount, rounded so far that it tells no loan apart; in main units of the federation's currency."""

    NOT_STATED = "not_stated"
    UNDER_1K = "under_1k"
    UNDER_5K = "1k_to_5k"
    UNDER_20K = "5k_to_20k"
    UNDER_50K = "20k_to_50k"
    UNDER_200K = "50k_to_200k"
    UNDER_1M = "200k_to_1m"
    FROM_1M = "from_1m"


class MemberKind(StrEnum):
    """What kind of lender lists."""

    BANK = "bank"
    CONSUMER_FINANCE = "consumer_finance"
    INSTALMENT_PLATFORM = "instalment_platform"
    MICROLENDER = "microlender"
    OTHER = "other"


_EVENTS = frozenset({Category.ACTIVE_LOAN, Category.APPLICATION})
_BELOW = (
    (1_000, AmountBand.UNDER_1K),
    (5_000, AmountBand.UNDER_5K),
    (20_000, AmountBand.UNDER_20K),
    (50_000, AmountBand.UNDER_50K),
    (200_000, AmountBand.UNDER_200K),
    (1_000_000, AmountBand.UNDER_1M),
)

# The place in these tuples is the byte: new ones go to the end, none is ever moved. Category and kind begin with 1, so
# that a label of zeros is none.
_CATEGORIES: tuple[Category | None, ...] = (None, *Category)
_SEVERITIES = tuple(Severity)
_BANDS = tuple(AmountBand)
_KINDS: tuple[MemberKind | None, ...] = (None, *MemberKind)


def amount_band(amount: float) -> AmountBand:
    """Return the band of an amount; the lower bound belongs to the band.

    Args:
        amount: in main units of the federation's currency, 0 or more.

    Raises:
        InvalidInputError: the amount is negative, infinite or not a number.
    """
    if not 0 <= amount < math.inf:
        raise InvalidInputError("amount: expected a finite number, 0 or more")
    return next((band for bound, band in _BELOW if amount < bound), AmountBand.FROM_1M)


@dataclass(frozen=True, slots=True)
class Label:
    """What is sealed in an entry. It is personal data: the `repr` shows nothing.

    Attributes:
        category: what is reported.
        severity: ``NONE`` for credit events and for nothing else.
        listed_on: the day of what is reported, from 2000-01-01.
        expires_on: the first day on which the entry says nothing any more: after ``listed_on``, at most ten years
            later. It decides for the reader, whatever the log still holds.
        amount_band: how much it is about.
        member_kind: what kind of lender lists.
        pseudonym: 16 bytes of `jointrisk.listing.pseudonym.lister_pseudonym`.

    Raises:
        InvalidInputError: a field breaks its rule.
    """

    category: Category = field(repr=False)
    severity: Severity = field(repr=False)
    listed_on: date = field(repr=False)
    expires_on: date = field(repr=False)
    amount_band: AmountBand = field(repr=False)
    member_kind: MemberKind = field(repr=False)
    pseudonym: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_kind("category", self.category, Category)
        _require_kind("severity", self.severity, Severity)
        _require_kind("amount band", self.amount_band, AmountBand)
        _require_kind("member kind", self.member_kind, MemberKind)
        if (self.severity is Severity.NONE) != (self.category in _EVENTS):
            raise InvalidInputError(
                "severity: expected none for active loans and applications, and another for the rest"
            )
        _require_days(self.listed_on, self.expires_on)
        require_length(self.pseudonym, PSEUDONYM_LENGTH, "a pseudonym")

    def is_expired(self, today: date) -> bool:
        """Tell whether the entry says nothing any more on this day."""
        return today >= self.expires_on

    def to_bytes(self) -> bytes:
        """Return the one byte form, 32 bytes."""
        codes = (
            _VERSION,
            _CATEGORIES.index(self.category),
            _SEVERITIES.index(self.severity),
            _BANDS.index(self.amount_band),
            _KINDS.index(self.member_kind),
        )
        days = _day_bytes(self.listed_on) + _day_bytes(self.expires_on)
        return (bytes(codes) + days + self.pseudonym).ljust(LABEL_LENGTH, b"\0")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Label":
        """Read the one byte form, of a label that was sealed.

        Raises:
            VersionMismatchError: it is of a version that is not known here.
            CorruptError: it is not a label in its one byte form.
        """
        if data[:1] != bytes([_VERSION]) and len(data) == LABEL_LENGTH:
            raise VersionMismatchError(
                f"expected a label of version {_VERSION}, got another", remedy="Update this node's software."
            )
        try:
            return cls._read(data)
        except (IndexError, InvalidInputError) as error:
            raise CorruptError("expected a label, got something else that is sealed") from error

    @classmethod
    def _read(cls, data: bytes) -> "Label":
        require_length(data, LABEL_LENGTH, "a label")
        category, kind = _CATEGORIES[data[1]], _KINDS[data[4]]
        if category is None or kind is None or any(data[_USED:]):
            raise InvalidInputError("expected a category, a member kind, and zeros at the end")
        severity, band = _SEVERITIES[data[2]], _BANDS[data[3]]
        return cls(category, severity, _day(data[5:7]), _day(data[7:9]), band, kind, data[9:_USED])


def _require_kind(what: str, value: object, kind: type[StrEnum]) -> None:
    if not isinstance(value, kind):
        raise InvalidInputError(f"{what}: expected one of {', '.join(kind)}")


def _require_days(listed_on: date, expires_on: date) -> None:
    for what, day in (("listed on", listed_on), ("expires on", expires_on)):
        if type(day) is not date or not _DAY_ZERO <= day <= _LAST_DAY:  # a datetime is a date, too
            raise InvalidInputError(f"{what}: expected a day from {_DAY_ZERO} to {_LAST_DAY}")
    if not 0 < (expires_on - listed_on).days <= LONGEST_DAYS:
        raise InvalidInputError(f"expires on: expected a day 1 to {LONGEST_DAYS} days after the day of listing")


def _day_bytes(day: date) -> bytes:
    return (day - _DAY_ZERO).days.to_bytes(2)


def _day(data: bytes) -> date:
    return _DAY_ZERO + timedelta(days=int.from_bytes(data))
