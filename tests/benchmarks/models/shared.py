"""Shared models: a whole run of each architecture, members and coordinator in one process, without a wire.

The only place that knows what a run gives back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from benchmarks.models.baselines import Model
from benchmarks.models.cpu_seconds import Spent, told_apart
from benchmarks.models.splits import Split
from jointrisk_coordinator.runs.settings import RunSettings
from jointrisk_lab.one_process import train
from jointrisk_lab.study import architectures

ORDER: Final = ("scorecard", "ga2m", "mlp", "trees", "blend")
"""Architectures that are measured, those of them that there are."""
BLEND: Final = "blend"
"""The one that a federation is offered as its shared model."""
VALIDATION_SHARE: Final = 0.1
"""Of a book, held out by every run."""


@dataclass(frozen=True)
class Shared:
    """A trained architecture.

    Attributes:
        model: what the run ends with.
        unseeing: a model that has not been fitted to the rows held out.
        loss: log loss of the rows held out, from sums; by it architectures are chosen.
        spent: processor time of all members and the coordinator together.
    """

    model: Model
    unseeing: Model
    loss: float
    spent: Spent


def offered() -> tuple[str, ...]:
    """Return the architectures that are measured."""
    return tuple(name for name in ORDER if name in architectures())


def train_shared(split: Split, architecture: str, seed: int, asked: Mapping[str, Any]) -> Shared:
    """Train with all lenders.

    Args:
        split: whose books are trained on; nothing else of it is looked at.
        architecture: one of `offered`.
        seed: the run's.
        asked: more run settings; under "task_settings" more of the task's.
    """
    task = {"architecture": architecture, "held_out": VALIDATION_SHARE, **asked.get("task_settings", {})}
    usual = {"run_seed": seed, "aggregation": "plain", "minimum_members": len(split.lenders)}
    settings = RunSettings.model_validate({**usual, **asked, "task_settings": task})
    # Names of lenders are the set's and could be anything.
    books = {f"lender-{place}": lender.book for place, lender in enumerate(split.lenders, start=1)}
    # The first call of it in a process imports for seconds.
    torch.use_deterministic_algorithms(mode=True)
    with TemporaryDirectory(prefix="jointrisk-models-") as folder, told_apart() as spent:
        trained = train(Path(folder) / "run", settings, split.contract, books)
    return Shared(trained.model, trained.picked, trained.log_loss, spent)


def best_of(models: Mapping[str, Shared], order: Sequence[str] = ORDER) -> str:
    """Return which is the federation's shared model: the blend, or what validation rows say is best."""
    if BLEND in models:
        return BLEND
    return min(models, key=lambda name: (models[name].loss, order.index(name)))
