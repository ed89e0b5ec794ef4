"""A member's part: it sends its rows down the trees, and adds up what they are in the leaves that are asked about.

What a row adds is rounded once per tree. The same request gives the same answer, also after a restart: everything
random derives from the member's seed, the tree's number and the row's.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import ConflictError, RefusedError
from jointrisk.learning.trees.bins import Binned, BinPlan
from jointrisk.learning.trees.checks import check_request, check_rows, check_tree
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.gradients import Floats, Levels, Rounding, log_loss_gradients
from jointrisk.learning.trees.histograms import KINDS, Part, histograms
from jointrisk.learning.trees.request import Request
from jointrisk.learning.trees.sampling import Numbers, columns_of, draws, rows_of
from jointrisk.learning.trees.settings import TreeSettings
from jointrisk.learning.trees.tree import LEAF, Nodes, Tree


@dataclass(frozen=True)
class Terms:
    """What a member has agreed to.

    Attributes:
        plan: the bins.
        settings: the run's.
        run_seed: the run's; everybody knows it.
        rows: training rows of all members together, as the preparation says.
        base: the log odds before the first tree.
    """

    plan: BinPlan
    settings: TreeSettings
    run_seed: int
    rows: int
    base: float


@dataclass(frozen=True, eq=False)
class Book:
    """A member's training rows. Not shown by `repr`.

    Attributes:
        binned: [features, rows].
        labels: uint8 [rows], 1 for bad.
        offset: added to log odds in training, for label shift.
        numbers: uint64 [rows]; None for 0, 1, 2 and so on.
    """

    binned: Binned
    labels: NDArray[np.uint8]
    offset: float = 0.0
    numbers: Numbers | None = None

    def __repr__(self) -> str:
        return f"Book({len(self.labels)} rows)"

    @cached_property
    def row_numbers(self) -> Numbers:
        """The numbers of the rows."""
        return np.arange(len(self.labels), dtype=np.uint64) if self.numbers is None else self.numbers


class Follower:
    """Rows and their log odds under the trees so far. Also for rows that only evaluation uses.

    Args:
        binned: [features, rows].
        base: the log odds before the first tree.
    """

    def __init__(self, binned: Binned, base: float) -> None:
        self.binned = binned
        self.log_odds: Floats = np.full(binned.shape[1], base, dtype=np.float64)
        self._work: Tree | None = None
        self._nodes: Nodes = np.zeros(binned.shape[1], dtype=np.int64)
        self._level = 0

    def nodes(self, tree: Tree) -> Nodes:
        """Return the leaf of every row in a tree in work, going on from what is known of it."""
        if self._work is None or not _continues(self._work, tree):
            self._nodes, self._level = np.zeros_like(self._nodes), 0
        for _ in range(self._level, int(tree.levels().max())):
            self._nodes = tree.step(self.binned, self._nodes)
        self._work, self._level = tree, int(tree.levels().max())
        return self._nodes

    def follow(self, tree: Tree) -> None:
        """Add what a finished tree says."""
        self.log_odds += tree.value[self.nodes(tree)]
        self._work = None


class Lender:
    """One member in a run. Give it finished trees with `follow` or `catch_up`, each request with `answer`.

    Args:
        terms: what it has agreed to.
        book: its rows.
        seed: its own, 16 to 64 bytes that nobody else knows; the same after a restart.

    Raises:
        RefusedError: all members together have too few rows.
    """

    def __init__(self, terms: Terms, book: Book, seed: bytes) -> None:
        check_rows(terms.rows, terms.settings)
        self._terms, self._book, self._seed = terms, book, seed
        self._rounding = Rounding(terms.settings.bits)
        self._follower = Follower(book.binned, terms.base)
        self._trees: list[Tree] = []
        self._tree: Tree | None = None
        self._drawn: _Drawn | None = None

    @property
    def finished(self) -> int:
        """How many trees it has been given."""
        return len(self._trees)

    @property
    def log_odds(self) -> Floats:
        """Of its rows, under the finished trees."""
        return self._follower.log_odds

    def follow(self, tree: Tree) -> None:
        """Take a finished tree.

        Raises:
            RefusedError: it does not keep to the run's settings, or is not the one that was in work.
            CorruptError: it is no tree.
        """
        terms = self._terms
        check_tree(tree, self.finished, terms.plan, terms.settings, terms.run_seed)
        self._require_continued(tree)
        self._follower.follow(tree)
        self._trees.append(tree)
        self._tree, self._drawn = None, None

    def catch_up(self, forest: Forest) -> None:
        """Take those of a forest's trees that it has not been given; after a restart, all.

        Raises:
            RefusedError: the forest is not the one that it knows, grown on; or as :meth:`follow` does.
            CorruptError: some tree is none.
        """
        known, base = self._trees, self._terms.base
        same = forest.plan == self._terms.plan and forest.base == base and len(forest.trees) >= len(known)
        if not same or not all(tree.same(seen) for tree, seen in zip(forest.trees, known, strict=False)):
            raise RefusedError(
                "expected the forest that is known, grown on, got another",
                remedy="Answer no more in this run; tell the coordinator's operator.",
            )
        for tree in forest.trees[len(known) :]:
            self.follow(tree)

    def answer(self, request: Request) -> dict[str, NDArray[np.int64]]:
        """Return the member's sums, by name: each int64 [asked leaves, bins of the tree's columns].

        Raises:
            ConflictError: the finished trees have not been given before.
            RefusedError: it must not be answered; see `check_request`.
            CorruptError: it is no request.
        """
        if request.number != self.finished:
            raise ConflictError(f"expected a request about tree {self.finished}, got one about {request.number}")
        terms = self._terms
        asked = check_request(request, terms.plan, terms.settings, terms.run_seed)
        self._require_continued(request.tree)
        drawn = self._drawn or self._draw()
        nodes = self._follower.nodes(request.tree)[drawn.rows]
        _require_own_rows(request.tree, nodes)
        self._drawn, self._tree = drawn, request.tree
        slots = np.full(len(request.tree), -1, dtype=np.int64)
        slots[asked] = np.arange(len(asked))
        sums = histograms(drawn.binned, drawn.part(slots[nodes]), len(asked), terms.plan.begins(drawn.columns))
        return dict(zip(KINDS, sums, strict=True))

    def _draw(self) -> "_Drawn":
        """Choose the rows of a tree, and round what they add."""
        terms, book, tree = self._terms, self._book, self.finished
        rows = rows_of(self._seed, tree, book.row_numbers, terms.settings.row_share)
        odds = self._follower.log_odds[rows] + book.offset
        found = log_loss_gradients(odds, book.labels[rows].astype(np.float64))
        chances = draws(self._seed, tree, "rounding", book.row_numbers[rows])
        columns = columns_of(terms.run_seed, tree, len(terms.plan.features), terms.settings.column_share)
        binned = np.stack([book.binned[column][rows] for column in columns])
        return _Drawn(rows, columns, binned, *self._rounding.levels(*found, chances))

    def _require_continued(self, tree: Tree) -> None:
        """Refuse another tree than the one that was answered about, grown on."""
        if self._tree is not None and not _continues(self._tree, tree):
            raise RefusedError(
                "expected the tree that was asked about before, grown on, got another",
                remedy="Answer no more in this run; tell the coordinator's operator.",
            )


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The rows of one tree, [rows], and what they add."""

    rows: NDArray[np.intp]
    columns: tuple[int, ...]
    binned: Binned
    gradients: Levels
    hessians: Levels

    def part(self, slots: Nodes) -> Part:
        """Return those that belong to a slot from 0."""
        if slots.min(initial=0) >= 0:
            return Part(np.arange(len(self.rows)), slots, self.gradients, self.hessians)
        kept = np.flatnonzero(slots >= 0)
        return Part(kept, slots[kept], self.gradients[kept], self.hessians[kept])


def _continues(before: Tree, after: Tree) -> bool:
    """Tell whether a tree is another one, grown on."""
    inner = before.feature != LEAF
    size = len(before)
    if len(after) < size or not np.array_equal(after.feature[:size][inner], before.feature[inner]):
        return False
    same = np.array_equal(after.left[:size][inner], before.left[inner])
    return same and np.array_equal(after.first[:size][inner], before.first[inner])


def _require_own_rows(tree: Tree, nodes: Nodes) -> None:
    """Refuse a tree that says that a leaf holds fewer rows than this member alone has there."""
    own = np.bincount(nodes, minlength=len(tree))
    if len(tree) > 1 and (own[tree.leaves] > tree.count[tree.leaves]).any():
        raise RefusedError(
            "expected leaves of at least as many rows as this member alone has there, got one of fewer",
            remedy="Answer no more in this run; tell the coordinator's operator.",
        )
