"""A network's first layer over encoded rows, without making the inputs.

The encoding makes hundreds of inputs of a row, but each feature lies in one bin: what its inputs do in the layer is one
row of a table, plus the share of the bin times another. In many rows, features of many inputs are looked up and those
of few are multiplied out; in one row, all are looked up at once, as every NumPy call costs more than what it computes.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from jointrisk.learning.encoding import (
    BUCKETS,
    CategoryEncoding,
    Encoding,
    FeatureEncoding,
    NumericEncoding,
    Rows,
)

Floats = NDArray[np.float32]
_Wide = NDArray[np.float64]
_FEW_INPUTS = 12


class FirstLayer:
    """``encode(rows) @ weights + bias``, to single precision's rounding. Safe from any thread.

    Args:
        encoding: how rows become inputs.
        weights: float64 [inputs, width].
        bias: float32 [width].
    """

    def __init__(self, encoding: Encoding, weights: _Wide, bias: Floats) -> None:
        ends = np.cumsum([0, *(_inputs(feature) + feature.missing for feature in encoding.features)])
        parts = [weights[begin:end] for begin, end in pairwise(ends)]
        self._bias = bias
        few = [place for place, feature in enumerate(encoding.features) if _inputs(feature) <= _FEW_INPUTS]
        self._few = np.array(few, dtype=np.intp)
        self._few_encoding = Encoding(features=tuple(encoding.features[place] for place in few))
        self._few_weights = np.concatenate([weights[:0], *(parts[place] for place in few)]).astype(np.float32)
        self._tables = [_table(feature, own) for feature, own in zip(encoding.features, parts, strict=True)]
        self._many = sorted(set(range(len(parts))) - set(few))
        self._begins = list(accumulate((len(table.base) for table in self._tables), initial=0))[:-1]
        self._base = np.concatenate([weights[:0].astype(np.float32), *(table.base for table in self._tables)])
        self._slope = np.concatenate([weights[:0].astype(np.float32), *(table.slope for table in self._tables)])

    def apply(self, rows: Rows) -> Floats:
        """Return what the layer gives, float32 [rows, width], before what comes after it."""
        return self._of_one(rows[0].tolist())[None] if len(rows) == 1 else self._of_many(rows)

    def by_feature(self, rows: Rows) -> Floats:
        """Return what each feature adds in the layer, float32 [rows, features, width]; they and the bias make it up."""
        if len(rows) == 1:
            entries, shares = self._found(rows[0].tolist())
            alone: Floats = self._base[entries] + shares[:, None] * self._slope[entries]
            return alone[None]
        parts = np.zeros((len(rows), len(self._tables), len(self._bias)), dtype=np.float32)
        scratch = np.empty((len(rows), len(self._bias)), dtype=np.float32)
        for place, table in enumerate(self._tables):
            table.add(rows[:, place], parts[:, place], scratch)
        return parts

    def _found(self, row: Sequence[float]) -> tuple[list[int], Floats]:
        """Return where each feature's value lies in all tables together, and its share of the bin."""
        found = [table.find(value) for table, value in zip(self._tables, row, strict=True)]
        entries = [begin + entry for begin, (entry, _) in zip(self._begins, found, strict=True)]
        return entries, np.array([share for _, share in found], dtype=np.float32)

    def _of_one(self, row: Sequence[float]) -> Floats:
        entries, shares = self._found(row)
        total: Floats = self._base[entries].sum(axis=0) + shares @ self._slope[entries] + self._bias
        return total

    def _of_many(self, rows: Rows) -> Floats:
        total: Floats = self._few_encoding.encode(rows[:, self._few]) @ self._few_weights + self._bias
        scratch = np.empty_like(total)
        for place in self._many:
            self._tables[place].add(rows[:, place], total, scratch)
        return total


