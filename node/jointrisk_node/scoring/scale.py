"""From log odds to what people read: probability of default, points, band."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jointrisk_node.scoring.settings import ScoringSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """Scores of rows, in their order.

    Attributes:
        pd: probabilities of default.
        points: whole score points; the more, the better.
        band: numbers of the bands, from 0.
    """

    pd: "NDArray[np.float64]"
    points: "NDArray[np.int32]"
    band: "NDArray[np.intp]"


class Scale:
    """Points double the odds with every ``pdo``: ``base_points + pdo / ln 2 * (ln odds - ln base_odds)``.

    Args:
        settings: points and bands.
    """

    def __init__(self, settings: ScoringSettings) -> None:
        self._factor = settings.pdo / math.log(2)
        self._offset = settings.base_points - self._factor * math.log(settings.base_odds)
        self._ends = [band.pd_below for band in settings.bands]
        self.names = tuple(band.name for band in settings.bands)

    def scores(self, log_odds: "NDArray[np.float64]") -> Scores:
        """Return the scores that log odds of default stand for."""
        import numpy as np

        from jointrisk.learning.scoring import probability

        pd = probability(log_odds)
        points = np.rint(self._offset - self._factor * log_odds)
        limit = np.iinfo(np.int32)
        band = np.minimum(np.searchsorted(self._ends, pd, side="right"), len(self._ends) - 1)
        return Scores(pd, np.clip(points, limit.min, limit.max).astype(np.int32), band)
