"""Areas under the ROC curve with DeLong's standard errors.

DeLong, DeLong and Clarke-Pearson 1988, computed as in Sun and Xu 2014. The error of a difference is that of the paired
one, on the same rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Area:
    """An area under the ROC curve, or a difference of two, and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f}±{self.error:.3f}".replace("±0.", "±.")


def area(labels: Labels, scores: Scores) -> Area:
    """Return the area under the ROC curve of one model.

    Args:
        labels: 1 for bad; at least two of each class.
        scores: the higher the worse.
    """
    values, covariance = _delong(labels, scores[np.newaxis])
    return Area(float(values[0]), float(np.sqrt(covariance[0, 0])))


def difference(labels: Labels, ours: Scores, theirs: Scores) -> Area:
    """Return how much larger the area of ``ours`` is than that of ``theirs``, on the same rows."""
    values, covariance = _delong(labels, np.stack([ours, theirs]))
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return Area(float(values[0] - values[1]), float(np.sqrt(max(variance, 0.0))))


def _delong(labels: Labels, scores: Scores) -> tuple[Scores, Scores]:
    """Return areas [models] and their covariance [models, models].

    Args:
        labels: 1 for bad.
        scores: [models, rows], the higher the worse.
    """
    bad, good = scores[:, labels == 1], scores[:, labels == 0]
    both = np.concatenate([bad, good], axis=1)
    m, n = bad.shape[1], good.shape[1]
    of_all, of_bad, of_good = (np.stack([_midranks(row) for row in part]) for part in (both, bad, good))
    areas = of_all[:, :m].sum(axis=1) / (m * n) - (m + 1) / (2 * n)
    per_bad = (of_all[:, :m] - of_bad) / n
    per_good = 1 - (of_all[:, m:] - of_good) / m
    return areas, np.atleast_2d(np.cov(per_bad)) / m + np.atleast_2d(np.cov(per_good)) / n


def _midranks(values: Scores) -> Scores:
    """Return ranks from 1, ties sharing their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)
