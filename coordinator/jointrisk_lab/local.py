"""LightGBM on rows at hand: what a lender has without the others, and what all rows in one place would give."""

import lightgbm
import numpy as np
from numpy.typing import NDArray

from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.tasks import MemberData
from jointrisk.learning.validation import held_out

_ROUNDS, _PATIENCE, _INNER, _LONGER, _FEWEST = 1500, 60, 0.2, 1.1, 10
_PARAMETERS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}


class Local:
    """A fitted model.

    Args:
        contract: says which columns are categories.
        data: all that it may see. A fifth decides how many trees there are and whether categories are taken as such or
            as numbers, then all is fitted, a tenth longer.
        seed: of everything random.
    """

    def __init__(self, contract: FeatureContract, data: MemberData, seed: int) -> None:
        words = [place for place, one in enumerate(contract.features) if one.kind == "category"]
        # Early rows and late ones can differ: the rows that decide are spread over all.
        inner = held_out(len(data.labels), _INNER)
        parameters = _PARAMETERS | {"seed": seed}
        # Rare words taken one by one can cost more than they tell, so the inner rows decide on that too.
        ways = [words, []] if words else [[]]
        stopped = [(way, _stopped(parameters, data, inner, way)) for way in ways]
        way, (_, count) = min(stopped, key=lambda one: one[1][0])
        trees = max(_FEWEST, int(count * _LONGER))
        self._model = lightgbm.train(parameters, _dataset(data, np.ones_like(inner), way), trees)

    def log_odds(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds of rows."""
        return np.asarray(self._model.predict(features, raw_score=True), dtype=np.float64)


def _stopped(
    parameters: dict[str, object], data: MemberData, inner: NDArray[np.bool_], words: list[int]
) -> tuple[float, int]:
    """Return the least log loss of the inner rows, and after how many trees."""
    train, watch = (_dataset(data, part, words) for part in (~inner, inner))
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    model = lightgbm.train(parameters, train, _ROUNDS, valid_sets=[watch], callbacks=[stop])
    return float(model.best_score["valid_0"]["binary_logloss"]), int(model.best_iteration)


def _dataset(data: MemberData, part: NDArray[np.bool_], words: list[int]) -> lightgbm.Dataset:
    return lightgbm.Dataset(data.features[part], data.labels[part], categorical_feature=words, free_raw_data=False)
