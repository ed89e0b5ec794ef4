"""What members are asked for one sum: the tree so far, and the sum before it, by which they check that tree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.tree import LEAF, Arrays, Tree

_TREE = "tree/"


@dataclass(frozen=True, eq=False)
class Request:
    """One level of one tree.

    Attributes:
        number: the tree's, from 0.
        tree: so far; a root alone in the first level.
        before: int64 [splits of the level before, bins of the tree's columns]: how many rows each of the leaves that
            were split there has in each bin, summed over all members; empty in the first level.
    """

    number: int
    tree: Tree
    before: NDArray[np.int64]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return it as arrays, as they are sent."""
        tree = {_TREE + name: value for name, value in self.tree.arrays().items()}
        return {"number": np.array([self.number], dtype=np.int64), "before": self.before} | tree

    @classmethod
    def from_arrays(cls, arrays: Arrays, plan: BinPlan) -> "Request":
        """Read what :meth:`arrays` gave.

        Raises:
            CorruptError: it is no request about trees over these bins.
        """
        number, before = arrays.get("number"), arrays.get("before")
        if number is None or number.dtype != np.int64 or number.shape != (1,):
            raise CorruptError("a request: expected one number of a tree, got none")
        if before is None or before.dtype != np.int64 or before.ndim != 2:  # noqa: PLR2004 - a table
            raise CorruptError("a request: expected a table of whole numbers of the level before, got none")
        tree = {name.removeprefix(_TREE): value for name, value in arrays.items() if name not in {"number", "before"}}
        return cls(int(number[0]), Tree.from_arrays(tree, plan), np.asarray(before, dtype=np.int64))


def seedling(plan: BinPlan) -> Tree:
    """Return a root alone, of which nothing is known yet."""
    return Tree(
        feature=np.full(1, LEAF, dtype=np.int32),
        first=np.zeros(1, dtype=np.int32),
        left=np.zeros((1, plan.mask_bytes), dtype=np.uint8),
        value=np.zeros(1),
        count=np.zeros(1, dtype=np.int64),
        hessian=np.zeros(1),
        gain=np.zeros(1),
    )
