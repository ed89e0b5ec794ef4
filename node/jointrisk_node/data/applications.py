"""Applications to be scored, wherever they are: read as a stream, each row checked against the feature contract.

A row that breaks the contract comes back with the rules it breaks; the others come as the arrays that a scorer takes.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jointrisk.errors import DataBreachError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.encoding import bucket_of, is_open
from jointrisk_node.data.columns import ROW_RULES, Column, plan, quoted_name
from jointrisk_node.data.report import Breach, Rule
from jointrisk_node.data.settings import DataSettings
from jointrisk_node.data.source import Loans, open_loans

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_UNREADABLE = "as many cells as the header has, in UTF-8, and none that [data] query cannot convert"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ApplicationBatch:
    """Some rows of the source, in its order.

    Attributes:
        numbers: of the rows, from 1, a header line not counted.
        features: float32 [rows, features] for a scorer; of no use in rows that are broken.
        broken: uint8 [rows, features]: in each column the number of the rule that is broken, 0 for none.
        unreadable: which rows could not be read as rows at all.
        kept: the columns that were asked to be carried along, null where a row is unreadable.
    """

    numbers: "NDArray[np.int64]"
    features: "NDArray[np.float32]"
    broken: "NDArray[np.uint8]"
    unreadable: "NDArray[np.bool_]"
    kept: Mapping[str, "pa.Array"]

    @property
    def sound(self) -> "NDArray[np.bool_]":
        """Which rows keep the contract."""
        result: NDArray[np.bool_] = ~(self.broken.any(axis=1) | self.unreadable)
        return result


class Applications:
    """Applications under a contract.

    Args:
        settings: where they are.
        contract: what a row must keep; its label is not looked at.
        keep: names of columns that are carried along, such as an application's id.
    """

    def __init__(self, settings: DataSettings, contract: FeatureContract, keep: Sequence[str] = ()) -> None:
        self._settings = settings
        self._contract = contract
        self._keep = tuple(keep)
        self._expected: list[Mapping[Rule, str]] = []

    def batches(self) -> Iterator[ApplicationBatch]:
        """Yield all rows. The memory that it takes does not grow with the source.

        Raises:
            DataBreachError: the source lacks columns of the contract.
            InvalidInputError: the source cannot be read at all, lacks a column to be kept, or has broken lines whose
                place among the rows cannot be told.
        """
        spoilt = self._spoilt()
        with open_loans(self._settings) as loans:
            columns = self._plan(loans)
            self._expected = [column.expected for column in columns]
            first = 1
            for batch in loans.stream(self._expressions(loans, columns)):
                read = self._read(batch, first)
                read = _with_spoilt(read, spoilt)
                first += len(read.numbers)
                yield read
            if rest := [row for row in spoilt if row >= first]:
                yield _all_spoilt(rest, self._contract, self._keep)

    def breaches(self, batch: ApplicationBatch, place: int) -> tuple[Breach, ...]:
        """Return what one row of a batch breaks; never a value."""
        if batch.unreadable[place]:
            return (Breach("", Rule.UNREADABLE, _UNREADABLE, 1),)
        found = []
        for name, code, expected in zip(self._contract.names, batch.broken[place], self._expected, strict=True):
            if code:
                rule = ROW_RULES[code - 1]
                found.append(Breach(name, rule, expected[rule], 1))
        return tuple(found)

    def _plan(self, loans: Loans) -> list[Column]:
        columns, missing = plan(self._contract, loans.columns())
        label = self._contract.target.label_column
        if lacking := [name for name in missing if name != label]:
            raise DataBreachError(
                f"expected all columns of feature contract version {self._contract.version}, "
                f"got none named {', '.join(lacking)}",
                remedy="Name the columns as the contract does, for example by --query.",
            )
        return [column for column in columns if column.name != label]

    def _expressions(self, loans: Loans, columns: list[Column]) -> list[str]:
        by_name = {name.lower(): name for name in loans.columns()}
        if lacking := [name for name in self._keep if name.lower() not in by_name]:
            raise InvalidInputError(
                f"expected columns to keep that are in the data, got {', '.join(lacking)}",
                remedy=f"There are: {', '.join(sorted(by_name.values()))}.",
            )
        kept = [quoted_name(by_name[name.lower()]) for name in self._keep]
        return [*(column.broken for column in columns), *(column.value for column in columns), *kept]

    def _read(self, batch: "pa.RecordBatch", first: int) -> ApplicationBatch:
        import numpy as np

        width, rows = len(self._contract.features), batch.num_rows
        broken = np.empty((rows, width), dtype=np.uint8)
        features = np.empty((rows, width), dtype=np.float32)
        for place, feature in enumerate(self._contract.features):
            broken[:, place] = batch.column(place).to_numpy()
            column = batch.column(width + place)
            features[:, place] = _buckets(column) if is_open(feature) else column.to_numpy(zero_copy_only=False)
        return ApplicationBatch(
            numbers=np.arange(first, first + rows, dtype=np.int64),
            features=features,
            broken=broken,
            unreadable=np.zeros(rows, dtype=np.bool_),
            kept={name: batch.column(2 * width + place) for place, name in enumerate(self._keep)},
        )

    def _spoilt(self) -> list[int]:
        """Return the numbers of the rows of a CSV file that cannot be read; DuckDB tells them after a whole pass."""
        if not self._settings.is_csv:
            return []
        with open_loans(self._settings) as loans:
            expressions = self._expressions(loans, self._plan(loans))
            rows = sum(batch.num_rows for batch in loans.stream(expressions))
            found = loans.unreadable_lines()
            if not found:
                return []
        numbers = [max(line - 1, 1) for line in found]
        # Several files, cells with line ends, or a query that picks rows: rows do not follow lines.
        if _lines(Path(self._settings.source)) != rows + len(numbers):
            raise InvalidInputError(
                f"{len(numbers)} lines of {self._settings.place} cannot be read, the first is line {numbers[0] + 1}",
                remedy=f"Each line needs {_UNREADABLE}. Mend them, or leave them out.",
            )
        return numbers


def _buckets(column: "pa.Array") -> "NDArray[np.float32]":
    import numpy as np

    encoded = column.dictionary_encode()
    buckets = np.array([*map(bucket_of, encoded.dictionary.to_pylist()), np.nan], dtype=np.float32)
    indices = encoded.indices.fill_null(len(buckets) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(buckets[indices])


def _with_spoilt(batch: ApplicationBatch, spoilt: list[int]) -> ApplicationBatch:
    """Return a batch with the rows among it that could not be read, and the others' numbers moved behind them."""
    import numpy as np
    import pyarrow as pa

    first, rows, added = int(batch.numbers[0]) if len(batch.numbers) else 0, len(batch.numbers), -1
    inside = 0
    while inside != added:
        added = inside
        inside = sum(first <= row < first + rows + added for row in spoilt)
    if not added:
        return batch
    numbers = np.arange(first, first + rows + added, dtype=np.int64)
    bad = np.isin(numbers, spoilt)
    source = np.cumsum(~bad) - 1
    taken = pa.array(source, mask=bad)
    return ApplicationBatch(
        numbers=numbers,
        features=batch.features[np.maximum(source, 0)],
        broken=np.where(bad[:, None], 0, batch.broken[np.maximum(source, 0)]).astype(np.uint8),
        unreadable=bad,
        kept={name: column.take(taken) for name, column in batch.kept.items()},
    )


def _all_spoilt(rows: list[int], contract: FeatureContract, keep: Sequence[str]) -> ApplicationBatch:
    import numpy as np
    import pyarrow as pa

    shape = (len(rows), len(contract.features))
    return ApplicationBatch(
        numbers=np.array(rows, dtype=np.int64),
        features=np.full(shape, np.nan, dtype=np.float32),
        broken=np.zeros(shape, dtype=np.uint8),
        unreadable=np.ones(len(rows), dtype=np.bool_),
        kept={name: pa.nulls(len(rows), pa.string()) for name in keep},
    )


def _lines(path: Path) -> int:
    """Return how many lines a file has after its header; -1 where the path is a pattern."""
    if not path.is_file():
        return -1
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    count, last = 0, b"\n"
    with opened(path, "rb") as file:
        while block := file.read(_BLOCK):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n") - 1
