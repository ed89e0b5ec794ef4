"""GMSC among five skewed lenders: trees on summed histograms beside LightGBM on the pooled rows. In one process."""

import time
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

import demo_data
from jointrisk.federation.contract import FeatureContract, contract_from_toml
from jointrisk.learning import preparation, validation
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.growing import Grower
from jointrisk.learning.trees.lending import Book, Follower, Lender, Terms
from jointrisk.learning.trees.settings import TreeSettings
from jointrisk.learning.trees.stopping import Stopper
from jointrisk.learning.trees.tree import Tree

LENDERS = 5
_BINS, _MINIMUM, _HELD_OUT = 64, 20, 0.1
_CONCENTRATION, _SPREAD, _FEWEST, _FEWEST_EACH = 0.5, 0.75, 200, 20
LIGHTGBM = {
    "objective": "binary",
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "learning_rate": 0.03,
    "feature_fraction": 0.6,
    "lambda_l2": 5.0,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "verbose": -1,
}
"""The setting that a grid with early stopping finds best on these rows."""


@dataclass(frozen=True)
class Rows:
    """Rows under the demo's contract and their labels."""

    features: NDArray[np.float32]
    labels: NDArray[np.uint8]

    def take(self, chosen: NDArray[np.bool_]) -> "Rows":
        """Return some of them."""
        return Rows(self.features[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Fitted:
    """A run's outcome.

    Attributes:
        forest: the trees.
        seconds: of CPU, of all members and the coordinator together.
        sums: how many sums were asked for.
    """

    forest: Forest
    seconds: float
    sums: int


def gmsc() -> tuple[list[Rows], Rows]:
    """Return the loan books of the lenders, and the rows of the common test."""
    table = demo_data.read_gmsc()
    labels = table[demo_data.LABEL].to_numpy().astype(np.uint8)
    columns = [table[name].to_numpy(zero_copy_only=False).astype(np.float32) for name in demo_data.FEATURES]
    whole, test = Rows(np.stack(columns, axis=1), labels), demo_data.held_out(labels)
    lender = skewed(labels, LENDERS)
    return [whole.take((lender == place) & ~test) for place in range(LENDERS)], whole.take(test)


def skewed(labels: NDArray[np.uint8], count: int, seed: int = 7) -> NDArray[np.int64]:
    """Return each row's lender: bad rates differ (Dirichlet) and so do sizes (lognormal); none is too small."""
    for attempt in range(1000):
        rng = np.random.default_rng(seed + 1000 * attempt)
        sizes, lender = rng.lognormal(0, _SPREAD, count), np.zeros(len(labels), dtype=np.int64)
        for label in (0, 1):
            shares = rng.dirichlet([_CONCENTRATION] * count) * sizes
            rows = rng.permutation(np.flatnonzero(labels == label))
            ends = (np.cumsum(shares / shares.sum())[:-1] * len(rows)).astype(int)
            for place, part in enumerate(np.split(rows, ends)):
                lender[part] = place
        each = [np.bincount(labels[lender == place], minlength=2) for place in range(count)]
        if all(rows.sum() >= _FEWEST and rows.min() >= _FEWEST_EACH for rows in each):
            return lender
    raise RuntimeError("no deal was fair enough")


def contract() -> FeatureContract:
    """Return the demo's contract."""
    return contract_from_toml(demo_data.CONTRACT.read_text(encoding="utf-8"), str(demo_data.CONTRACT))


def prepared(terms: FeatureContract, books: list[Rows]) -> Prepared:
    """Return the encoding that the books' summed counts give."""
    coarse = _total([preparation.coarse_counts(terms, book.features, book.labels) for book in books])
    intervals = preparation.intervals_of(coarse, _MINIMUM)
    fine = _total([preparation.fine_counts(terms, book.features, intervals) for book in books])
    return preparation.prepare(terms, coarse, fine, bins=_BINS, minimum=_MINIMUM)


def fit(books: list[Rows], settings: TreeSettings, seed: int) -> Fitted:
    """Pick the number of trees on held-out rows, then fit again on all rows."""
    begin = time.process_time()
    out = [validation.held_out(len(book.labels), _HELD_OUT) for book in books]
    held = [book.take(part) for book, part in zip(books, out, strict=True)]
    picked = _grown([book.take(~part) for book, part in zip(books, out, strict=True)], held, settings, seed)
    count = max(1, len(picked.forest.trees))
    whole = _grown(books, [], settings.model_copy(update={"trees": count}), seed)
    return Fitted(whole.forest, time.process_time() - begin, picked.sums + whole.sums)


def fit_lightgbm(books: list[Rows], trees: int, seed: int) -> tuple[lightgbm.Booster, float]:
    """Return LightGBM's model of the pooled rows, and its seconds of CPU."""
    features = np.concatenate([book.features for book in books]).astype(np.float64)
    labels = np.concatenate([book.labels for book in books])
    begin = time.process_time()
    model = lightgbm.train(LIGHTGBM | {"seed": seed}, lightgbm.Dataset(features, labels), trees)
    return model, time.process_time() - begin


def auc(log_odds: NDArray[np.float64], labels: NDArray[np.uint8]) -> float:
    """Return the area under the ROC curve, ties counted half."""
    values, where, counts = np.unique(log_odds, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    bads, goods = int(labels.sum()), int(len(values[where]) - labels.sum())
    return float((ranks[labels == 1].sum() - bads * (bads + 1) / 2) / (bads * goods))


def _grown(books: list[Rows], held: list[Rows], settings: TreeSettings, seed: int) -> Fitted:
    """Grow trees; where rows are held out, until they get no better, and return the best number of them."""
    found = prepared(contract(), books)
    plan = BinPlan.of(found.encoding, contract())
    forest, stopper, sums = Forest.planted(plan, found.goods, found.bads), Stopper(settings.patience), 0
    terms = Terms(plan, settings, seed, found.goods + found.bads, forest.base)
    members = [
        Lender(terms, Book(plan.bin_rows(book.features), book.labels), b"lender %02d of %09d" % (place, seed))
        for place, book in enumerate(books)
    ]
    watchers = [(Follower(plan.bin_rows(part.features), forest.base), part.labels) for part in held]
    while len(forest.trees) < settings.trees and not (held and stopper.ended):
        tree, asked = _tree(members, Grower(plan, settings, run_seed=seed, number=len(forest.trees)))
        forest, sums = forest.with_tree(tree), sums + asked
        if held:
            stopper = stopper.after(_loss(watchers, tree))
    return Fitted(forest.first(stopper.trees) if held else forest, 0.0, sums)


def _tree(members: list[Lender], work: Grower) -> tuple[Tree, int]:
    sums = 0
    while not work.done:
        request = work.request()
        work.take(_total([member.answer(request) for member in members]))
        sums += 1
    for member in members:
        member.follow(work.tree)
    return work.tree, sums


def _loss(watchers: list[tuple[Follower, NDArray[np.uint8]]], tree: Tree) -> float:
    """Return the mean log loss of all held-out rows, from sums."""
    each = []
    for watcher, labels in watchers:
        watcher.follow(tree)
        each.append(validation.sums_of(watcher.log_odds, labels))
    return validation.metrics_of({name: np.sum([one[name] for one in each], axis=0) for name in each[0]})["log_loss"]


def _total(counts: list[dict[str, NDArray[np.int64]]]) -> dict[str, NDArray[np.int64]]:
    return {name: np.sum([one[name] for one in counts], axis=0) for name in counts[0]}
