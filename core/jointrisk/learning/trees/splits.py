"""The best split of every open node, from its histograms.

A leaf's value is the one that lowers log loss most in second order, kept inside the node's bounds; a split's gain is
LightGBM's: twice by how much the second-order loss falls. Numbers are cut between two bins, missing values tried on
both sides. Words of a category are ordered by risk and cut (Fisher 1958), or split off one by one where there are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.gradients import Floats
from jointrisk.learning.trees.histograms import padded
from jointrisk.learning.trees.settings import TreeSettings

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sides:
    """Summed gradients, hessians and rows of sets of rows: arrays of one shape, or of one that fits by broadcasting."""

    gradients: Floats
    hessians: Floats
    rows: Floats

    @classmethod
    def of(cls, sums: Floats) -> "Sides":
        """Return the sides in an array of three kinds, [3, ...]."""
        return cls(sums[0], sums[1], sums[2])

    def less(self, other: "Sides") -> "Sides":
        """Return what another one leaves over."""
        return Sides(
            self.gradients - other.gradients, self.hessians - other.hessians, np.asarray(self.rows - other.rows)
        )


@dataclass(frozen=True)
class Bounds:
    """Between what the values of nodes have to lie, [nodes]; infinite where nothing says so."""

    low: Floats
    high: Floats

    def reshaped(self, dimensions: int) -> "Bounds":
        """Return the same with axes behind."""
        shape = (-1, *[1] * dimensions)
        return Bounds(self.low.reshape(shape), self.high.reshape(shape))


@dataclass(frozen=True)
class Split:
    """How a node is split.

    Attributes:
        gain: what it gains.
        column: the feature.
        left: for each of its bins whether it goes left.
    """

    gain: float
    column: int
    left: Mask


def leaf_value(sides: Sides, l2: float, bounds: Bounds) -> Floats:
    """Return the values of leaves, before the learning rate."""
    value = -sides.gradients / np.maximum(sides.hessians + l2, np.finfo(np.float64).tiny)
    return np.clip(value, bounds.low, bounds.high)


def best_splits(
    sums: Floats, bounds: Bounds, plan: BinPlan, columns: Sequence[int], settings: TreeSettings
) -> list[Split | None]:
    """Return the best split of every node; None where none is allowed or gains enough.

    Args:
        sums: gradients, hessians and rows, [3, nodes, bins of the columns].
        bounds: of the nodes' values.
        plan: of all bins.
        columns: the tree's.
        settings: the run's.
    """
    begins = plan.begins(columns)
    node = Sides.of(sums[..., begins[0] : begins[1]].sum(axis=-1))
    search = _Search(node, bounds, settings)
    numbers = [column for column in columns if plan.features[column].words is None]
    found = _numbers(sums[..., _bins_of(plan, columns, numbers)], plan, numbers, search) if numbers else []
    for place, column in enumerate(columns):
        if plan.features[column].words is not None:
            found.append(_category(sums[..., begins[place] : begins[place + 1]], column, search))
    best = [max(splits, key=lambda split: (split.gain, -split.column)) for splits in zip(*found, strict=True)]
    return [split if np.isfinite(split.gain) else None for split in best]


@dataclass(frozen=True)
class _Search:
    """What every candidate is measured by: the nodes' own sums and bounds, [nodes]."""

    node: Sides
    bounds: Bounds
    settings: TreeSettings

    def gains(self, left: Sides, direction: NDArray[np.int64], *, more_l2: float = 0.0) -> Floats:
        """Return what candidates gain, [nodes, ...]; minus infinity where they are not allowed.

        Args:
            left: what goes left.
            direction: of each candidate's feature.
            more_l2: added to l2 here.
        """
        shape, l2 = (-1, *[1] * (left.rows.ndim - 1)), self.settings.l2 + more_l2
        bounds = self.bounds.reshaped(left.rows.ndim - 1)
        node = Sides(*(part.reshape(shape) for part in (self.node.gradients, self.node.hessians, self.node.rows)))
        right = node.less(left)
        values = [leaf_value(side, l2, bounds) for side in (left, right)]
        gains = _fall(left, values[0], l2) + _fall(right, values[1], l2)
        gains -= _fall(node, leaf_value(node, self.settings.l2, bounds), self.settings.l2)
        allowed = (direction * (values[1] - values[0]) >= 0) & (gains > self.settings.minimum_gain)
        for side in (left, right):
            allowed &= (side.rows >= self.settings.minimum_leaf) & (side.hessians >= self.settings.minimum_hessian)
        return np.where(allowed, gains, -np.inf)


