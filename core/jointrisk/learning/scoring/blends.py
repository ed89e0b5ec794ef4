"""A blend of models: the weighted mean of their log odds, and of their contributions."""

from collections.abc import Sequence

from jointrisk.errors import CorruptError
from jointrisk.learning import blend, reasons
from jointrisk.learning.encoding import Encoding, Rows
from jointrisk.learning.reasons import Contributions
from jointrisk.learning.scoring.scorer import Floats, Scorer


class BlendScorer(Scorer):
    """Log odds of rows under several models.

    Args:
        encoding: of all of them.
        scorers: of each model, over this encoding.
        weights: of each; they sum to 1.

    Raises:
        CorruptError: there are not as many weights as models.
    """

    def __init__(self, encoding: Encoding, scorers: Sequence[Scorer], weights: Sequence[float]) -> None:
        super().__init__(encoding)
        if not scorers or len(scorers) != len(weights):
            raise CorruptError(f"expected a weight for each of {len(scorers)} models of a blend, got {len(weights)}")
        # What has no weight says nothing, and need not be asked.
        used = [(scorer, weight) for scorer, weight in zip(scorers, weights, strict=True) if weight > 0]
        self._scorers = [scorer for scorer, _ in used]
        self._weights = [weight for _, weight in used]

    def _block(self, rows: Rows) -> Floats:
        return blend.blended([scorer.log_odds(rows) for scorer in self._scorers], self._weights)

    def _explained(self, rows: Rows) -> Contributions:
        return reasons.blended([scorer.contributions(rows) for scorer in self._scorers], self._weights)
