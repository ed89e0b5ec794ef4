"""Lenders' rows with numbers, a category and gaps, and trees grown by them together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.learning.trees.bins import BinPlan, FeatureBins
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.growing import Grower
from jointrisk.learning.trees.lending import Book, Lender, Terms
from jointrisk.learning.trees.settings import TreeSettings
from jointrisk.learning.trees.tree import Tree

SEED = b"a seed of one's own"
RUN_SEED = 7
NAN = float("nan")
_CUTS = tuple(float(np.float32(cut)) for cut in np.linspace(-1.8, 1.8, 12))

PLAN = BinPlan(
    (
        FeatureBins("income", cuts=_CUTS),
        FeatureBins("age", cuts=_CUTS),
        FeatureBins("purpose", words=tuple(range(0, 20, 2))),
        FeatureBins("has_phone", cuts=(0.5,)),
        FeatureBins("region", words=(0, 1, 2)),
    )
)
EXACT = TreeSettings(trees=5, depth=3, learning_rate=0.3, row_share=1, column_share=1)
"""Settings under which nothing is sampled."""


@dataclass(frozen=True)
class Sample:
    """Rows as a loan table has them, and their labels."""

    rows: NDArray[np.float32]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


def sample(count: int = 3000, seed: int = 1) -> Sample:
    """Return rows under `PLAN`: risk depends on all features but the phone, on two numbers together, and on gaps."""
    rng = np.random.default_rng(seed)
    rows = np.stack(
        [
            rng.normal(size=count),
            rng.normal(size=count),
            rng.integers(0, 22, count),
            rng.integers(0, 2, count),
            rng.integers(0, 4, count),
        ],
        axis=1,
    )
    purpose, region = np.where(rows[:, 2] % 6 == 0, 1.2, -0.6), np.where(rows[:, 4] == 1, 1.0, 0.0)
    gaps = rng.random(count) < 0.15
    odds = rows[:, 0] * 0.8 + rows[:, 0] * rows[:, 1] + purpose + region + 1.5 * gaps - 1.5
    rows[gaps, 0] = NAN
    rows[rng.random(count) < 0.1, 2] = NAN
    labels = rng.random(count) < 1 / (1 + np.exp(-odds))
    return Sample(rows.astype(np.float32), labels.astype(np.uint8))


def lenders(whole: Sample, settings: TreeSettings, count: int = 3, plan: BinPlan = PLAN) -> list[Lender]:
    """Return lenders among whom the rows are dealt out; every row keeps its number, so all round alike."""
    bads = int(whole.labels.sum())
    base = Forest.planted(plan, len(whole) - bads, bads).base
    terms = Terms(plan, settings, RUN_SEED, len(whole), base)
    binned, numbers = plan.bin_rows(whole.rows), np.arange(len(whole), dtype=np.uint64)
    parts = [np.flatnonzero(numbers % count == place) for place in range(count)]
    books = [Book(binned[:, part], whole.labels[part], numbers=numbers[part]) for part in parts]
    return [Lender(terms, book, SEED) for book in books]


def total(answers: Sequence[dict[str, NDArray[np.int64]]]) -> dict[str, NDArray[np.int64]]:
    """Return the sum of members' answers."""
    return {name: np.sum([answer[name] for answer in answers], axis=0) for name in answers[0]}


def grower(number: int, settings: TreeSettings, plan: BinPlan = PLAN) -> Grower:
    """Return a fresh tree."""
    return Grower(plan, settings, run_seed=RUN_SEED, number=number)


def grow(members: Sequence[Lender], settings: TreeSettings, number: int = 0, plan: BinPlan = PLAN) -> Tree:
    """Return a tree that the lenders have grown together, and let them follow it."""
    work = grower(number, settings, plan)
    while not work.done:
        request = work.request()
        work.take(total([member.answer(request) for member in members]))
    for member in members:
        member.follow(work.tree)
    return work.tree


def grow_forest(whole: Sample, settings: TreeSettings, count: int = 3, plan: BinPlan = PLAN) -> Forest:
    """Return all trees of a run of so many lenders."""
    members, bads = lenders(whole, settings, count, plan), int(whole.labels.sum())
    forest = Forest.planted(plan, len(whole) - bads, bads)
    for number in range(settings.trees):
        forest = forest.with_tree(grow(members, settings, number, plan))
    return forest


def log_loss(log_odds: NDArray[np.float64], labels: NDArray[np.uint8]) -> float:
    """Return the mean log loss."""
    return float(np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds)).mean())
