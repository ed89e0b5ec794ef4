"""Finished trees: what is checkpointed, sent and scored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jointrisk.errors import CorruptError
from jointrisk.learning.encoding import Rows
from jointrisk.learning.trees.bins import Binned, BinPlan
from jointrisk.learning.trees.tree import Arrays, Tree

_ENDS: Final = "ends"
_BASE: Final = "base"


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees over the same bins, and what is added to their sum.

    Attributes:
        plan: the bins.
        base: the log odds of default before the first tree.
        trees: in order.
    """

    plan: BinPlan
    base: float
    trees: tuple[Tree, ...] = ()

    @classmethod
    def planted(cls, plan: BinPlan, goods: int, bads: int) -> "Forest":
        """Return a forest without trees: every row has the common bad rate.

        Args:
            plan: the bins.
            goods: rows of all members.
            bads: the bad ones; half a row is added to both, so that none is empty.
        """
        return cls(plan, float(np.log((bads + 0.5) / (goods + 0.5))))

    def with_tree(self, tree: Tree) -> "Forest":
        """Return the forest with one more tree."""
        return replace(self, trees=(*self.trees, tree))

    def first(self, count: int) -> "Forest":
        """Return the forest of the first trees."""
        return replace(self, trees=self.trees[:count])

    def log_odds(self, rows: Rows) -> NDArray[np.float64]:
        """Return the log odds of default of every row.

        Args:
            rows: float32 [rows, features], see `jointrisk.learning.encoding`.
        """
        return self.of_binned(self.plan.bin_rows(rows))

    def of_binned(self, binned: Binned) -> NDArray[np.float64]:
        """Return the log odds of rows as bins, [features, rows]."""
        total = np.full(binned.shape[1], self.base, dtype=np.float64)
        for tree in self.trees:
            total += tree.value[tree.find(binned)]
        return total

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return all but the bins as arrays: those of all trees one after the other, and where each tree ends."""
        return dict(self._arrays)

    @cached_property
    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        ends = np.cumsum([len(tree) for tree in self.trees], dtype=np.int64)
        joined = _joined(self.trees) if self.trees else {}
        return {_BASE: np.array([self.base]), _ENDS: np.asarray(ends, dtype=np.int64)} | joined

    @classmethod
    def from_arrays(cls, arrays: Arrays, plan: BinPlan, known: "Forest | None" = None) -> "Forest":
        """Read what :meth:`arrays` gave, and check every tree.

        Args:
            arrays: by name.
            plan: the bins.
            known: was read before; where this one begins with its trees, they are not checked again.

        Raises:
            CorruptError: it is no forest over these bins.
        """
        base, ends = arrays.get(_BASE), arrays.get(_ENDS)
        if base is None or base.dtype != np.float64 or base.shape != (1,) or not np.isfinite(base).all():
            raise CorruptError("a forest: expected one finite number as its base, got none")
        if ends is None or ends.dtype != np.int64 or ends.ndim != 1:
            raise CorruptError("a forest: expected where its trees end, got nothing of that kind")
        joined = {name: value for name, value in arrays.items() if name not in {_BASE, _ENDS}}
        places = [0, *(int(end) for end in ends)]
        lengths = {value.shape[0] if value.ndim else 0 for value in joined.values()} or {0}
        if (
            lengths != {places[-1]}
            or bool(joined) != bool(len(ends))
            or any(start >= end for start, end in pairwise(places))
        ):
            raise CorruptError("a forest: expected trees one after the other, got something else")
        old = known.trees if known is not None and known.plan == plan and known.begins(arrays) else ()
        parts = [
            {name: value[start:end] for name, value in joined.items()} for start, end in pairwise(places[len(old) :])
        ]
        return cls(plan, float(base[0]), (*old, *(Tree.from_arrays(part, plan) for part in parts)))

    def begins(self, arrays: Arrays) -> bool:
        """Tell whether arrays of a forest begin with this one's trees, to the last bit."""
        return arrays.keys() == self._arrays.keys() and all(
            arrays[name].dtype == value.dtype and np.array_equal(arrays[name][: len(value)], value)
            for name, value in self._arrays.items()
        )

    def encoded(self) -> bytes:
        """Return :meth:`arrays` as safetensors; the same forest gives the same bytes."""
        return save({name: np.ascontiguousarray(value) for name, value in sorted(self.arrays().items())})

    @classmethod
    def decoded(cls, data: bytes, plan: BinPlan) -> "Forest":
        """Read what :meth:`encoded` wrote.

        Raises:
            CorruptError: it is something else.
        """
        try:
            arrays = load(data)
        except SafetensorError:
            raise CorruptError("a forest: expected safetensors, got something else") from None
        return cls.from_arrays(arrays, plan)


def grown_on(arrays: Arrays, tree: Tree) -> Arrays:
    """Return the arrays of a forest with one more tree; those of the others are not looked into."""
    joined = {name: np.concatenate([arrays.get(name, value[:0]), value]) for name, value in tree.arrays().items()}
    ends = np.asarray(arrays[_ENDS], dtype=np.int64)
    end = int(ends[-1]) if len(ends) else 0
    return {_BASE: arrays[_BASE], _ENDS: np.append(ends, end + len(tree))} | joined


def _joined(trees: Sequence[Tree]) -> dict[str, NDArray[np.generic]]:
    each = [tree.arrays() for tree in trees]
    return {name: np.concatenate([arrays[name] for arrays in each]) for name in each[0]}
