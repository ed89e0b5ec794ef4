"""Federated validation: members return sums over their held-out rows, and every figure follows from the totals.

The sums are a histogram of log odds for goods and for bads (1,000 bins from -10 to 10, so that low probabilities of
default are told apart as well as high ones), the sum of probabilities in each bin, and the summed losses. Log-loss and
Brier score are exact; AUC, KS and Gini differ from those of the pooled rows by less than 0.001, as rows that share a
bin count as ties.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 1000
FORM: Final = {"histogram": ((2, BINS), "int64"), "pd": ((BINS,), "float64"), "losses": ((2,), "float64")}
"""The arrays of a member's sums: their shapes and types."""

Sums = Mapping[str, NDArray[np.generic]]
_WIDEST = 10.0
_SURE = 500.0
_CALIBRATION_GROUPS = 20
_EVEN = np.uint64(0x9E3779B97F4A7C15)


def held_out(count: int, share: float) -> NDArray[np.bool_]:
    """Return which of ``count`` rows only evaluation uses: a fixed hash of the row's number (splitmix64) decides.

    Args:
        count: how many rows.
        share: about how many of them, between 0 and 1.
    """
    z = np.arange(1, count + 1, dtype=np.uint64) * _EVEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / float(1 << 53) < share)


def sums_of(log_odds: NDArray[np.floating], labels: NDArray[np.integer]) -> dict[str, NDArray[np.generic]]:
    """Return one member's sums.

    Args:
        log_odds: of default, as the model scores the rows.
        labels: 1 for bad, 0 for good.
    """
    odds, bad = log_odds.astype(np.float64), labels.astype(np.int64)
    probability = 1 / (1 + np.exp(-np.clip(odds, -_SURE, _SURE)))
    bins = np.clip(((odds + _WIDEST) * (BINS / (2 * _WIDEST))).astype(np.int64), 0, BINS - 1)
    histogram = np.bincount(bad * BINS + bins, minlength=2 * BINS).reshape(2, BINS).astype(np.int64)
    log_loss = np.logaddexp(0, np.where(bad == 1, -odds, odds)).sum()
    return {
        "histogram": histogram,
        "pd": np.bincount(bins, weights=probability, minlength=BINS),
        "losses": np.array([log_loss, np.square(probability - bad).sum()]),
    }


def metrics_of(sums: Sums) -> dict[str, float]:
    """Return what summed sums say about the model.

    Returns:
        ``auc``, ``ks`` and ``gini`` (only where there are goods and bads), ``log_loss``, ``brier``, ``ece`` (expected
        calibration error over 20 groups of about equally many rows), all as shares of one.
    """
    histogram = np.asarray(sums["histogram"], dtype=np.float64)
    rows = float(histogram.sum())
    if rows <= 0:
        return {}
    log_loss, squared = (float(value) for value in np.asarray(sums["losses"], dtype=np.float64))
    metrics = {"log_loss": log_loss / rows, "brier": squared / rows}
    metrics["ece"] = _calibration_error(histogram, np.asarray(sums["pd"], dtype=np.float64))
    return _ranking(histogram) | metrics


def _ranking(histogram: NDArray[np.float64]) -> dict[str, float]:
    goods, bads = histogram
    if not goods.sum() or not bads.sum():
        return {}
    below = np.concatenate([[0.0], np.cumsum(goods / goods.sum())])
    bads_below = np.concatenate([[0.0], np.cumsum(bads / bads.sum())])
    auc = float(((below[1:] + below[:-1]) / 2 * (bads / bads.sum())).sum())
    return {"auc": auc, "gini": 2 * auc - 1, "ks": float(np.abs(below - bads_below).max())}


def _calibration_error(histogram: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return the mean distance between expected and observed bad rates, weighted by rows."""
    rows = histogram.sum(axis=0)
    middle = np.cumsum(rows) - rows / 2
    group = np.minimum((middle / rows.sum() * _CALIBRATION_GROUPS).astype(np.int64), _CALIBRATION_GROUPS - 1)
    gap = np.bincount(group, weights=expected - histogram[1], minlength=_CALIBRATION_GROUPS)
    return float(np.abs(gap).sum() / rows.sum())
