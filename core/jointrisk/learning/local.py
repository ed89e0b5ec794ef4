"""LightGBM on rows at hand: what a lender has without the others, and what all rows in one place would give.

LightGBM is imported when a model is fitted or read: it takes half a second.
"""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.encoding import Rows
from jointrisk.learning.reasons import Contributions
from jointrisk.learning.validation import held_out

if TYPE_CHECKING:
    import lightgbm

    from jointrisk.learning.tasks import MemberData

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
    """A fitted model; made by :meth:`fit` or :meth:`from_text`. Safe from any thread.

    Args:
        model: LightGBM's booster.
    """

    def __init__(self, model: "lightgbm.Booster") -> None:
        self._model: Any = model

    @classmethod
    def fit(cls, contract: FeatureContract, data: "MemberData", seed: int) -> Self:
        """Fit a model. The same again gives the same model.

        Args:
            contract: says which columns are categories.
            data: all that it may see. A fifth decides how many trees there are and whether categories are taken as such
                or as numbers, then all is fitted, a tenth longer.
            seed: of everything random.
        """
        import lightgbm

        words = [place for place, one in enumerate(contract.features) if one.kind == "category"]
        # Early rows and late ones can differ: the rows that decide are spread over all.
        inner = held_out(len(data.labels), _INNER)
        parameters = _PARAMETERS | {"seed": seed}
        # Rare words taken one by one can cost more than they tell, so the inner rows decide on that too.
        ways = [words, []] if words else [[]]
        stopped = [(way, _stopped(parameters, data, inner, way)) for way in ways]
        way, (_, count) = min(stopped, key=lambda one: one[1][0])
        trees = max(_FEWEST, int(count * _LONGER))
        return cls(lightgbm.train(parameters, _dataset(data, np.ones_like(inner), way), trees))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the model that :meth:`to_text` wrote.

        Raises:
            CorruptError: LightGBM does not read it.
        """
        import lightgbm

        try:
            return cls(lightgbm.Booster(model_str=text))
        except lightgbm.basic.LightGBMError:
            raise CorruptError("expected a model that LightGBM reads, got one that it does not") from None

    def to_text(self) -> str:
        """Return the model as LightGBM's text. It tells the least and the greatest value of every column."""
        return str(self._model.model_to_string())

    @property
    def features(self) -> int:
        """How many columns its rows have."""
        return int(self._model.num_feature())

    def log_odds(self, rows: Rows) -> NDArray[np.float64]:
        """Return the log odds of rows, float64 [rows].

        Args:
            rows: float32 [rows, features], see `jointrisk.learning.encoding`.

        Raises:
            InvalidInputError: there are not as many columns as features.
        """
        return self._predicted(rows, raw_score=True)

    def contributions(self, rows: Rows) -> Contributions:
        """Return what each feature adds (TreeSHAP); the baseline is the expectation by the trees' covers.

        Args:
            rows: as for :meth:`log_odds`; at least one.

        Raises:
            InvalidInputError: there are not as many columns as features, or no rows.
        """
        if not len(rows):
            raise InvalidInputError("rows: expected at least one, got none")
        found = self._predicted(rows, pred_contrib=True)
        return Contributions(found[:, :-1], float(found[0, -1]))

    def _predicted(self, rows: Rows, **what: bool) -> NDArray[np.float64]:
        if rows.ndim != 2 or rows.shape[1] != self.features:  # noqa: PLR2004 - a matrix
            raise InvalidInputError(f"rows: expected {self.features} columns, got {rows.shape[1:]}")
        if not len(rows):
            return np.zeros(0)
        return np.asarray(self._model.predict(rows, num_threads=1, **what), dtype=np.float64)


def _stopped(
    parameters: dict[str, object], data: "MemberData", inner: NDArray[np.bool_], words: list[int]
) -> tuple[float, int]:
    """Return the least log loss of the inner rows, and after how many trees."""
    import lightgbm

    train, watch = (_dataset(data, part, words) for part in (~inner, inner))
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    model = lightgbm.train(parameters, train, _ROUNDS, valid_sets=[watch], callbacks=[stop])
    return float(model.best_score["valid_0"]["binary_logloss"]), int(model.best_iteration)


def _dataset(data: "MemberData", part: NDArray[np.bool_], words: list[int]) -> "lightgbm.Dataset":
    import lightgbm

    return lightgbm.Dataset(data.features[part], data.labels[part], categorical_feature=words, free_raw_data=False)
