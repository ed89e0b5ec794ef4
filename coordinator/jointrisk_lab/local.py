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
        data: all that it may see. A fifth decides how many trees there are, then all is fitted, a tenth longer.
        seed: of everything random.
    """

    def __init__(self, contract: FeatureContract, data: MemberData, seed: int) -> None:
        self._categories = [place for place, one in enumerate(contract.features) if one.kind == "category"]
        # Early rows and late ones can differ: the rows that decide are spread over all.
        inner = held_out(len(data.labels), _INNER)
        self._parameters = _PARAMETERS | {"seed": seed}
        train, watch = (self._dataset(data, part) for part in (~inner, inner))
        stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
        stopped = lightgbm.train(self._parameters, train, _ROUNDS, valid_sets=[watch], callbacks=[stop])
        trees = max(_FEWEST, int(stopped.best_iteration * _LONGER))
        self._model = lightgbm.train(self._parameters, self._dataset(data, np.ones_like(inner)), trees)

    def log_odds(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds of rows."""
        return np.asarray(self._model.predict(features, raw_score=True), dtype=np.float64)

    def _dataset(self, data: MemberData, part: NDArray[np.bool_]) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            data.features[part], data.labels[part], categorical_feature=self._categories, free_raw_data=False
        )
