"""One tree: nodes in arrays, level after level, the root first and two children of a node side by side.

What goes left is a bit for each bin of the node's feature, so numbers, categories and missing values are all one case.
A tree in work is a tree: its open leaves are leaves whose values hold if it is cut there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError
from jointrisk.learning.trees.bins import Binned, BinPlan

LEAF: Final = -1
"""The feature of a leaf."""

Arrays = Mapping[str, NDArray[np.generic]]
Nodes = NDArray[np.int64]
_TYPES: Final = {
    "feature": "int32",
    "first": "int32",
    "left": "uint8",
    "value": "float64",
    "count": "int64",
    "hessian": "float64",
    "gain": "float64",
}


@dataclass(frozen=True, eq=False)
class Tree:
    """See the module.

    Attributes:
        feature: int32 [nodes]: the column that a node is split by, or `LEAF`.
        first: int32 [nodes]: the left child; the right one is the next node. 0 for a leaf.
        left: uint8 [nodes, bytes]: bit b (as `numpy.packbits` has them) says whether bin b goes left.
        value: float64 [nodes]: what a row that ends here adds to the log odds.
        count: int64 [nodes]: training rows of all members together, as sampled.
        hessian: float64 [nodes]: their summed hessians.
        gain: float64 [nodes]: what the split gains, in LightGBM's measure; 0 for a leaf.
    """

    feature: NDArray[np.int32]
    first: NDArray[np.int32]
    left: NDArray[np.uint8]
    value: NDArray[np.float64]
    count: NDArray[np.int64]
    hessian: NDArray[np.float64]
    gain: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.feature)

    @property
    def leaves(self) -> Nodes:
        """The nodes that are leaves, ascending."""
        return np.flatnonzero(self.feature == LEAF)

    def levels(self) -> Nodes:
        """Return each node's level, the root's 0."""
        return self._levels

    @cached_property
    def _levels(self) -> Nodes:
        levels = np.zeros(len(self), dtype=np.int64)
        for node in np.flatnonzero(self.feature != LEAF):
            levels[self.first[node] : self.first[node] + 2] = levels[node] + 1
        return levels

    def parents(self) -> Nodes:
        """Return each node's parent; the root's is -1."""
        parents = np.full(len(self), -1, dtype=np.int64)
        for node in np.flatnonzero(self.feature != LEAF):
            parents[self.first[node] : self.first[node] + 2] = node
        return parents

    def goes_left(self) -> NDArray[np.bool_]:
        """Return for every node and bin whether it goes left, [nodes, 8 * bytes]."""
        return self._goes_left

    @cached_property
    def _goes_left(self) -> NDArray[np.bool_]:
        return np.unpackbits(self.left, axis=1).astype(np.bool_)

    def step(self, binned: Binned, nodes: Nodes) -> Nodes:
        """Return the nodes of rows after one more split; rows in leaves stay.

        Args:
            binned: [features, rows].
            nodes: of each row.
        """
        feature = self.feature[nodes]
        column = np.maximum(feature, 0).astype(np.int64)
        bins = binned.reshape(-1)[column * binned.shape[1] + np.arange(len(nodes))]
        table = self.goes_left()
        right = ~table.reshape(-1)[nodes * table.shape[1] + bins]
        return np.where(feature == LEAF, nodes, self.first[nodes] + right)

    def find(self, binned: Binned) -> Nodes:
        """Return the leaf of every row."""
        nodes = np.zeros(binned.shape[1], dtype=np.int64)
        for _ in range(int(self.levels().max())):
            nodes = self.step(binned, nodes)
        return nodes

    def same(self, other: "Tree") -> bool:
        """Tell whether another tree is this one, to the last bit."""
        return self is other or all(
            np.array_equal(value, theirs)
            for value, theirs in zip(self.arrays().values(), other.arrays().values(), strict=True)
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return all that a tree is, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Arrays, plan: BinPlan) -> "Tree":
        """Read what :meth:`arrays` gave, and check that it is a tree over these bins.

        Raises:
            CorruptError: it is none.
        """
        if set(arrays) != set(_TYPES):
            raise CorruptError(f"a tree: expected the arrays {', '.join(_TYPES)}, got others")
        nodes = arrays["feature"].shape
        for name, value in arrays.items():
            shape = (*nodes, plan.mask_bytes) if name == "left" else nodes
            if value.dtype != _TYPES[name] or value.shape != shape or len(nodes) != 1 or not nodes[0]:
                raise CorruptError(f"a tree: expected {name} of type {_TYPES[name]} and shape {shape}, got another")
        tree = cls(**arrays)  # type: ignore[arg-type]
        tree.check(plan)
        return tree

    def check(self, plan: BinPlan) -> None:
        """Do nothing when this is a tree over these bins.

        Raises:
            CorruptError: a feature, a bin, a child or a value is none.
        """
        inner = np.flatnonzero(self.feature != LEAF)
        if not np.array_equal(self.first[inner], 1 + 2 * np.arange(len(inner))) or len(self) != 1 + 2 * len(inner):
            raise CorruptError("a tree: expected every child once, in order of its parents, got others")
        if (self.first[inner] <= inner).any() or self.first[self.feature == LEAF].any():
            raise CorruptError("a tree: expected children after their parents, and none of a leaf, got others")
        if ((self.feature < LEAF) | (self.feature >= len(plan.features))).any():
            raise CorruptError(f"a tree: expected columns below {len(plan.features)}, got others")
        if not all(np.isfinite(values).all() for values in (self.value, self.hessian, self.gain)):
            raise CorruptError("a tree: expected finite numbers, got others")
        if self.count.min() < 0 or not np.array_equal(_child_counts(self, inner), self.count[inner]):
            raise CorruptError("a tree: expected as many rows in a node as in its children, got others")
        self._check_bins(plan, inner)

    def _check_bins(self, plan: BinPlan, inner: Nodes) -> None:
        """Refuse bins that a feature does not have, and numbers that do not go left up to one bin."""
        table = self.goes_left()
        if table[self.leaves].any():
            raise CorruptError("a tree: expected no bins at a leaf, got some")
        for node in inner:
            feature = plan.features[self.feature[node]]
            bins = table[node]
            if bins[feature.count :].any():
                raise CorruptError(f"a tree: expected bins below {feature.count} of a feature, got others")
            if feature.words is None and (np.diff(bins[: feature.missing].astype(np.int8)) > 0).any():
                raise CorruptError("a tree: expected the lower bins of a number to go left, got others")


def _child_counts(tree: Tree, inner: Nodes) -> Nodes:
    first = tree.first[inner]
    return np.asarray(tree.count[first] + tree.count[first + 1])
