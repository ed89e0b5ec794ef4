"""What a row of a lender's file says about a person, checked against every rule before anything is sent.

Columns: ``reference`` (the lender's own id of the row), identifiers by kind, each with an optional country, and the
label. docs/listings.md describes them for lenders. A rule that is broken is told by column and sentence; no value is
in a message.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, Self, TypeVar

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.identifiers import Identifier, Kind, canonicalise
from jointrisk.listing.label import AmountBand, Category, Label, MemberKind, Severity, amount_band
from jointrisk_node.listings.settings import ListingsSettings

KINDS: Final = tuple(Kind)
"""The order of the identifier columns: the first that a row has is the person's primary identifier."""

COLUMNS: Final = (
    "reference",
    *(kind.value for kind in KINDS),
    "country",
    *(f"{kind.value}_country" for kind in KINDS),
    "category",
    "severity",
    "listed_on",
    "expires_on",
    "amount",
)
"""Every column that a file can have. Others are refused, so that a misspelt one isn't silently left out."""

REQUIRED: Final = ("reference", "category", "listed_on")
LONGEST_REFERENCE: Final = 200

_EVENTS = frozenset({Category.ACTIVE_LOAN, Category.APPLICATION})
_SOME_LABEL: Final = (MemberKind.OTHER, bytes(16))
_Cells = Mapping[str, str]
_Word = TypeVar("_Word", Category, Severity)


class BrokenRuleError(InvalidInputError):
    """A row breaks a rule.

    Args:
        column: where; empty for a rule about the whole row.
        rule: the sentence; never a value.
    """

    def __init__(self, column: str, rule: str) -> None:
        super().__init__(f"{column}: {rule}" if column else rule)
        self.column = column
        self.rule = rule


@dataclass(frozen=True, slots=True)
class ListedRow:
    """What one row says. It is personal data: the `repr` shows nothing.

    Attributes:
        reference: the lender's own id of the row.
        identifiers: of the person, the primary one first; one of each kind at most.
        category: as in `jointrisk.listing.label.Label`, like the fields after it.
    """

    reference: str = field(repr=False)
    identifiers: tuple[Identifier, ...] = field(repr=False)
    category: Category = field(repr=False)
    severity: Severity = field(repr=False)
    listed_on: date = field(repr=False)
    expires_on: date = field(repr=False)
    band: AmountBand = field(repr=False)

    def label(self, member_kind: MemberKind, pseudonym: bytes) -> Label:
        """Return what is sealed.

        Raises:
            InvalidInputError: a field breaks a rule of labels.
        """
        return Label(self.category, self.severity, self.listed_on, self.expires_on, self.band, member_kind, pseudonym)

    def is_expired(self, today: date) -> bool:
        """Tell whether the row says nothing any more on this day."""
        return today >= self.expires_on

    def to_bytes(self) -> bytes:
        """Return the row in one byte form: equal bytes, equal content."""
        said = [
            self.reference,
            [[one.kind.value, one.country, one.canonical] for one in self.identifiers],
            self.category.value,
            self.severity.value,
            self.listed_on.isoformat(),
            self.expires_on.isoformat(),
            self.band.value,
        ]
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` made, of a row that was sealed.

        Raises:
            CorruptError: it is no row.
        """
        try:
            reference, identifiers, category, severity, listed_on, expires_on, band = json.loads(data)
            return cls(
                reference,
                tuple(Identifier(Kind(kind), country, canonical) for kind, country, canonical in identifiers),
                Category(category),
                Severity(severity),
                date.fromisoformat(listed_on),
                date.fromisoformat(expires_on),
                AmountBand(band),
            )
        except (TypeError, ValueError):
            raise CorruptError("expected a listed row, got something else that is sealed") from None


def check_reference(text: str) -> str:
    """Return a reference without blanks around it.

    Raises:
        BrokenRuleError: it is empty, too long, or holds what is no printable text.
    """
    reference = text.strip()
    if not reference:
        raise BrokenRuleError("reference", "expected the row's own id, got none")
    if len(reference) > LONGEST_REFERENCE or not reference.isprintable():
        raise BrokenRuleError("reference", f"expected printable text of at most {LONGEST_REFERENCE} characters")
    return reference


def read_row(cells: _Cells, settings: ListingsSettings, today: date) -> ListedRow:
    """Return what a row says.

    Args:
        cells: text by column; empty or missing where there is no value.
        settings: defaults of country and expiry.
        today: the day.

    Raises:
        BrokenRuleError: the first rule that it breaks.
    """
    reference = check_reference(cells.get("reference", ""))
    identifiers = _identifiers(cells, settings.country)
    category = _word(cells, "category", Category)
    listed_on = _day(cells, "listed_on")
    if listed_on > today + timedelta(days=1):
        raise BrokenRuleError("listed_on", "expected a day that has come, got a later one")
    expires_on = _day(cells, "expires_on") if _cell(cells, "expires_on") else listed_on + _expiry(category, settings)
    row = ListedRow(reference, identifiers, category, _severity(cells, category), listed_on, expires_on, _band(cells))
    _check_label(row, today)
    return row


def _check_label(row: ListedRow, today: date) -> None:
    try:
        row.label(*_SOME_LABEL)
    except InvalidInputError as error:
        column, _, rule = error.message.partition(": ")
        raise BrokenRuleError(column.replace(" ", "_"), rule) from None
    if row.is_expired(today):
        raise BrokenRuleError("expires_on", "has passed: the entry would say nothing")


def _cell(cells: _Cells, column: str) -> str:
    return cells.get(column, "").strip()


def _identifiers(cells: _Cells, country: str) -> tuple[Identifier, ...]:
    found = tuple(_identifier(kind, cells, country) for kind in KINDS if _cell(cells, kind.value))
    if not found:
        raise BrokenRuleError("", f"expected an identifier in at least one of {', '.join(KINDS)}")
    return found


def _identifier(kind: Kind, cells: _Cells, country: str) -> Identifier:
    where = _cell(cells, f"{kind.value}_country") or _cell(cells, "country") or country
    try:
        return canonicalise(kind, where, cells[kind.value])
    except InvalidInputError as error:
        rule = error.message.partition(": ")[2]
        column = f"{kind.value}_country" if error.message.startswith("country") else kind.value
        raise BrokenRuleError(column, rule) from None


def _word(cells: _Cells, column: str, words: type[_Word]) -> _Word:
    try:
        return words(_cell(cells, column).lower())
    except ValueError:
        raise BrokenRuleError(column, f"expected one of {', '.join(words)}") from None


def _severity(cells: _Cells, category: Category) -> Severity:
    if not _cell(cells, "severity") and category in _EVENTS:
        return Severity.NONE
    return _word(cells, "severity", Severity)


def _day(cells: _Cells, column: str) -> date:
    try:
        return date.fromisoformat(_cell(cells, column))
    except ValueError:
        raise BrokenRuleError(column, "expected a day as YYYY-MM-DD") from None


def _expiry(category: Category, settings: ListingsSettings) -> timedelta:
    if category is Category.ACTIVE_LOAN:
        return settings.loan_expiry
    return settings.application_expiry if category is Category.APPLICATION else settings.expiry


def _band(cells: _Cells) -> AmountBand:
    text = _cell(cells, "amount")
    if not text:
        return AmountBand.NOT_STATED
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise BrokenRuleError("amount", "expected a number, 0 or more, without separators of thousands")
    return amount_band(amount)
