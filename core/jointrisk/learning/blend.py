"""A blend: the weighted mean of several models' log odds, the weights chosen by federated validation.

Members send, for each of a fixed list of weightings, the summed log loss of their held-out rows: one sum, whatever the
number of members. The best weighting follows from the totals. A blend has to be better than its best single model by a
margin, or it is that model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError, InvalidInputError

Floats = NDArray[np.float64]
Sums = Mapping[str, NDArray[np.generic]]

STEPS: Final = 20
"""Weights are multiples of one twentieth."""
MOST_MODELS: Final = 4
MARGIN: Final = 1e-5
"""Mean log loss by which a blend has to be better than a single model."""

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Chosen:
    """What validation says.

    Attributes:
        weights: of the models; they sum to 1.
        log_loss: mean, of the blend.
        single: mean, of each model alone.
    """

    weights: tuple[float, ...]
    log_loss: float
    single: tuple[float, ...]


def weightings(models: int) -> Floats:
    """Return all weights that are tried, [weightings, models]: multiples of 1 / `STEPS` that sum to 1.

    Raises:
        InvalidInputError: there are too few or too many models.
    """
    if not 1 <= models <= MOST_MODELS:
        raise InvalidInputError(f"expected 1 to {MOST_MODELS} models to blend, got {models}")
    places = range(STEPS + models - 1)
    ends = np.array([(-1, *bars, STEPS + models - 1) for bars in combinations(places, models - 1)], dtype=np.int64)
    return np.asarray((np.diff(ends, axis=1) - 1) / STEPS)


def form(models: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return names, shapes and types of a member's sums."""
    return {"losses": ((len(weightings(models)),), "float64"), "rows": ((1,), "int64")}


def sums_of(log_odds: Floats, labels: NDArray[np.integer]) -> dict[str, NDArray[np.generic]]:
    """Return one member's sums: the log loss of each weighting over its held-out rows, and how many they are.

    Args:
        log_odds: of each model, [models, rows].
        labels: 1 for bad, 0 for good.
    """
    tried = weightings(len(log_odds))
    losses = np.zeros(len(tried))
    signs = np.where(labels == 1, -1.0, 1.0)
    for begin in range(0, len(labels), _ROWS_AT_ONCE):
        rows = slice(begin, begin + _ROWS_AT_ONCE)
        losses += np.logaddexp(0, (tried @ log_odds[:, rows]) * signs[rows]).sum(axis=1)
    return {"losses": losses, "rows": np.array([len(labels)], dtype=np.int64)}


def choose(sums: Sums, models: int) -> Chosen:
    """Return the weights that summed sums say are best; of equal ones the first.

    Args:
        sums: totals of `sums_of`.
        models: how many there are.

    Raises:
        CorruptError: there are no such sums.
    """
    tried = weightings(models)
    losses, rows = np.asarray(sums["losses"], dtype=np.float64), int(np.asarray(sums["rows"])[0])
    if rows <= 0 or losses.shape != (len(tried),) or not np.isfinite(losses).all():
        raise CorruptError("expected the losses of every weighting over at least one row, got others")
    alone = [int(np.flatnonzero(tried[:, model] == 1)[0]) for model in range(models)]
    best, best_alone = int(losses.argmin()), min(alone, key=lambda place: losses[place])
    if losses[best] + MARGIN * rows > losses[best_alone]:
        best = best_alone
    single = tuple(float(losses[place] / rows) for place in alone)
    return Chosen(tuple(tried[best].tolist()), float(losses[best] / rows), single)


def blended(log_odds: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Return the weighted mean of models' log odds, [rows].

    Raises:
        InvalidInputError: there are not as many weights as models, or they do not sum to 1.
    """
    if len(log_odds) != len(weights) or min(weights, default=-1) < 0 or not np.isclose(sum(weights), 1):
        raise InvalidInputError(f"expected {len(log_odds)} weights from 0 that sum to 1, got others")
    return np.asarray(np.tensordot(np.asarray(weights, dtype=np.float64), np.stack(log_odds), axes=1))
