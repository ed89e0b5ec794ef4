"""A forest in LightGBM's hands: fast scores of single rows, and TreeSHAP (Lundberg et al. 2018).

LightGBM is imported when a model is made: it takes half a second.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.learning.encoding import Rows
from jointrisk.learning.reasons import Contributions
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.lightgbm_text import lightgbm_text


class TreeModel:
    """Scores and contributions of rows under a forest.

    Args:
        forest: finished trees.
        threads: that LightGBM may use.

    Raises:
        CorruptError: LightGBM does not read the forest.
    """

    def __init__(self, forest: Forest, *, threads: int = 1) -> None:
        import lightgbm

        self._features, self._threads = len(forest.plan.features), threads
        try:
            self._model: Any = lightgbm.Booster(model_str=lightgbm_text(forest))
        except lightgbm.basic.LightGBMError:
            raise CorruptError("expected a forest that LightGBM reads, got one that it does not") from None

    def log_odds(self, rows: Rows) -> NDArray[np.float64]:
        """Return the log odds of default of every row.

        Args:
            rows: float32 [rows, features], see `jointrisk.learning.encoding`.

        Raises:
            InvalidInputError: there are not as many columns as features.
        """
        return self._predicted(rows, raw_score=True)

    def contributions(self, rows: Rows) -> Contributions:
        """Return what each feature adds; the baseline is the expectation by the trees' covers.

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
        if rows.ndim != 2 or rows.shape[1] != self._features:  # noqa: PLR2004 - a matrix
            raise InvalidInputError(f"rows: expected {self._features} columns, got {rows.shape[1:]}")
        if not len(rows):
            return np.zeros(0)
        return np.asarray(self._model.predict(rows, num_threads=self._threads, **what), dtype=np.float64)
