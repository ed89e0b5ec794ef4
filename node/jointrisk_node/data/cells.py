"""Files of persons read as text cells: listings, and books to be screened.

Every cell comes as the text that stands in the file; what it means is decided by who reads it. The memory that it takes
does not grow with the file.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jointrisk.errors import InvalidInputError
from jointrisk_node.data.columns import quoted_name
from jointrisk_node.data.settings import DataSettings
from jointrisk_node.data.source import open_loans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEXT = "VARCHAR"


@dataclass(frozen=True)
class CellBatch:
    """Some rows of a file, in its order.

    Attributes:
        first: the number of the first, from 1, a header line not counted.
        rows: the cells of each, in the order of the columns; empty text for no value.
        digests: uint64 [rows], of the first column's cells without blanks around them: equal cells have equal ones.
    """

    first: int
    rows: list[tuple[str, ...]]
    digests: "NDArray[np.uint64]"


class CellFile:
    """A CSV or Parquet file with columns of fixed names.

    Args:
        settings: where it is, and how cells are separated.
        known: the columns that it can have; others are refused, so that no misspelt one is silently left out.
        required: those that it must have.
        textual: those that must be text in a Parquet file: *a number has lost its leading zeros.*
        ignore_others: whether other columns are left out instead.
    """

    def __init__(
        self,
        settings: DataSettings,
        known: Sequence[str],
        *,
        required: Sequence[str],
        textual: Collection[str] = (),
        ignore_others: bool = False,
    ) -> None:
        self._settings = settings
        self._known = tuple(known)
        self._required = tuple(required)
        self._textual = frozenset(textual)
        self._ignore_others = ignore_others

    def columns(self) -> tuple[str, ...]:
        """Return the columns that there are, in the order in which they are known.

        Raises:
            InvalidInputError: a required one is missing, one is unknown, or one that must be text is none.
            NotFoundError: there is no file.
        """
        with open_loans(self._settings) as loans:
            return self._judged(loans.columns())

    def batches(self) -> Iterator[CellBatch]:
        """Yield all rows.

        Raises:
            InvalidInputError: as `columns`, or lines of a CSV file are no rows; told after the last batch.
            NotFoundError: there is no file.
        """
        with open_loans(self._settings) as loans:
            columns = self._judged(loans.columns())
            cells = [f"coalesce(CAST({quoted_name(name)} AS {_TEXT}), '')" for name in columns]
            first = 1
            for batch in loans.stream([*cells, f"hash(trim({cells[0]}))"]):
                lists = [batch.column(place).to_pylist() for place in range(len(columns))]
                yield CellBatch(first, list(zip(*lists, strict=True)), batch.column(len(columns)).to_numpy())
                first += batch.num_rows
            if spoilt := loans.unreadable():
                raise InvalidInputError(
                    f"{spoilt.count} line(s) of {self._settings.place} are no rows, the first is row {spoilt.row}",
                    remedy="Each line needs as many cells as the header has, in UTF-8. Mend them, or leave them out.",
                )

    def _judged(self, found: dict[str, str]) -> tuple[str, ...]:
        kinds = {name.lower(): kind for name, kind in found.items()}
        if lacking := [name for name in self._required if name not in kinds]:
            raise InvalidInputError(f"expected a column {', '.join(lacking)} in {self._settings.place}, got none")
        strange = [name for name in kinds if name not in self._known]
        if strange and not self._ignore_others:
            raise InvalidInputError(
                f"expected the columns {', '.join(self._known)} in {self._settings.place}, "
                f"got {len(strange)} other(s), the first is number {list(kinds).index(strange[0]) + 1}",
                remedy="Rename or leave out the others.",
            )
        if numbers := [name for name in self._textual if kinds.get(name, _TEXT) != _TEXT]:
            raise InvalidInputError(
                f"expected text in the column(s) {', '.join(sorted(numbers))}, got another type",
                remedy="Write them as text: a number has lost its leading zeros, and beyond 15 digits its last ones.",
            )
        return tuple(name for name in self._known if name in kinds)
