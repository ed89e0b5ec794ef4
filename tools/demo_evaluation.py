"""What the demo measures: each lender alone, the shared model, on the common test and on each own book."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from demo_data import FEATURES, LABEL, held_out
from jointrisk.learning.areas import Labels, Scores, area

mpl.use("Agg")

_INNER_SEED = 8
_ROUNDS, _PATIENCE = 1500, 60
_PARAMETERS = {
    "objective": "binary",
    "metric": "auc",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "seed": 7,
    # Two of its threads beside two busy processes wait for each other most of the time.
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}


@dataclass(frozen=True)
class Book:
    """Rows of one lender: features float64 [rows, 10] with NaN where missing, labels."""

    features: NDArray[np.float64]
    labels: Labels


def read_book(path: Path) -> Book:
    """Read a Parquet file of `demo_data.write_lenders`."""
    table = pq.read_table(path)
    columns = [table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in FEATURES]
    return Book(np.stack(columns, axis=1), table[LABEL].to_numpy().astype(np.uint8))


def fit_alone(book: Book) -> lightgbm.Booster:
    """Return what a lender has without the others: LightGBM on its own training rows.

    A fifth of them decides when to stop; then it is fitted to all of them, a tenth longer.
    """
    inner = held_out(book.labels, _INNER_SEED)
    train = lightgbm.Dataset(book.features[~inner], book.labels[~inner])
    watch = lightgbm.Dataset(book.features[inner], book.labels[inner], reference=train)
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    stopped = lightgbm.train(_PARAMETERS, train, _ROUNDS, valid_sets=[watch], callbacks=[stop])
    whole = lightgbm.Dataset(book.features, book.labels)
    return lightgbm.train(_PARAMETERS, whole, max(10, int(stopped.best_iteration * 1.1)))


def plot(path: Path, books: Mapping[str, Labels], shared: Mapping[str, Scores], alone: Mapping[str, Scores]) -> None:
    """Draw ROC and lift per lender on its own book, shared model against its own, into a PNG."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(books), figsize=(4.2 * len(books), 7.6), squeeze=False, layout="constrained")
    for column, (name, labels) in enumerate(books.items()):
        for scores, label, colour in ((shared[name], "shared", "#1f5fa8"), (alone[name], "alone", "#c2682b")):
            text = f"{label}, AUC {area(labels, scores).value:.3f}"
            axes[0][column].plot(*_roc(labels, scores), label=text, color=colour)
            axes[1][column].plot(*_lift(labels, scores), label=label, color=colour)
        _dress(axes[0][column], f"{name}: ROC on its own book", "good customers refused", "bad customers caught")
        axes[0][column].plot([0, 1], [0, 1], color="0.8", linewidth=1, zorder=0)
        _dress(
            axes[1][column], f"{name}: lift", "share of applicants, worst first", "bad rate, as a multiple of its mean"
        )
        axes[1][column].axhline(1, color="0.8", linewidth=1, zorder=0)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _dress(axis: "mpl.axes.Axes", title: str, x: str, y: str) -> None:
    axis.set_title(title, fontsize=11)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def _roc(labels: Labels, scores: Scores) -> tuple[Scores, Scores]:
    worst_first = labels[np.argsort(-scores, kind="stable")]
    caught, refused = np.cumsum(worst_first), np.cumsum(1 - worst_first.astype(np.int64))
    return refused / refused[-1], caught / caught[-1]


def _lift(labels: Labels, scores: Scores) -> tuple[Scores, Scores]:
    worst_first = labels[np.argsort(-scores, kind="stable")]
    count = np.arange(1, len(labels) + 1)
    # From one in a hundred on: before that the curve is noise.
    keep = count >= len(labels) // 100
    return (count / len(labels))[keep], (np.cumsum(worst_first) / count / labels.mean())[keep]
