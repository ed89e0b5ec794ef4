"""What a check of the loan book found: numbers of rows, columns and rules, never a value."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from jointrisk.errors import DataBreachError

_SHOWN_IN_ERROR = 5


class Rule(StrEnum):
    """A rule that a loan book can break."""

    UNREADABLE = "unreadable row"
    COLUMN_MISSING = "column missing"
    WRONG_TYPE = "wrong type"
    MISSING = "missing value"
    NOT_A_NUMBER = "not a number"
    NOT_FINITE = "not finite"
    OUT_OF_RANGE = "out of range"
    NOT_A_CATEGORY = "category not allowed"
    NOT_A_FLAG = "flag not 0 or 1"
    LABEL_MISSING = "label missing"
    LABEL_NOT_BINARY = "label not 0 or 1"
    ONE_CLASS = "one class only"
    TOO_FEW_ROWS = "too few rows"


@dataclass(frozen=True)
class Breach:
    """One rule, broken in one column.

    Attributes:
        column: as the contract names it; empty for a rule about whole rows.
        rule: which rule.
        expected: what the contract asks for.
        count: how many rows break it; 0 for a rule about the whole book.
        row: the first of them, from 1, a header line not counted; None for a rule about the whole book.
    """

    column: str
    rule: Rule
    expected: str
    count: int = 0
    row: int | None = None

    def __str__(self) -> str:
        what = f"{self.column}: {self.rule}" if self.column else str(self.rule)
        where = (
            "" if self.row is None else f", in {self.count} row{'s' if self.count > 1 else ''}, first row {self.row}"
        )
        return f"{what} (expected {self.expected}){where}"


@dataclass(frozen=True)
class CheckReport:
    """The result of checking a loan book against a feature contract.

    Attributes:
        contract_version: of the contract; 0 for a draft.
        rows: how many rows the book has.
        breaches: every rule that is broken, in the contract's order of columns.
    """

    contract_version: int
    rows: int
    breaches: tuple[Breach, ...]

    @property
    def ok(self) -> bool:
        """Tell whether the book keeps the contract."""
        return not self.breaches

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        return {"ok": self.ok} | asdict(self)

    def require_ok(self) -> None:
        """Do nothing when the book keeps the contract.

        Raises:
            DataBreachError: it does not; the message names the first breaches.
        """
        if self.breaches:
            raise DataBreachError("; ".join(self._lines()), remedy="See all with `jointrisk node data check`.")

    def _lines(self) -> Iterator[str]:
        of = f" version {self.contract_version}" if self.contract_version else ""
        yield f"the data breaks the feature contract{of}"
        yield from (str(breach) for breach in self.breaches[:_SHOWN_IN_ERROR])
        if len(self.breaches) > _SHOWN_IN_ERROR:
            yield f"and {len(self.breaches) - _SHOWN_IN_ERROR} more"
