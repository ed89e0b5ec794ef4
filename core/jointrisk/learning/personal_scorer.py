"""Scoring rows with the shared model and a lender's own, joined as `jointrisk.learning.personal` chose."""

import numpy as np
from numpy.typing import NDArray

from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.encoding import Rows
from jointrisk.learning.local import Local
from jointrisk.learning.personal import Personal
from jointrisk.learning.reasons import Contributions, blended
from jointrisk.learning.scoring import Scorer


class PersonalScorer(Scorer):
    """Log odds of rows under a personalised model. Safe from any thread.

    Args:
        personal: how the two are joined.
        shared: of the shared model.
        own: the lender's own model, of the same features.
    """

    def __init__(self, personal: Personal, shared: Scorer, own: Local) -> None:
        self._personal = personal
        self._shared = shared
        self._own = own

    def require_fit(self, contract: FeatureContract) -> None:
        """Do nothing when the shared model's inputs are this contract's features, in its order.

        Raises:
            RefusedError: they are not.
        """
        self._shared.require_fit(contract)

    def contributions(self, rows: Rows) -> Contributions:
        """Return what each feature adds: both models' contributions, weighted and scaled as their log odds are.

        Args:
            rows: as for `Scorer.log_odds`.
        """
        # The baseline is the model's; without a row, one of missing values does to ask for it.
        found = self._explained(rows if len(rows) else np.full((1, self._own.features), np.nan, np.float32))
        return Contributions(found.values[: len(rows)], found.baseline)

    def _block(self, rows: Rows) -> NDArray[np.float64]:
        return self._personal.log_odds(self._shared.log_odds(rows), self._own.log_odds(rows))

    def _explained(self, rows: Rows) -> Contributions:
        scale, weight = self._personal.scale, self._personal.weight
        parts = [self._shared.contributions(rows), self._own.contributions(rows)]
        mixed = blended(parts, [scale * weight, scale * (1 - weight)])
        return Contributions(mixed.values, mixed.baseline + self._personal.offset)
