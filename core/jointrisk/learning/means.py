"""The mean of every input of a model over all members' training rows, from the counts that the encoding is made of.

Reasons are told against it: what a row's inputs are beside what rows have on average (`jointrisk.learning.reasons`).
Nothing is asked for it but how many rows have a flag. Inside of a cell rows are taken to lie at the roundest number
that the cell holds: a cell that many rows share is as narrow as a bin, and what they share is 0, 3 or 5000, not
2.9871. A share of fewer rows than the minimum is none.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.learning import binning
from jointrisk.learning.binning import Counts, Edges
from jointrisk.learning.encoding import CategoryEncoding, FeatureEncoding, FlagEncoding, NumericEncoding

Floats = NDArray[np.float64]
DIGITS: Final = 9
"""Means are rounded to so many decimals."""

_LARGEST_POWER, _SMALLEST_POWER = 38, -9


class Means:
    """Means of inputs, feature by feature.

    Args:
        rows: of all members.
        minimum: the fewest rows of a share; fewer are taken to be none.
    """

    def __init__(self, rows: int, minimum: int) -> None:
        self._rows = max(rows, 1)
        self._minimum = minimum

    def number(self, encoding: NumericEncoding, ends: Edges, cells: Counts, present: int) -> list[float]:
        """Return the means of a number's inputs.

        Args:
            encoding: the number's.
            ends: of the intervals in which rows were counted finely; empty where there are too few rows.
            cells: rows in each fine cell.
            present: rows that have a value.
        """
        means = list[float]()
        if encoding.edges:
            boundaries = binning.fine_boundaries(ends)
            edges, places = np.array(encoding.edges), roundest(boundaries)
            inputs = np.clip((places[:, None] - edges[:-1]) / np.diff(edges), 0, 1)
            means = (cells[: len(places)] @ inputs / self._rows).tolist()
        return self._with_missing(encoding, means, present)

    def flag(self, encoding: FlagEncoding, counts: Counts) -> list[float]:
        """Return the means of a flag's inputs, ``counts`` being rows without and with it."""
        return self._with_missing(encoding, [self._share(int(counts[1]))], int(counts.sum()))

    def words(self, encoding: CategoryEncoding, counts: Counts) -> list[float]:
        """Return the means of a category's inputs, ``counts`` being rows of each word or bucket."""
        kept, present = counts[list(encoding.kept)], int(counts.sum())
        means = [self._share(int(count)) for count in kept]
        others = [self._share(present - int(kept.sum()))] if encoding.other else []
        return self._with_missing(encoding, means + others, present)

    def _with_missing(self, encoding: FeatureEncoding, means: list[float], present: int) -> list[float]:
        missing = [self._share(self._rows - present)] if encoding.missing else []
        return [round(mean, DIGITS) for mean in means + missing]

    def _share(self, count: int) -> float:
        if count < self._minimum:
            return 0.0
        return 1.0 if self._rows - count < self._minimum else count / self._rows


def flag_counts(columns: NDArray[np.float32]) -> Counts:
    """Return how many rows are without and with each flag, int64 [flags, 2]; ``columns`` is [rows, flags]."""
    return np.stack([(columns == value).sum(axis=0) for value in (0, 1)], axis=1).astype(np.int64)


def roundest(boundaries: Edges) -> Floats:
    """Return for every cell the roundest number from its lower end up to its upper one, which it does not hold.

    That is the multiple of the largest power of ten that has one there; the middle one of several.

    Args:
        boundaries: of the cells, ascending.
    """
    low, high = boundaries[:-1], boundaries[1:]
    found = (low + high) / 2
    for power in range(_SMALLEST_POWER, _LARGEST_POWER + 1):
        first, last = np.ceil(low / 10.0**power), np.ceil(high / 10.0**power) - 1
        middle = np.floor((first + last) / 2) * 10.0**power
        found = np.where((first <= last) & (middle >= low) & (middle < high), middle, found)
    return found


def usable(means: object, width: int) -> Floats | None:
    """Return a list of means as an array; None where it is no list of as many finite numbers as there are inputs."""
    if not isinstance(means, list | tuple) or len(means) != width:
        return None
    if not all(isinstance(mean, int | float) for mean in means):
        return None
    array = np.array(means, dtype=np.float64)
    return array if np.isfinite(array).all() else None
