"""Suite ``models``: what shared models are worth, beside LightGBM, XGBoost and logistic regression on all rows.

Four sets of real loans, three splits each; the two that no package brings are measured where they are found.
"""

from typing import Final

from rich.console import Console

from benchmarks.models.baselines import LIGHTGBM_GRID, XGBOOST_GRID
from benchmarks.models.figures import measures_of
from benchmarks.models.jobs import Effort, Job, work_all
from benchmarks.models.sets import READERS, SHARED_DATA
from benchmarks.report import Measure

SEEDS: Final = (1, 2, 3)
_QUICK_SETS: Final = ("gmsc", "pakdd")
_QUICK_ROWS: Final = 8_000
# A tree costs its messages, however few rows there are.
_QUICK_ROUNDS: Final = {"ga2m": 10, "mlp": 8, "trees": 40, "blend": 40}
_QUICK_EFFORT: Final = Effort(LIGHTGBM_GRID[:2], XGBOOST_GRID[:1], {}, _QUICK_ROUNDS)


def measure_models(*, quick: bool) -> list[Measure]:
    """Train and compare on every set that is there; with quick on two sets, a part of their rows and one split."""
    if quick:
        jobs = [Job(name, SEEDS[0], _QUICK_ROWS, _QUICK_EFFORT) for name in _QUICK_SETS]
        return measures_of(list(work_all(jobs)), f"quick: first {_QUICK_ROWS} rows, short runs, small grids")
    # Sets stand by how long they take, the longest first.
    present = [name for name, read in READERS.items() if read() is not None]
    if missing := [name for name in READERS if name not in present]:
        Console().print(f"models: without {', '.join(missing)}, which are not at {SHARED_DATA}")
    return measures_of(list(work_all([Job(name, seed) for name in present for seed in SEEDS])))


PARTS = (measure_models,)
