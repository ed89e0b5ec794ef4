"""The loan book: checked against the feature contract, and read into the arrays that training sees."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from jointrisk.federation.contract import FeatureContract
from jointrisk_node.data.columns import ROW_RULES, Column, plan
from jointrisk_node.data.report import Breach, CheckReport, Rule
from jointrisk_node.data.settings import DataSettings
from jointrisk_node.data.source import Loans, Unreadable, open_loans
from jointrisk_node.data.table import LoanTable, TableBuilder

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Progress = Callable[[int], None]
"""Told from time to time how many rows have been read."""


class LoanBook:
    """A lender's labelled loans, wherever they are. Every call reads them anew, in one streaming pass.

    Args:
        settings: where they are.
    """

    def __init__(self, settings: DataSettings) -> None:
        self._settings = settings

    @classmethod
    def open(cls, settings: DataSettings) -> Self:
        """Return the book that the settings name. Nothing is read yet."""
        return cls(settings)

    def check(self, contract: FeatureContract, progress: Progress | None = None) -> CheckReport:
        """Check every row against the contract. The memory that it takes does not grow with the book.

        Raises:
            InvalidInputError: the source cannot be read at all; see `open_loans` for the other errors.
        """
        with open_loans(self._settings) as loans:
            work = _Pass(contract, loans)
            for _ in work.batches(progress, with_values=False):
                pass
            return work.report()

    def arrays(self, contract: FeatureContract, progress: Progress | None = None) -> LoanTable:
        """Return features and labels of all rows, in their order; they are checked on the way.

        Raises:
            DataBreachError: a row or the book breaks the contract.
            InvalidInputError: the source cannot be read at all, or an open vocabulary has too many categories.
        """
        with open_loans(self._settings) as loans:
            work = _Pass(contract, loans)
            builder = TableBuilder(contract)
            for batch in work.batches(progress, with_values=True):
                # After a breach there will be no table, only a report.
                if not work.broken:
                    builder.add(batch)
            work.report().require_ok()
            return builder.table()


@dataclass
class _Tally:
    """How often a rule is broken in a column, and where first."""

    count: int = 0
    row: int = 0

    def add(self, hits: "NDArray[np.intp]", rows_before: int) -> None:
        if not self.count:
            self.row = rows_before + int(hits[0]) + 1
        self.count += len(hits)


@dataclass
class _Pass:
    """One pass over the rows, and what it has found so far."""

    contract: FeatureContract
    loans: Loans
    rows: int = 0
    ones: int = 0
    tallies: dict[tuple[str, Rule], _Tally] = field(default_factory=dict)
    columns: list[Column] = field(init=False)
    missing: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.columns, self.missing = plan(self.contract, self.loans.columns())

    @property
    def broken(self) -> bool:
        return bool(self.tallies or self.missing)

    @property
    def has_label(self) -> bool:
        return self.contract.target.label_column not in self.missing

    def batches(self, progress: Progress | None, *, with_values: bool) -> Iterator["pa.RecordBatch"]:
        """Count the breaches of every batch, then yield its values: features, then the label."""
        broken = [column.broken for column in self.columns]
        values = [column.value for column in self.columns] if with_values else self._label_value()
        for batch in self.loans.stream([*broken, *values, "0"]):
            for place, column in enumerate(self.columns):
                self._count(column, batch.column(place).to_numpy())
            if self.has_label:
                self.ones += int(batch.column(len(broken) + len(values) - 1).to_numpy(zero_copy_only=False).sum())
            self.rows += batch.num_rows
            if progress is not None:
                progress(self.rows)
            yield batch.select(range(len(broken), len(broken) + len(values)))

    def report(self) -> CheckReport:
        unreadable = self.loans.unreadable()
        breaches = (_unreadable(unreadable),) if unreadable else tuple(self._breaches())
        return CheckReport(self.contract.version, self.rows, breaches)

    def _label_value(self) -> list[str]:
        return [self.columns[-1].value] if self.has_label else []

    def _count(self, column: Column, codes: "NDArray[np.uint8]") -> None:
        import numpy as np

        for code in np.unique(codes[codes > 0]):
            key = (column.name, ROW_RULES[code - 1])
            self.tallies.setdefault(key, _Tally()).add(np.flatnonzero(codes == code), self.rows)

    def _breaches(self) -> Iterator[Breach]:
        for name in (*self.contract.names, self.contract.target.label_column):
            if name in self.missing:
                yield Breach(name, Rule.COLUMN_MISSING, "a column of this name in the result of the query")
        for column in self.columns:
            for rule in ROW_RULES:
                if tally := self.tallies.get((column.name, rule)):
                    yield Breach(column.name, rule, column.expected[rule], tally.count, tally.row)
        yield from self._of_whole_book()

    def _of_whole_book(self) -> Iterator[Breach]:
        if self.rows < self.contract.minimum_rows:
            yield Breach("", Rule.TOO_FEW_ROWS, f"at least {self.contract.minimum_rows}, there are {self.rows}")
        if self.has_label and self.rows and self.ones in {0, self.rows}:
            yield Breach(self.contract.target.label_column, Rule.ONE_CLASS, "good and bad loans")


def _unreadable(found: Unreadable) -> Breach:
    """Report nothing beside unreadable rows: they shift the numbers of the rows that follow."""
    return Breach(
        "",
        Rule.UNREADABLE,
        "as many cells as the header has, in UTF-8, and none that [data] query cannot convert",
        found.count,
        found.row,
    )