def _fall(side: Sides, value: Floats, l2: float) -> Floats:
    return -(2 * side.gradients + (side.hessians + l2) * value) * value


def _bins_of(plan: BinPlan, columns: Sequence[int], wanted: Sequence[int]) -> Mask:
    """Return which of the columns' bins are those of the wanted ones."""
    return np.repeat(np.isin(columns, wanted), plan.counts[list(columns)])


def _numbers(sums: Floats, plan: BinPlan, columns: Sequence[int], search: _Search) -> list[list[Split]]:
    """Return each node's best cut of numbers."""
    spread = padded(sums, plan, columns)
    missing_bins = plan.counts[list(columns)] - 1
    missing = np.take_along_axis(spread, missing_bins.reshape(1, 1, -1, 1), axis=-1)
    values = spread * (np.arange(spread.shape[-1]) < missing_bins[:, None])
    below = np.cumsum(values, axis=-1)
    # A missing value goes right in the first half of the candidates, left in the second.
    candidates = np.stack([below, below + missing], axis=-2)
    signs = np.array([plan.features[column].direction if search.settings.directions else 0 for column in columns])
    gains = search.gains(Sides.of(candidates), signs.reshape(1, -1, 1, 1))
    return [[_cut(gains[node], candidates[2, node], missing[2, node], plan, columns) for node in range(len(gains))]]


def _cut(gains: Floats, rows_left: Floats, missing: Floats, plan: BinPlan, columns: Sequence[int]) -> Split:
    """Return the best cut of one node, [columns, 2, bins]; where nothing is missing, missing values follow the many."""
    place, with_missing, cut = (int(at) for at in np.unravel_index(int(np.argmax(gains)), gains.shape))
    feature = plan.features[columns[place]]
    left = np.arange(feature.count) <= cut
    left[feature.missing] = bool(with_missing)
    if not missing[place, 0]:
        total = float(rows_left[place, 0, -1])
        left[feature.missing] = 2 * float(rows_left[place, 0, cut]) >= total
    return Split(float(gains[place, with_missing, cut]), columns[place], left)


def _category(sums: Floats, column: int, search: _Search) -> list[Split]:
    """Return each node's best split of a category; a missing value is one more word."""
    settings, bins = search.settings, sums.shape[-1]
    sides = Sides.of(sums)
    # Words of few rows stay on the right: what they seem to say is chance.
    placed = sides.rows >= settings.category_rows
    none = np.zeros(1, dtype=np.int64)
    if bins - 2 <= settings.one_hot:
        gains = np.where(placed, search.gains(sides, none, more_l2=settings.category_l2), -np.inf)
        best = gains.argmax(axis=1)
        return [Split(float(gains[node, bin_]), column, np.arange(bins) == bin_) for node, bin_ in enumerate(best)]
    risk = sides.gradients / (sides.hessians + max(settings.category_smoothing, np.finfo(np.float64).tiny))
    found = list[list[Split]]()
    for order in (np.argsort(np.where(placed, key, np.inf), axis=1, kind="stable") for key in (risk, -risk)):
        ranked = np.take_along_axis(placed, order, axis=1)
        left = np.cumsum(np.take_along_axis(sums * placed, order[None], axis=-1), axis=-1)
        gains = np.where(ranked, search.gains(Sides.of(left), none, more_l2=settings.category_l2), -np.inf)
        best = gains.argmax(axis=1)
        found.append(
            [
                Split(float(gains[node, last]), column, np.isin(np.arange(bins), order[node, : last + 1]))
                for node, last in enumerate(best)
            ]
        )
    return [max(both, key=lambda split: split.gain) for both in zip(*found, strict=True)]
