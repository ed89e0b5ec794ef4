"""Whether probabilities of default hold: calibration error, and how large chance alone makes it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GROUPS: Final = 10
_DRAWS, _CHANCE = 500, 0.95
_SURE = 500.0


def probabilities(log_odds: Floats) -> Floats:
    """Return the probabilities of default that log odds say."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -_SURE, _SURE))))


def calibration_error(pd: Floats, labels: NDArray[np.integer]) -> float:
    """Return the mean distance between expected and observed bad rates, weighted by rows.

    Over ten groups of equally many rows, by rising PD.

    Args:
        pd: probability of default of each row.
        labels: 1 for bad.
    """
    order, begins = _groups(pd)
    return float(_gaps(pd[order] - labels[order], begins).sum() / len(pd))


def error_by_chance(pd: Floats, seed: int) -> float:
    """Return the calibration error that a model whose PDs are the truth stays below in 95 of 100 cases.

    From labels drawn by the PDs themselves: with few rows even such a model has an error.

    Args:
        pd: probability of default of each row.
        seed: of the draws.
    """
    order, begins = _groups(pd)
    rising, rng = pd[order], np.random.default_rng(seed)
    errors = [_gaps(rising - (rng.random(len(pd)) < rising), begins).sum() / len(pd) for _ in range(_DRAWS)]
    return float(np.quantile(errors, _CHANCE))


def _groups(pd: Floats) -> tuple[NDArray[np.intp], list[int]]:
    """Return rows in rising order, and where each group begins."""
    sizes = [len(part) for part in np.array_split(pd, min(GROUPS, len(pd)))]
    return np.argsort(pd, kind="stable"), np.cumsum([0, *sizes[:-1]]).tolist()


def _gaps(differences: Floats, begins: list[int]) -> Floats:
    return np.abs(np.add.reduceat(differences, begins))
