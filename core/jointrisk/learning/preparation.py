"""What members count before the first round, and the encoding that the coordinator makes of the totals.

Two steps, each one message to every member and one summed reply: coarse counts, then fine counts inside the intervals
that follow from the coarse ones. Only whole numbers of rows leave a member, and only their totals over all members are
used.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError
from jointrisk.federation.contract import Feature, FeatureContract
from jointrisk.learning import binning
from jointrisk.learning.binning import Counts
from jointrisk.learning.encoding import (
    BUCKETS,
    CategoryEncoding,
    Encoding,
    FeatureEncoding,
    FlagEncoding,
    NumericEncoding,
    Rows,
    is_open,
)
from jointrisk.learning.means import Means, flag_counts, usable

Form = dict[str, tuple[tuple[int, ...], str]]
"""Names of arrays, their shapes and types."""
Totals = Mapping[str, NDArray[np.generic]]
_WORDS: Final = "words/"
_NOBODY: Final = np.zeros(0, dtype=np.uint8)
_FLAGS: Final = "flags"


@dataclass(frozen=True)
class Prepared:
    """What the rounds go by.

    Attributes:
        encoding: of the contract's features.
        goods: rows of all members that train, without the bad ones.
        bads: the bad ones.
        held_out: goods and bads among the rows that only evaluation uses.
        means: of every input over these rows, rounded; none of a run that was prepared before there were any.
    """

    encoding: Encoding
    goods: int
    bads: int
    held_out: tuple[int, int] = (0, 0)
    means: tuple[float, ...] = ()

    def payload(self) -> bytes:
        """Return the canonical bytes that are sent with every round."""
        rows = [self.goods, self.bads, *self.held_out]
        said = {"encoding": self.encoding.model_dump(mode="json"), "rows": rows}
        return canonical_json(said | ({"means": list(self.means)} if self.means else {}))

    def with_all_rows(self) -> "Prepared":
        """Return the same for rounds that train on the held-out rows too; encoded as before."""
        good, bad = self.held_out
        return replace(self, goods=self.goods + good, bads=self.bads + bad, held_out=(0, 0))

    @classmethod
    def from_payload(cls, payload: bytes) -> "Prepared":
        """Read what :meth:`payload` wrote.

        Raises:
            CorruptError: it is something else.
        """
        try:
            data = json.loads(payload)
            goods, bads, *held_out = (int(count) for count in data["rows"])
            good, bad = held_out
            encoding, means = Encoding.from_payload(canonical_json(data["encoding"])), data.get("means", [])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CorruptError("expected what the preparation of a run came to, got something else") from None
        if means != [] and usable(means, encoding.width) is None:
            raise CorruptError("expected the mean of every input of a run, got something else")
        return cls(encoding, goods, bads, (good, bad), tuple(means))


def coarse_form(contract: FeatureContract) -> Form:
    """Return the form of a member's coarse counts."""
    form: Form = {"labels": ((2,), "int64"), "held_out": ((2,), "int64")}
    form["coarse"] = ((len(_numeric(contract)), binning.COARSE_CELLS), "int64")
    form |= {_FLAGS: ((len(flags), 2), "int64")} if (flags := _flags(contract)) else {}
    return form | {f"{_WORDS}{place}": ((size,), "int64") for place, size in _vocabularies(contract)}


def coarse_counts(
    contract: FeatureContract, rows: Rows, labels: NDArray[np.integer], held_out: NDArray[np.integer] = _NOBODY
) -> dict[str, Counts]:
    """Return a member's counts of goods and bads, of cells of the fixed grid, of flags and of words.

    Args:
        contract: what the columns are.
        rows: that train; see :mod:`jointrisk.learning.encoding`.
        labels: theirs, 1 for bad.
        held_out: labels of the rows that only evaluation uses. Nothing else of these is counted.
    """
    grid = binning.coarse_boundaries()
    cells = [binning.count_cells(rows[:, place], grid, binning.COARSE_CELLS) for place in _numeric(contract)]
    counts = {
        "labels": np.bincount(labels.astype(np.intp), minlength=2).astype(np.int64),
        "held_out": np.bincount(held_out.astype(np.intp), minlength=2).astype(np.int64),
        "coarse": np.array(cells, dtype=np.int64).reshape(len(cells), binning.COARSE_CELLS),
    }
    if flags := _flags(contract):
        counts[_FLAGS] = flag_counts(rows[:, flags])
    for place, size in _vocabularies(contract):
        present = rows[:, place][~np.isnan(rows[:, place])].astype(np.intp)
        counts[f"{_WORDS}{place}"] = np.bincount(present, minlength=size).astype(np.int64)
    return counts


def intervals_of(coarse: Totals, minimum: int) -> list[NDArray[np.float64]]:
    """Return for each numeric feature the ends of the intervals in which rows are counted finely.

    Args:
        coarse: totals of the first step.
        minimum: the fewest rows of an interval.
    """
    return [binning.choose_intervals(row, minimum) for row in np.asarray(coarse["coarse"], dtype=np.int64)]


