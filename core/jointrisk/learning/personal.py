"""The personalised stage: a lender joins the shared model and its own, as its own validation rows say.

The log odds of both are averaged with a weight, and the mean is recalibrated. Both are chosen on validation rows. What
the choice is worth is judged on rows that it has not seen (folds within the validation rows), and only where that is
better than the lender's own model alone is it taken. So test rows are never needed, and a lender loses nothing but
chance.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]

FOLDS: Final = 5
WEIGHTS: Final = tuple(step / 10 for step in range(11))
"""Weights of the shared model that are tried."""

_STEPS = 25
_PRIOR = 4.0
"""How strongly a recalibration is held to none, in rows' worth of curvature: few rows should move it little."""


@dataclass(frozen=True)
class Personal:
    """How a lender scores.

    Attributes:
        weight: of the shared model's log odds; the rest is the lender's own model's.
        scale: what the mean is multiplied by.
        offset: what is added to it then.
    """

    weight: float = 0.0
    scale: float = 1.0
    offset: float = 0.0

    def log_odds(self, shared: Floats, own: Floats) -> Floats:
        """Return the log odds of rows.

        Args:
            shared: of the shared model, [rows].
            own: of the lender's own, [rows].
        """
        return self.scale * _mean(shared, own, self.weight) + self.offset


ALONE: Final = Personal()
"""The lender's own model as it is."""
SHARED: Final = Personal(weight=1.0)
"""The shared model as it is."""


def choose(shared: Floats, own: Floats, labels: Labels) -> Personal:
    """Return how the lender should score; `ALONE` where nothing is better by rows that no choice has seen.

    Args:
        shared: the shared model's log odds of the lender's validation rows, on which neither model was fitted.
        own: the lender's own model's.
        labels: 1 for bad.
    """
    better = log_loss(unseen(shared, own, labels), labels) < log_loss(own, labels)
    return _fit(shared, own, labels) if better else ALONE


def unseen(shared: Floats, own: Floats, labels: Labels) -> Floats:
    """Return the log odds of rows, [rows], each by a choice of the other folds: what a choice is worth.

    Args:
        shared: as for `choose`.
        own: as for `choose`.
        labels: as for `choose`.
    """
    fold = _folds(labels)
    found = np.empty(len(labels))
    for number in range(FOLDS):
        out = fold == number
        found[out] = _fit(shared[~out], own[~out], labels[~out]).log_odds(shared[out], own[out])
    return found


def log_loss(log_odds: Floats, labels: Labels) -> float:
    """Return the mean log loss of rows.

    Args:
        log_odds: [rows].
        labels: 1 for bad.
    """
    return float(np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds)).mean())


def _fit(shared: Floats, own: Floats, labels: Labels) -> Personal:
    """Return the weight and the recalibration of least log loss."""
    tried = [_recalibrated(weight, _mean(shared, own, weight), labels) for weight in WEIGHTS]
    return min(tried, key=lambda one: log_loss(one.log_odds(shared, own), labels))


def _recalibrated(weight: float, log_odds: Floats, labels: Labels) -> Personal:
    """Fit scale and offset by Newton's method; with a prior at none, so that it always ends."""
    inputs, none = np.stack([log_odds, np.ones(len(labels))], axis=1), np.array([1.0, 0.0])
    found = none.copy()
    for _ in range(_STEPS):
        bad = 1 / (1 + np.exp(-np.clip(inputs @ found, -35, 35)))
        slope = inputs.T @ (bad - labels) + _PRIOR * (found - none)
        curvature = (inputs * (bad * (1 - bad))[:, np.newaxis]).T @ inputs + _PRIOR * np.eye(2)
        found = found - np.clip(np.linalg.solve(curvature, slope), -1, 1)
    return Personal(weight, float(found[0]), float(found[1])) if found[0] > 0 else Personal(weight)


def _folds(labels: Labels) -> NDArray[np.int64]:
    """Deal rows into folds by their order, goods and bads alike."""
    fold = np.empty(len(labels), dtype=np.int64)
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        fold[rows] = np.arange(len(rows)) % FOLDS
    return fold


def _mean(shared: Floats, own: Floats, weight: float) -> Floats:
    return weight * shared + (1 - weight) * own
