"""What shared models are measured by: LightGBM, XGBoost, logistic regression on all rows in one place; LightGBM alone.

Grids, early stopping on inner rows, and a last fit on all rows a tenth longer. Nothing here sees a test row.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import lightgbm
import numpy as np
import xgboost
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from demo_data import held_out
from jointrisk.learning.areas import area
from jointrisk.learning.tasks import MemberData

Scores = NDArray[np.float64]
Rows = NDArray[np.float32]
Parameters = Mapping[str, Any]

INNER_SEED: Final = 8
_INNER, _LONGER, _FOLDS = 0.2, 1.1, 5
_MOST_TREES, _PATIENCE, _FEWEST_TREES = 1500, 60, 10
_CV_TREES, _CV_PATIENCE, _FEWEST_CV_TREES = 600, 50, 20
SMALL_BOOK: Final = 8000
"""With fewer rows one inner split is too noisy: five folds pick instead."""

_LIGHTGBM: Parameters = {
    "objective": "binary", "metric": "auc", "bagging_fraction": 0.8, "bagging_freq": 1, "cat_smooth": 20,
    "max_cat_to_onehot": 4, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1,
}  # fmt: skip


def _grown(leaves: int, rows: int, rate: float, columns: float, l2: float) -> Parameters:
    return {
        "num_leaves": leaves,
        "min_data_in_leaf": rows,
        "learning_rate": rate,
        "feature_fraction": columns,
        "lambda_l2": l2,
    }


LIGHTGBM_GRID: Final = (
    _grown(7, 50, 0.03, 0.8, 1),
    _grown(15, 100, 0.03, 0.6, 5),
    _grown(31, 50, 0.03, 0.6, 5),
    _grown(31, 200, 0.03, 0.8, 10),
    _grown(7, 20, 0.05, 0.6, 10),
)
ALONE_GRID: Final = (LIGHTGBM_GRID[0], LIGHTGBM_GRID[1], LIGHTGBM_GRID[4])
SMALL_GRID: Final = (
    _grown(4, 20, 0.04, 0.6, 10),
    _grown(7, 20, 0.04, 0.6, 10),
    _grown(15, 50, 0.04, 0.6, 5),
)


class Model(Protocol):
    """What scores rows."""

    def log_odds(self, rows: Rows, /) -> Scores:
        """Return the log odds of rows."""
        ...


@dataclass(frozen=True)
class Boosted:
    """A fitted LightGBM model.

    Attributes:
        model: LightGBM's.
        parameters: those that the grid was best with.
        trees: how many there are.
        seconds: of CPU that the last fit took, without the grid.
    """

    model: lightgbm.Booster
    parameters: Parameters
    trees: int
    seconds: float

    def log_odds(self, rows: Rows, /) -> Scores:
        """Return the log odds of rows."""
        return np.asarray(self.model.predict(rows, raw_score=True, num_threads=1), dtype=np.float64)


def lightgbm_pooled(data: MemberData, words: Sequence[int], seed: int, grid: Sequence[Parameters]) -> Boosted:
    """Fit LightGBM: the grid with early stopping by AUC on a fifth of the rows, then all rows.

    Args:
        data: all that it may see.
        words: places of categories.
        seed: of sampling.
        grid: what is tried.
    """
    inner = held_out(data.labels, INNER_SEED, _INNER)
    tried = [_stopped(data, inner, words, _fitting(one, int((~inner).sum()) // 20) | {"seed": seed}) for one in grid]
    _, parameters, trees = max(tried, key=lambda one: one[0])
    return lightgbm_fit(data, words, parameters, max(_FEWEST_TREES, int(trees * _LONGER)))


def lightgbm_alone(data: MemberData, words: Sequence[int], seed: int) -> Boosted:
    """Fit LightGBM to one lender's rows; in a small book five folds pick."""
    if len(data.labels) >= SMALL_BOOK:
        return lightgbm_pooled(data, words, seed, ALONE_GRID)
    folds = list(_folds(data.labels))
    tried = [_folded(data, words, folds, _fitting(one, len(data.labels) // 25) | {"seed": seed}) for one in SMALL_GRID]
    _, parameters, trees = max(tried, key=lambda one: one[0])
    return lightgbm_fit(data, words, parameters, max(_FEWEST_CV_TREES, trees))


def lightgbm_fit(data: MemberData, words: Sequence[int], parameters: Parameters, trees: int) -> Boosted:
    """Fit LightGBM once."""
    begin = time.process_time()
    model = lightgbm.train(dict(parameters), _dataset(data, words), trees)
    return Boosted(model, parameters, trees, time.process_time() - begin)


XGBOOST_GRID: Final[Sequence[Parameters]] = (
    {"max_depth": 3, "min_child_weight": 5, "colsample_bytree": 0.8},
    {"max_depth": 5, "min_child_weight": 20, "colsample_bytree": 0.6},
    {"max_depth": 6, "min_child_weight": 5, "colsample_bytree": 0.6, "reg_lambda": 10},
)
_XGBOOST: Parameters = {
    "objective": "binary:logistic", "eval_metric": "auc", "tree_method": "hist", "learning_rate": 0.05,
    "subsample": 0.8, "nthread": 1,
}  # fmt: skip


@dataclass(frozen=True)
class XGBoosted:
    """A fitted XGBoost model, and which columns are categories."""

    model: xgboost.Booster
    words: Sequence[int]

    def log_odds(self, rows: Rows, /) -> Scores:
        """Return the log odds of rows."""
        return np.asarray(self.model.predict(_matrix(rows, self.words), output_margin=True), dtype=np.float64)


def xgboost_pooled(data: MemberData, words: Sequence[int], seed: int, grid: Sequence[Parameters]) -> XGBoosted:
    """Fit XGBoost likewise."""
    inner = held_out(data.labels, INNER_SEED, _INNER)
    train, watch = (_matrix(data.features[part], words, data.labels[part]) for part in (~inner, inner))
    found = []
    for one in grid:
        parameters = {**_XGBOOST, **one, "seed": seed}
        model = xgboost.train(
            parameters,
            train,
            _MOST_TREES,
            evals=[(watch, "inner")],
            early_stopping_rounds=_PATIENCE,
            verbose_eval=False,
        )
        found.append((model.best_score, parameters, model.best_iteration + 1))
    _, parameters, trees = max(found, key=lambda one: one[0])
    model = xgboost.train(parameters, _matrix(data.features, words, data.labels), int(trees * _LONGER))
    return XGBoosted(model, words)


LOGISTIC_STRENGTHS: Final = (0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression and its inputs."""

    model: LogisticRegression
    inputs: "Inputs"

    def log_odds(self, rows: Rows, /) -> Scores:
        """Return the log odds of rows."""
        return np.asarray(self.model.decision_function(self.inputs.of(rows)), dtype=np.float64)


def logistic(data: MemberData, words: Sequence[int]) -> Logistic:
    """Fit logistic regression on standardised numbers, their missing flags, and one input a word."""
    inner = held_out(data.labels, INNER_SEED, _INNER)
    inputs = Inputs(data.features, words)
    matrix = inputs.of(data.features)
    scores = {}
    for strength in LOGISTIC_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=500).fit(matrix[~inner], data.labels[~inner])
        scores[strength] = area(data.labels[inner], model.decision_function(matrix[inner])).value
    best = LogisticRegression(C=max(scores, key=lambda one: scores[one]), max_iter=1000).fit(matrix, data.labels)
    return Logistic(best, inputs)


class Inputs:
    """A linear model's inputs, as the rows that it is fitted to say: medians, missing flags, words, mean and spread.

    Args:
        rows: those.
        words: places of categories. A word with fewer than `FEWEST` rows has no input.
    """

    FEWEST: Final = 20

    def __init__(self, rows: Rows, words: Sequence[int]) -> None:
        self._numbers = [place for place in range(rows.shape[1]) if place not in words]
        numbers = rows[:, self._numbers]
        self._missing = np.flatnonzero(np.isnan(numbers).any(axis=0))
        self._medians = np.nan_to_num(np.nanmedian(numbers, axis=0))
        self._words = [(place, code) for place in words for code in _frequent(rows[:, place], self.FEWEST)]
        raw = self._raw(rows)
        self._mean, spread = raw.mean(axis=0), raw.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)

    def of(self, rows: Rows) -> Scores:
        """Return the inputs, [rows, inputs]."""
        return np.asarray((self._raw(rows) - self._mean) / self._spread)

    def _raw(self, rows: Rows) -> Scores:
        numbers = rows[:, self._numbers].astype(np.float64)
        absent = np.isnan(numbers)
        one_hot = [rows[:, place] == code for place, code in self._words]
        filled = np.where(absent, self._medians, numbers)
        return np.column_stack([filled, absent[:, self._missing], *one_hot])


def _frequent(column: Rows, fewest: int) -> list[float]:
    codes, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    return [float(code) for code in codes[counts >= fewest]]


def _fitting(parameters: Parameters, most: int) -> dict[str, Any]:
    """Return parameters whose leaves are not too large for the rows there are."""
    return {**_LIGHTGBM, **parameters, "min_data_in_leaf": max(5, min(parameters["min_data_in_leaf"], most))}


def _stopped(
    data: MemberData, inner: NDArray[np.bool_], words: Sequence[int], parameters: Parameters
) -> tuple[float, Parameters, int]:
    train, watch = (_dataset(MemberData(data.features[part], data.labels[part]), words) for part in (~inner, inner))
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    model = lightgbm.train(dict(parameters), train, _MOST_TREES, valid_sets=[watch], callbacks=[stop])
    return float(model.best_score["valid_0"]["auc"]), parameters, int(model.best_iteration)


def _folded(
    data: MemberData,
    words: Sequence[int],
    folds: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    parameters: Parameters,
) -> tuple[float, Parameters, int]:
    stop = lightgbm.early_stopping(_CV_PATIENCE, verbose=False)
    found = lightgbm.cv(dict(parameters), _dataset(data, words), _CV_TREES, folds=folds, callbacks=[stop])
    means = np.asarray(found["valid auc-mean"])
    return float(means.max()), parameters, len(means)


def _folds(labels: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield training rows and the others of each of five folds, goods and bads dealt alike."""
    fold, rng = np.empty(len(labels), dtype=np.int64), np.random.default_rng(INNER_SEED)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold[rows] = np.arange(len(rows)) % _FOLDS
    for number in range(_FOLDS):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _dataset(data: MemberData, words: Sequence[int]) -> lightgbm.Dataset:
    return lightgbm.Dataset(data.features, data.labels, categorical_feature=list(words), free_raw_data=False)


def _matrix(rows: Rows, words: Sequence[int], labels: NDArray[np.uint8] | None = None) -> xgboost.DMatrix:
    kinds = ["c" if place in words else "float" for place in range(rows.shape[1])]
    return xgboost.DMatrix(rows, labels, feature_types=kinds, enable_categorical=True, nthread=1)
