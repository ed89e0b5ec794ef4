"""Bins of numeric features from counts alone: two passes of summed histograms, whatever the range of the numbers.

Pass 1 counts rows on a fixed grid that every party knows: 4,096 cells, evenly spaced in ``asinh(1000 x)`` over all
single-precision numbers, so that no range has to be declared. Pass 2 counts inside at most 64 intervals that hold about
equally many rows by pass 1, each cut into 64 even cells. Edges are chosen on the cells of pass 2. A value that many
rows share, such as a count of 0 or 1, gets an interval of its own and does not use up the others'.

No edge rests on fewer rows than a minimum: the outermost ones lie so that at least that many rows are at or beyond
them, and every interval holds that many. So an edge never is one customer's value.
"""

import numpy as np
from numpy.typing import NDArray

COARSE_CELLS = 4096
"""Cells of pass 1."""
INTERVALS, CELLS_EACH = 64, 64
"""Intervals of pass 2 at most, and the even cells of each."""
FINE_CELLS = INTERVALS * CELLS_EACH

Counts = NDArray[np.int64]
Edges = NDArray[np.float64]
_SCALE = 1000.0
_REFINE = 0.8


def coarse_boundaries() -> Edges:
    """Return the 4,097 boundaries of pass 1, ascending; 0 is one of them."""
    limit = np.arcsinh(float(np.finfo(np.float32).max) * _SCALE)
    steps = np.linspace(-1.0, 1.0, COARSE_CELLS + 1)
    return np.asarray(np.sinh(steps * limit) / _SCALE)


def fine_boundaries(intervals: Edges) -> Edges:
    """Return the boundaries of pass 2: each interval in 64 even cells."""
    steps = np.arange(CELLS_EACH) / CELLS_EACH
    inner = intervals[:-1, None] + np.diff(intervals)[:, None] * steps
    return np.append(inner.ravel(), intervals[-1])


def count_cells(column: NDArray[np.float32], boundaries: Edges, cells: int) -> Counts:
    """Return how many rows lie in each cell; missing values nowhere, values outside in the outermost cells.

    Args:
        column: one feature, NaN where missing.
        boundaries: ascending, one more than there are cells.
        cells: length of the answer; cells beyond the boundaries stay 0.
    """
    present = column[~np.isnan(column)].astype(np.float64)
    if len(boundaries) <= 1:
        return np.zeros(cells, dtype=np.int64)
    places = np.searchsorted(boundaries, present, side="right") - 1
    inside = np.clip(places, 0, len(boundaries) - 2)
    return np.bincount(inside, minlength=cells).astype(np.int64)


def choose_intervals(coarse: Counts, minimum: int) -> Edges:
    """Return the ends of the intervals of pass 2, at most 65; empty where there are too few rows.

    Args:
        coarse: summed counts of pass 1.
        minimum: the fewest rows of an interval.
    """
    return choose_edges(coarse_boundaries(), coarse, INTERVALS, minimum)


def choose_edges(boundaries: Edges, counts: Counts, bins: int, minimum: int) -> Edges:
    """Return edges of at most ``bins`` intervals that hold about equally many rows; empty where there are too few.

    Args:
        boundaries: of the cells, ascending.
        counts: rows in each cell.
        bins: the most intervals.
        minimum: the fewest rows of an interval.
    """
    counts = counts[: len(boundaries) - 1]
    if counts.sum() < 2 * minimum:
        return np.empty(0)
    wanted = float(bins)
    while True:
        starts = _starts(counts, wanted, minimum)
        if len(starts) <= bins:
            break
        wanted *= _REFINE
    end = int(np.flatnonzero(np.cumsum(counts[::-1])[::-1] >= minimum)[-1]) + 1
    places = [start for start in starts if start < end]
    return np.asarray(boundaries[[*places, end]])


def _starts(counts: Counts, bins: float, minimum: int) -> list[int]:
    """Return the first cell of each interval."""
    target, heavy = _target(counts, bins, minimum)
    first = int(np.flatnonzero(np.cumsum(counts) >= minimum)[0])
    starts, held, after_heavy = [first], int(counts[: first + 1].sum()), bool(heavy[first])
    for cell in np.flatnonzero(counts[first + 1 :]) + first + 1:
        if held >= target or (held >= minimum and (after_heavy or heavy[cell])):
            starts.append(int(cell))
            held = 0
        held += int(counts[cell])
        after_heavy = bool(heavy[cell])
    if held < minimum and len(starts) > 1:
        starts.pop()
    return starts


def _target(counts: Counts, bins: float, minimum: int) -> tuple[float, NDArray[np.bool_]]:
    """Return how many rows an interval should hold, and which cells hold more and stand alone."""
    heavy = np.zeros(len(counts), dtype=np.bool_)
    rest, free = float(counts.sum()), bins
    while True:
        target = max(rest / max(free, 1.0), minimum)
        found = (counts >= target) & ~heavy
        if not found.any():
            return target, heavy
        heavy |= found
        rest -= float(counts[found].sum())
        free -= int(found.sum())
