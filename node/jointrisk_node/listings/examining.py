"""The first pass over a lender's file: everything is checked before anything is sent.

Two rows with one reference are both refused. They are found by 64-bit digests of the references, kept in memory for
all rows: two different references among a million have the same with a probability of 3 in 10^8, and are refused then.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final

from jointrisk_node.listings.rows import BrokenRuleError, read_row
from jointrisk_node.listings.settings import ListingsSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from jointrisk_node.data.cells import CellFile

Progress = Callable[[int], None]
"""Told from time to time how many rows have been checked."""

MOST_TOLD: Final = 1000
"""Refused rows that are told one by one; all are counted."""

_TWICE = "stands more than once in the file"


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A rule that a row breaks; never a value.

    Attributes:
        row: its number, from 1, a header line not counted.
        column: where; empty for the whole row.
        rule: the rule.
    """

    row: int
    column: str
    rule: str


@dataclass
class Refusals:
    """Rows that are refused: all counted, the first ones told.

    Attributes:
        count: how many.
        told: the first `MOST_TOLD`.
        rules: how many break each rule of each column.
        numbers: of all of them.
    """

    count: int = 0
    told: list[RefusedRow] = field(default_factory=list)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    numbers: "array[int]" = field(default_factory=lambda: array("L"))

    def add(self, row: int, column: str, rule: str) -> None:
        """Note one."""
        self.count += 1
        self.rules[column, rule] += 1
        self.numbers.append(row)
        if len(self.told) < MOST_TOLD:
            self.told.append(RefusedRow(row, column, rule))


@dataclass(frozen=True)
class Examined:
    """What the first pass found.

    Attributes:
        columns: of the file.
        rows: how many there are.
        refusals: those that break a rule.
    """

    columns: tuple[str, ...]
    rows: int
    refusals: Refusals


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row as it is sent to the daemon.

    Attributes:
        number: in the file, from 1.
        cells: in the order of the columns.
    """

    number: int
    cells: tuple[str, ...] = field(repr=False)


def examine(file: "CellFile", settings: ListingsSettings, today: date, progress: Progress | None = None) -> Examined:
    """Check every row.

    Args:
        file: the lender's.
        settings: defaults of country and expiry.
        today: the day.
        progress: told how many rows have been checked.

    Raises:
        InvalidInputError: the file cannot be read as rows of listings at all.
        NotFoundError: there is none.
    """
    import numpy as np

    columns, refusals, digests, rows = file.columns(), Refusals(), [np.empty(0, np.uint64)], 0
    for batch in file.batches():
        digests.append(batch.digests)
        for number, cells in enumerate(batch.rows, start=batch.first):
            try:
                read_row(dict(zip(columns, cells, strict=True)), settings, today)
            except BrokenRuleError as broken:
                refusals.add(number, broken.column, broken.rule)
        rows += len(batch.rows)
        if progress is not None:
            progress(rows)
    _add_repeated(np.concatenate(digests), refusals)
    return Examined(columns, rows, refusals)


def sound_rows(file: "CellFile", examined: Examined) -> Iterator[Sequence[NumberedRow]]:
    """Yield the rows of a file again, batch by batch, without those that were refused."""
    import numpy as np

    refused = np.array(examined.refusals.numbers, dtype=np.int64)
    for batch in file.batches():
        numbers = np.arange(batch.first, batch.first + len(batch.rows))
        keep = np.flatnonzero(~np.isin(numbers, refused))
        yield [NumberedRow(batch.first + int(place), batch.rows[place]) for place in keep]


def _add_repeated(digests: "NDArray[np.uint64]", refusals: Refusals) -> None:
    import numpy as np

    found, counts = np.unique(digests, return_counts=True)
    twice = np.flatnonzero(np.isin(digests, found[counts > 1])) + 1
    for row in np.setdiff1d(twice, np.array(refusals.numbers, dtype=np.int64)):
        refusals.add(int(row), "reference", _TWICE)