def fine_form(contract: FeatureContract) -> Form:
    """Return the form of a member's fine counts."""
    return {"fine": ((len(_numeric(contract)), binning.FINE_CELLS), "int64")}


def fine_counts(contract: FeatureContract, rows: Rows, intervals: Sequence[NDArray[np.float64]]) -> dict[str, Counts]:
    """Return a member's counts inside the intervals that :func:`intervals_of` chose."""
    cells = [_fine(rows[:, place], ends) for place, ends in zip(_numeric(contract), intervals, strict=True)]
    return {"fine": np.array(cells, dtype=np.int64).reshape(len(cells), binning.FINE_CELLS)}


def prepare(contract: FeatureContract, coarse: Totals, fine: Totals, *, bins: int, minimum: int) -> Prepared:
    """Return the encoding that the totals give; the same for the same totals.

    Args:
        contract: what the columns are.
        coarse: totals of the first step.
        fine: totals of the second.
        bins: the most bins of a numeric feature.
        minimum: the fewest rows, of all members together, behind a bin or a word.
    """
    goods, bads = (int(count) for count in np.asarray(coarse["labels"]))
    good, bad = (int(count) for count in np.asarray(coarse["held_out"]))
    made = _Features(contract, coarse, fine, bins, minimum, Means(goods + bads, minimum))
    parts = [made.of(place, feature) for place, feature in enumerate(contract.features)]
    encoding = Encoding(features=tuple(encoding for encoding, _ in parts))
    return Prepared(encoding, goods, bads, (good, bad), tuple(mean for _, means in parts for mean in means))


class _Features:
    """Encodings of a contract's features, and the means of their inputs, from totals."""

    def __init__(
        self, contract: FeatureContract, coarse: Totals, fine: Totals, bins: int, minimum: int, means: Means
    ) -> None:
        numeric, flags = _numeric(contract), _flags(contract)
        self._coarse = coarse
        self._bins = bins
        self._minimum = minimum
        self._means = means
        self._ends = dict(zip(numeric, intervals_of(coarse, minimum), strict=True))
        self._cells = dict(zip(numeric, np.asarray(fine["fine"], dtype=np.int64), strict=True))
        self._present = dict(zip(numeric, np.asarray(coarse["coarse"], dtype=np.int64).sum(axis=1), strict=True))
        self._flags = dict(zip(flags, np.asarray(coarse[_FLAGS], dtype=np.int64) if flags else (), strict=True))

    def of(self, place: int, feature: Feature) -> tuple[FeatureEncoding, list[float]]:
        """Return one feature's encoding and means."""
        if feature.kind == "numeric":
            ends, cells = self._ends[place], self._cells[place]
            number = _numeric_encoding(feature, ends, cells, self._bins, self._minimum)
            return number, self._means.number(number, ends, cells, int(self._present[place]))
        if feature.kind == "flag":
            flag = FlagEncoding(name=feature.name, missing=feature.missing == "allowed")
            return flag, self._means.flag(flag, self._flags[place])
        counts = np.asarray(self._coarse[f"{_WORDS}{place}"], dtype=np.int64)
        category = _category_encoding(feature, counts, self._minimum)
        return category, self._means.words(category, counts)


def _fine(column: Rows, ends: NDArray[np.float64]) -> Counts:
    boundaries = binning.fine_boundaries(ends) if len(ends) else ends
    return binning.count_cells(column, boundaries, binning.FINE_CELLS)


def _numeric_encoding(
    feature: Feature, ends: NDArray[np.float64], cells: Counts, bins: int, minimum: int
) -> NumericEncoding:
    edges = np.empty(0)
    if len(ends):
        edges = binning.choose_edges(binning.fine_boundaries(ends), cells, bins, minimum)
    single = np.unique(edges.astype(np.float32))
    kept = tuple(float(edge) for edge in single) if len(single) > 1 else ()
    return NumericEncoding(name=feature.name, missing=feature.missing == "allowed", edges=kept)


def _category_encoding(feature: Feature, counts: Counts, minimum: int) -> CategoryEncoding:
    kept = tuple(int(code) for code in np.flatnonzero(counts >= minimum))
    return CategoryEncoding(
        name=feature.name,
        missing=feature.missing == "allowed",
        hashed=is_open(feature),
        kept=kept,
        other=len(kept) < len(counts),
    )


def _numeric(contract: FeatureContract) -> list[int]:
    return [place for place, feature in enumerate(contract.features) if feature.kind == "numeric"]


def _flags(contract: FeatureContract) -> list[int]:
    return [place for place, feature in enumerate(contract.features) if feature.kind == "flag"]


def _vocabularies(contract: FeatureContract) -> list[tuple[int, int]]:
    categories = [(place, feature) for place, feature in enumerate(contract.features) if feature.kind == "category"]
    return [(place, BUCKETS if f.categories is None else len(f.categories)) for place, f in categories]