@dataclass(frozen=True)
class _Table:
    """What one feature adds to the layer: ``base[bin] + share * slope[bin]``; the last bin is "missing".

    Attributes:
        edges: of the bins of a number, float32; empty where values are codes.
        rise: for each bin of a number, 1 / its width.
        bins: for each code its bin, the last for all greater codes; empty for a number.
        base: float32 [bins + 1, width of the layer].
        slope: as ``base``; zeros where values are codes.
    """

    edges: Floats
    rise: Floats
    bins: NDArray[np.intp]
    base: Floats
    slope: Floats

    def find(self, value: float) -> tuple[int, float]:
        """Return the bin of one value and the share of the bin that lies below it."""
        if math.isnan(value):
            return len(self.base) - 1, 0.0
        if len(self.bins):
            return self.bins.item(max(0, min(int(value), len(self.bins) - 1))), 0.0
        place = max(0, min(bisect_right(self.edges, value) - 1, len(self.base) - 2))
        return place, max(0.0, min((value - self.edges.item(place)) * self.rise.item(place), 1.0))

    def add(self, column: Floats, total: Floats, scratch: Floats) -> None:
        """Add to ``total`` [rows, width] what a column's values give; ``scratch`` is of its shape."""
        missing = np.isnan(column)
        if len(self.bins):
            np.take(self.base, self._codes(column, missing), axis=0, out=scratch, mode="clip")
            np.add(total, scratch, out=total)
            return
        place, share = self._place(column, missing)
        np.take(self.base, place, axis=0, out=scratch, mode="clip")
        np.add(total, scratch, out=total)
        np.take(self.slope, place, axis=0, out=scratch, mode="clip")
        np.multiply(scratch, share[:, None], out=scratch)
        np.add(total, scratch, out=total)

    def _codes(self, column: Floats, missing: NDArray[np.bool_]) -> NDArray[np.intp]:
        codes = np.where(missing, 0, column).astype(np.intp)
        return np.where(missing, len(self.base) - 1, self.bins[np.clip(codes, 0, len(self.bins) - 1)])

    def _place(self, column: Floats, missing: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Floats]:
        last = len(self.base) - 2
        place = np.clip(np.searchsorted(self.edges, column, side="right") - 1, 0, last)
        with np.errstate(over="ignore"):
            share = np.clip((column - self.edges[place]) * self.rise[place], 0, 1).astype(np.float32)
        return np.where(missing, last + 1, place), np.where(missing, np.float32(0), share)


def _inputs(feature: FeatureEncoding) -> int:
    """Return how many inputs a feature has, but for the one that says that it is missing."""
    if isinstance(feature, CategoryEncoding):
        return len(feature.kept) + feature.other
    return max(len(feature.edges) - 1, 0) if isinstance(feature, NumericEncoding) else 1


def _table(feature: FeatureEncoding, own: _Wide) -> _Table:
    """Return the table of a feature from its part of the layer's weights, [inputs, width]."""
    inputs = _inputs(feature)
    missing = own[inputs:] if feature.missing else np.zeros((1, own.shape[1]))
    if isinstance(feature, CategoryEncoding):
        return _category(feature, own[:inputs], missing)
    edges = feature.edges if isinstance(feature, NumericEncoding) else (0.0, 1.0)
    # A number that says nothing has no inputs: one bin that adds nothing.
    return _number(edges, own[:inputs], missing) if edges else _number((0.0, 1.0), np.zeros_like(missing), missing)


def _number(edges: tuple[float, ...], own: _Wide, missing: _Wide) -> _Table:
    below = np.concatenate([np.zeros_like(missing), np.cumsum(own, axis=0)[:-1]])
    return _Table(
        edges=np.array(edges, dtype=np.float32),
        rise=np.array([1 / (high - low) for low, high in pairwise(edges)], dtype=np.float32),
        bins=np.empty(0, dtype=np.intp),
        base=np.concatenate([below, missing]).astype(np.float32),
        slope=np.concatenate([own, np.zeros_like(missing)]).astype(np.float32),
    )


def _category(feature: CategoryEncoding, own: _Wide, missing: _Wide) -> _Table:
    """Words that are not kept have the bin "other", or one that adds nothing."""
    kept = len(feature.kept)
    other = own[kept:] if feature.other else np.zeros_like(missing)
    codes = max([BUCKETS, *(code + 2 for code in feature.kept)])
    bins = np.full(codes, kept, dtype=np.intp)
    bins[list(feature.kept)] = np.arange(kept)
    base = np.concatenate([own[:kept], other, missing]).astype(np.float32)
    nothing = np.empty(0, dtype=np.float32)
    return _Table(edges=nothing, rise=nothing, bins=bins, base=base, slope=np.zeros_like(base))
