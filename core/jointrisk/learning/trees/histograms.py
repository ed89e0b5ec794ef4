"""Histograms: for each node, feature and bin the summed levels of gradients and hessians, and the number of rows.

Only the smaller of two leaves that come from one node is asked for, as the other one is what the node leaves over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError
from jointrisk.learning.trees.bins import Binned, BinPlan
from jointrisk.learning.trees.gradients import Levels
from jointrisk.learning.trees.tree import Nodes, Tree

Sums = NDArray[np.int64]
"""[kinds, nodes, bins of all columns]; the kinds are `KINDS`."""

KINDS: Final = ("gradients", "hessians", "counts")
"""What is summed."""

_EXACT_BITS = 53
_FEWEST_PACKED_BITS = 13


@dataclass(frozen=True)
class Part:
    """Rows that are added up.

    Attributes:
        rows: places of the rows.
        slots: [rows]: to which of the nodes each belongs, from 0.
        gradients: [rows]: levels.
        hessians: [rows]: levels.
    """

    rows: NDArray[np.intp]
    slots: Nodes
    gradients: Levels
    hessians: Levels

    def piece(self, start: int, end: int) -> "Part":
        """Return some of the rows."""
        piece = slice(start, end)
        return Part(self.rows[piece], self.slots[piece], self.gradients[piece], self.hessians[piece])


def open_nodes(tree: Tree, *, depth: int, minimum: int) -> Nodes:
    """Return the leaves of a tree in work that may be split now: of its last level, large enough for two.

    Args:
        tree: a root alone is always open.
        depth: the most levels of splits.
        minimum: the fewest rows of a leaf.
    """
    if len(tree) == 1:
        return np.zeros(1, dtype=np.int64)
    levels = tree.levels()
    last = int(levels.max())
    if last >= depth:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero((levels == last) & (tree.count >= 2 * minimum))


def asked_nodes(tree: Tree, open_ones: Nodes) -> Nodes:
    """Return whose histograms are asked for: of two open leaves of one node only the smaller one's."""
    if len(tree) == 1:
        return open_ones
    found = set(open_ones.tolist())
    pairs = [(node, _sibling(node)) for node in sorted(found)]
    larger = {one for one, other in pairs if other in found and _is_larger(tree, one, other)}
    return np.array(sorted(found - larger), dtype=np.int64)


def histograms(binned: Binned, part: Part, nodes: int, begins: Sequence[int]) -> Sums:
    """Return one member's sums, [3, nodes, bins].

    Args:
        binned: [columns, all rows] of the tree's columns.
        part: which rows to add up, and what they add.
        nodes: how many.
        begins: of the columns, see `BinPlan.begins`.
    """
    sums: Sums = np.zeros((len(KINDS), nodes, begins[-1]), dtype=np.int64)
    bits = max(int(max(part.gradients.max(), part.hessians.max())).bit_length(), 1) if len(part.rows) else 1
    room = (_EXACT_BITS - 2 * bits) // len(KINDS)
    if room < _FEWEST_PACKED_BITS:
        _add_each(sums, binned, part, begins)
        return sums
    # Fewer than 2^room rows at once, so that no sum runs into the next one, nor beyond what a double holds exactly.
    for start in range(0, len(part.rows), (1 << room) - 1):
        _add_packed(sums, binned, part.piece(start, start + (1 << room) - 1), begins, room + bits)
    return sums


def completed(tree: Tree, open_ones: Nodes, asked: Sums, before: Mapping[int, Sums]) -> dict[int, Sums]:
    """Return the histograms of all open nodes.

    Args:
        tree: in work.
        open_ones: of `open_nodes`.
        asked: summed over all members, [kinds, asked nodes, bins].
        before: those of the level before, by node, each [kinds, bins].

    Raises:
        CorruptError: a sum is below 0.
    """
    known = {int(node): asked[:, place] for place, node in enumerate(asked_nodes(tree, open_ones))}
    parents = tree.parents()
    for node in open_ones.tolist():
        if node not in known:
            known[node] = before[int(parents[node])] - known[_sibling(node)]
    if any(sums.min() < 0 for sums in known.values()):
        raise CorruptError("expected sums of whole numbers from 0, got others: some member's were none")
    return known


def per_feature(sums: Sums, begins: Sequence[int]) -> Sums:
    """Return sums over the bins of each column, [..., columns]."""
    return np.asarray(np.add.reduceat(sums, begins[:-1], axis=-1))


def require_whole(sums: Sums, begins: Sequence[int]) -> Sums:
    """Return what the bins of every column come to, [...]: every row is in one bin of each.

    Raises:
        CorruptError: columns differ.
    """
    found = per_feature(sums, begins)
    if (found != found[..., :1]).any():
        raise CorruptError("expected the same sums over the bins of every feature, got others")
    return found[..., 0]


def padded(sums: NDArray[np.float64], plan: BinPlan, columns: Sequence[int]) -> NDArray[np.float64]:
    """Return sums with every column's bins in a row of its own, zeros behind them: [..., columns, most bins]."""
    counts = plan.counts[list(columns)]
    width = int(counts.max())
    spread = np.zeros((*sums.shape[:-1], len(columns) * width), dtype=sums.dtype)
    offsets = np.repeat(np.arange(len(columns)) * width - np.array(plan.begins(columns)[:-1]), counts)
    spread[..., np.arange(sums.shape[-1]) + offsets] = sums
    return spread.reshape(*sums.shape[:-1], len(columns), width)


def _sibling(node: int) -> int:
    """Return the other child of a node's parent: left ones have odd numbers."""
    return node + 1 if node % 2 else node - 1


def _is_larger(tree: Tree, one: int, other: int) -> bool:
    return (int(tree.count[one]), one) > (int(tree.count[other]), other)


def _add_packed(sums: Sums, binned: Binned, part: Part, begins: Sequence[int], shift: int) -> None:
    """Add up three numbers of a row as one, which takes a third of the time."""
    packed = ((((np.int64(1) << shift) + part.hessians) << shift) + part.gradients).astype(np.float64)
    found, low = np.empty(sums.shape[1:]), (1 << shift) - 1
    for column, (begin, end) in enumerate(pairwise(begins)):
        found[:, begin:end] = _binned_sums(binned[column], part, packed, end - begin, sums.shape[1])
    whole = found.astype(np.int64)
    sums += np.stack([whole & low, (whole >> shift) & low, whole >> (2 * shift)])


def _add_each(sums: Sums, binned: Binned, part: Part, begins: Sequence[int]) -> None:
    parts = (part.gradients, part.hessians, np.ones_like(part.gradients))
    for column, (begin, end) in enumerate(pairwise(begins)):
        for kind, values in enumerate(parts):
            # Exact: fewer than 2^37 rows of 16 bits.
            sums[kind, :, begin:end] = _binned_sums(binned[column], part, values, end - begin, sums.shape[1])


def _binned_sums(
    column: NDArray[np.integer], part: Part, values: NDArray[np.generic], bins: int, nodes: int
) -> NDArray[np.float64]:
    places = column[part.rows] + part.slots * bins
    found = np.bincount(places, weights=values, minlength=nodes * bins)
    return np.asarray(found, dtype=np.float64).reshape(nodes, bins)
