"""Gradients and hessians of log loss, as small whole numbers that can be summed exactly.

A gradient lies between -1 and 1, a hessian between 0 and 1/4. Each is rounded to one of at most 2^bits levels, up or
down at random so that the mean is right, once per row and tree: what a row adds is the same under every feature and in
every level, and too coarse to be a fingerprint of a person.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Levels = NDArray[np.int64]
_STEEPEST = 0.25


@dataclass(frozen=True)
class Rounding:
    """How gradients and hessians become levels and back.

    Attributes:
        bits: of a level.
    """

    bits: int

    @property
    def middle(self) -> int:
        """The level of a gradient of 0; that of 1 is twice it, that of -1 is 0."""
        return (1 << (self.bits - 1)) - 1

    @property
    def top(self) -> int:
        """The level of the greatest hessian."""
        return (1 << self.bits) - 1

    def most(self, rows: int) -> dict[str, int]:
        """Return the greatest number that so many rows can add to any sum, by the sums' names."""
        return {"gradients": 2 * self.middle * rows, "hessians": self.top * rows, "counts": rows}

    def levels(self, gradients: Floats, hessians: Floats, chances: tuple[Floats, Floats]) -> tuple[Levels, Levels]:
        """Return the levels of gradients and hessians.

        Args:
            gradients: from -1 to 1.
            hessians: from 0 to 1/4.
            chances: for both: from 0 to below 1, decide which way each is rounded.
        """
        upward = np.floor(gradients * self.middle + (self.middle + chances[0]))
        steep = np.floor(hessians * (self.top / _STEEPEST) + chances[1])
        first = np.clip(upward, 0, 2 * self.middle).astype(np.int64)
        return first, np.clip(steep, 0, self.top).astype(np.int64)

    def gradients(self, levels: NDArray[np.int64], counts: NDArray[np.int64]) -> Floats:
        """Return summed gradients from summed levels and the number of rows."""
        return np.asarray((levels - self.middle * counts) / self.middle)

    def hessians(self, levels: NDArray[np.int64]) -> Floats:
        """Return summed hessians from summed levels."""
        return np.asarray(levels * (_STEEPEST / self.top))


def log_loss_gradients(log_odds: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Return first and second derivatives of log loss by the log odds.

    Args:
        log_odds: of being bad, as the model and a known offset give them.
        labels: 1 for bad.
    """
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-log_odds))
    return probability - labels, probability * (1 - probability)
