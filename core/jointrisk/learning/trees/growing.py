"""How the coordinator grows a tree: totals in, splits out, one level after the other."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import ConflictError, CorruptError
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.gradients import Floats, Rounding
from jointrisk.learning.trees.histograms import (
    KINDS,
    Sums,
    asked_nodes,
    completed,
    open_nodes,
    require_whole,
)
from jointrisk.learning.trees.request import Request, seedling
from jointrisk.learning.trees.sampling import columns_of
from jointrisk.learning.trees.settings import TreeSettings
from jointrisk.learning.trees.splits import Bounds, Sides, Split, best_splits, leaf_value
from jointrisk.learning.trees.tree import LEAF, Tree

Totals = Mapping[str, NDArray[np.generic]]
"""Summed replies by name: `KINDS`, each int64 [asked nodes, bins of the tree's columns]."""
Form = dict[str, tuple[tuple[int, ...], str]]
"""Names of arrays, their shapes and types."""


class Grower:
    """One tree in work. Ask members for `request`, give the sum of their replies to `take`, until `done`.

    It can be cut at any time: `tree` holds what the completed levels give. Same totals, same tree.

    Args:
        plan: the bins.
        settings: the run's.
        run_seed: the run's.
        number: the tree's, from 0.
    """

    def __init__(self, plan: BinPlan, settings: TreeSettings, *, run_seed: int, number: int) -> None:
        self._plan, self._settings, self._number = plan, settings, number
        self._columns = columns_of(run_seed, number, len(plan.features), settings.column_share)
        self._begins = plan.begins(self._columns)
        self._rounding = Rounding(settings.bits)
        self._tree = seedling(plan)
        self._open = self._open_nodes()
        self._known: dict[int, Sums] = {}
        self._before = np.zeros((0, self._begins[-1]), dtype=np.int64)
        self._bounds = {0: (-np.inf, np.inf)}
        self._totals: dict[int, NDArray[np.int64]] = {}

    @property
    def done(self) -> bool:
        """Whether there is nothing left to ask."""
        return not len(self._open)

    @property
    def tree(self) -> Tree:
        """The tree so far."""
        return self._tree

    def request(self) -> Request:
        """Return what members are asked next.

        Raises:
            ConflictError: the tree is done.
        """
        if self.done:
            raise ConflictError("expected a tree in work, got one that is done")
        return Request(self._number, self._tree, self._before)

    def form(self) -> Form:
        """Return names, shapes and types of a reply to the request."""
        asked = len(asked_nodes(self._tree, self._open))
        return dict.fromkeys(KINDS, ((asked, self._begins[-1]), "int64"))

    def take(self, totals: Totals) -> None:
        """Split the open leaves by the members' sums.

        Raises:
            CorruptError: no rows have these sums. Nothing has changed then.
        """
        asked = self._read(totals)
        known = completed(self._tree, self._open, asked, self._known)
        sums = np.stack([known[int(node)] for node in self._open], axis=1)
        whole = require_whole(sums, self._begins)
        if self._totals and not np.array_equal(whole.T, [self._totals[int(node)] for node in self._open]):
            raise CorruptError("expected in every leaf what its parent left to it, got other sums")
        if not self._totals:
            self._plant(whole[:, 0])
        self._split(sums, known)

    def _read(self, totals: Totals) -> Sums:
        form = self.form()
        if {name: (value.shape, str(value.dtype)) for name, value in totals.items()} != form:
            raise CorruptError(f"expected sums of the form {form}, got others")
        asked = np.stack([np.asarray(totals[kind], dtype=np.int64) for kind in KINDS])
        top = np.array([self._rounding.most(1)[kind] for kind in KINDS])
        if asked.min(initial=0) < 0 or (asked > top[:, None, None] * asked[2]).any():
            raise CorruptError("expected sums within what so many rows can have, got others")
        return asked

    def _plant(self, root: NDArray[np.int64]) -> None:
        """Give the root its totals and value."""
        self._totals = {0: root}
        value, hessian = self._values(root[:, None], Bounds(*np.array([[-np.inf], [np.inf]])))
        self._tree = replace(self._tree, value=value, count=root[2:], hessian=hessian)

    def _split(self, sums: Sums, known: dict[int, Sums]) -> None:
        """Split what can be split, and begin the next level."""
        bounds = Bounds(*np.array([self._bounds[int(node)] for node in self._open]).T)
        found = best_splits(self._real(sums), bounds, self._plan, self._columns, self._settings)
        splits = {int(node): split for node, split in zip(self._open, found, strict=True) if split is not None}
        for node, split in splits.items():
            self._grow(node, split, known[node])
        self._known = {node: known[node] for node in splits}
        self._before = np.array([known[node][2] for node in splits], dtype=np.int64).reshape(-1, self._begins[-1])
        self._open = self._open_nodes() if splits else np.zeros(0, dtype=np.int64)

    def _grow(self, node: int, split: Split, sums: Sums) -> None:
        begin = self._begins[self._columns.index(split.column)]
        left = sums[:, begin : begin + len(split.left)] @ split.left.astype(np.int64)
        children = np.stack([left, self._totals[node] - left], axis=1)
        bounds = Bounds(*(np.full(2, end) for end in self._bounds[node]))
        value, hessian = self._values(children, bounds)
        self._bind(node, split.column, value)
        first = len(self._tree)
        self._totals |= {first: children[:, 0], first + 1: children[:, 1]}
        self._tree = _with_children(self._tree, node, split, (value, hessian, children[2]))

    def _bind(self, node: int, column: int, value: Floats) -> None:
        """Keep children of a split by a feature with a direction on their own sides of the middle, whatever follows."""
        first, (low, high) = len(self._tree), self._bounds[node]
        direction = self._plan.features[column].direction if self._settings.directions else 0
        middle = float(value.mean()) / self._settings.learning_rate
        below, above = (low, min(high, middle)), (max(low, middle), high)
        sides = {0: ((low, high), (low, high)), 1: (below, above), -1: (above, below)}[direction]
        self._bounds |= {first: sides[0], first + 1: sides[1]}

    def _values(self, sums: NDArray[np.int64], bounds: Bounds) -> tuple[Floats, Floats]:
        """Return values, with the learning rate, and hessians of nodes, [3, nodes]."""
        sides = Sides.of(self._real(sums))
        return leaf_value(sides, self._settings.l2, bounds) * self._settings.learning_rate, sides.hessians

    def _real(self, sums: Sums) -> Floats:
        """Return summed gradients, hessians and rows from summed levels."""
        gradients = self._rounding.gradients(sums[0], sums[2])
        return np.stack([gradients, self._rounding.hessians(sums[1]), sums[2].astype(np.float64)])

    def _open_nodes(self) -> NDArray[np.int64]:
        return open_nodes(self._tree, depth=self._settings.depth, minimum=self._settings.minimum_leaf)


def _with_children(tree: Tree, node: int, split: Split, found: tuple[Floats, Floats, NDArray[np.int64]]) -> Tree:
    """Return a tree with one more split at its end."""
    value, hessian, count = found
    mask = np.zeros(8 * tree.left.shape[1], dtype=np.bool_)
    mask[: len(split.left)] = split.left
    feature, first = np.append(tree.feature, [LEAF, LEAF]), np.append(tree.first, [0, 0])
    left = np.concatenate([tree.left, np.zeros_like(tree.left, shape=(2, tree.left.shape[1]))])
    gain = np.append(tree.gain, [0.0, 0.0])
    feature[node], first[node], left[node], gain[node] = split.column, len(tree), np.packbits(mask), split.gain
    return Tree(
        feature=feature.astype(np.int32),
        first=first.astype(np.int32),
        left=left,
        value=np.append(tree.value, value),
        count=np.append(tree.count, count),
        hessian=np.append(tree.hessian, hessian),
        gain=gain,
    )
