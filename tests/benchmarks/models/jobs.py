"""The work: everything that is fitted to one split of one set, and its figures on the test rows; two at a time."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.models import baselines
from benchmarks.models.baselines import Model
from benchmarks.models.calibration import calibration_error, error_by_chance, probabilities
from benchmarks.models.cpu_seconds import Spent
from benchmarks.models.own_books import Alone, OwnBook, Personalised, fit_alone, own_books, personalise
from benchmarks.models.sets import READERS
from benchmarks.models.shared import Shared, best_of, offered, train_shared
from benchmarks.models.splits import Split, split
from jointrisk.learning.areas import area

_PROCESSES = 2
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Attributes:
        lightgbm: LightGBM's grid.
        xgboost: XGBoost's.
        run: more settings of every run.
        rounds: the most rounds, by architecture; what is usual for others.
    """

    lightgbm: Sequence[baselines.Parameters] = baselines.LIGHTGBM_GRID
    xgboost: Sequence[baselines.Parameters] = baselines.XGBOOST_GRID
    run: Mapping[str, Any] = field(default_factory=dict)
    rounds: Mapping[str, int] = field(default_factory=dict)

    def of(self, architecture: str) -> dict[str, Any]:
        """Return more settings of an architecture's run."""
        return {**self.run, **({"rounds": self.rounds[architecture]} if architecture in self.rounds else {})}


@dataclass(frozen=True)
class Job:
    """One split of one set.

    Attributes:
        loans: the set's name.
        seed: of split, deal and every fit.
        rows: only so many; None for all.
        effort: how much is tried.
    """

    loans: str
    seed: int
    rows: int | None = None
    effort: Effort = Effort()


@dataclass(frozen=True)
class Fitted:
    """All models of a split, and what was chosen among them. None has seen a test row.

    Attributes:
        shared: by architecture.
        best: which of them is the federation's.
        alone: by lender.
        personalised: by lender.
        baselines: on all rows in one place, by name.
        lightgbm_seconds: processor time of one LightGBM fit of all rows.
    """

    shared: Mapping[str, Shared]
    best: str
    alone: Mapping[str, Alone]
    personalised: Mapping[str, Personalised]
    baselines: Mapping[str, Model]
    lightgbm_seconds: float


@dataclass(frozen=True)
class Found:
    """The figures of one split.

    Attributes:
        loans: the set's name.
        seed: the split's.
        shared: which architecture is the shared model.
        auc: on the common test: by architecture, "shared", "lightgbm", "xgboost", "logistic", "alone_mean".
        lightgbm_seconds: processor time of one LightGBM fit of all rows.
        spent: processor time of each architecture's run.
        own: every lender's own book.
        ece: calibration error of the shared model on the common test.
        ece_by_chance: what it stays below by chance.
    """

    loans: str
    seed: int
    shared: str
    auc: Mapping[str, float]
    lightgbm_seconds: float
    spent: Mapping[str, Spent]
    own: tuple[OwnBook, ...]
    ece: float
    ece_by_chance: float


def fit_all(parts: Split, seed: int, effort: Effort, architectures: Sequence[str]) -> Fitted:
    """Fit everything to the lenders' books."""
    shared = {name: train_shared(parts, name, seed, effort.of(name)) for name in architectures}
    alone = {lender.name: fit_alone(lender, parts.categories, seed) for lender in parts.lenders}
    best = best_of(shared)
    pooled, words = parts.pooled, parts.categories
    lightgbm = baselines.lightgbm_pooled(pooled, words, seed, effort.lightgbm)
    xgboost = baselines.xgboost_pooled(pooled, words, seed, effort.xgboost)
    return Fitted(
        shared=shared,
        best=best,
        alone=alone,
        personalised={one.name: personalise(one, shared[best], alone[one.name]) for one in parts.lenders},
        baselines={"lightgbm": lightgbm, "xgboost": xgboost, "logistic": baselines.logistic(pooled, words)},
        lightgbm_seconds=lightgbm.seconds,
    )


def figures(parts: Split, fitted: Fitted, job: Job) -> Found:
    """Return what the models are worth on the test rows."""
    test = parts.test
    scores = {name: one.model.log_odds(test.features) for name, one in fitted.shared.items()}
    scores |= {name: one.log_odds(test.features) for name, one in fitted.baselines.items()}
    pd = probabilities(np.asarray(scores[fitted.best], dtype=np.float64))
    auc = {name: area(test.labels, found).value for name, found in scores.items()}
    alone = fmean(area(test.labels, one.model.log_odds(test.features)).value for one in fitted.alone.values())
    return Found(
        loans=job.loans,
        seed=job.seed,
        shared=fitted.best,
        auc=auc | {"shared": auc[fitted.best], "alone_mean": alone},
        lightgbm_seconds=fitted.lightgbm_seconds,
        spent={name: one.spent for name, one in fitted.shared.items()},
        own=own_books(parts, fitted.personalised, fitted.baselines["lightgbm"]),
        ece=calibration_error(pd, test.labels),
        ece_by_chance=error_by_chance(pd, job.seed),
    )


def work(job: Job) -> Found:
    """Do one job.

    Raises:
        FileNotFoundError: the set is not on this machine.
    """
    loans = READERS[job.loans]()
    if loans is None:
        raise FileNotFoundError(f"expected the set {job.loans} on this machine, got no file")
    parts = split(loans if job.rows is None else loans.first(job.rows), job.seed)
    return figures(parts, fit_all(parts, job.seed, job.effort, offered()), job)


def work_all(jobs: Sequence[Job], worker: Callable[[Job], Found] = work) -> Iterator[Found]:
    """Yield what every job finds, a process for each core, one thread in each; begin with what comes first."""
    processes = min(_PROCESSES, os.cpu_count() or 1)
    with _one_thread(), ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for waited in [pool.submit(worker, job) for job in jobs]:
            yield waited.result()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that are started in the block compute on one thread."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ |= _ONE_THREAD
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
