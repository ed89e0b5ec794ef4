"""The round loop: Flower's strategies step by step, each round complete before the next begins."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jointrisk import durable
from jointrisk.errors import DeadlineError
from jointrisk.learning import checkpoint as checkpoints
from jointrisk.learning.aggregation import WEIGHT, Aggregate, Aggregation
from jointrisk.learning.checkpoint import Checkpoint, RandomState
from jointrisk.learning.flower import ArrayRecord, ConfigRecord, FedAvg, MetricRecord
from jointrisk.learning.strategies import restore_server_state, server_state, typed_like
from jointrisk_coordinator.runs.grid import Place, WorkerGrid
from jointrisk_coordinator.runs.settings import RunSettings

Commit = Callable[[Mapping[str, Any]], None]
"""Makes a complete round durable; returns when it is."""


@dataclass(frozen=True)
class _Outcome:
    """A round that met its quorum."""

    arrays: ArrayRecord
    trained: Aggregate
    metrics: dict[str, float]


class RoundLoop:
    """Rounds of one run, from wherever it stands.

    Args:
        settings: the run's.
        strategy: Flower's strategy.
        aggregation: the seam.
        grid: the participants.
        folder: the run's folder.
        commit: makes a round durable.
        best_metric: metric of evaluation, the smaller the better; None when no round is better than another.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        settings: RunSettings,
        strategy: FedAvg,
        aggregation: Aggregation,
        grid: WorkerGrid,
        folder: Path,
        commit: Commit,
        *,
        best_metric: str | None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._strategy = strategy
        self._aggregation = aggregation
        self._grid = grid
        self._checkpoints = durable.folder(folder / "checkpoints")
        self._begun = folder / "begun.json"
        self._commit = commit
        self._best_metric = best_metric
        self._sleep = sleep

    def run(self, start: Checkpoint) -> Checkpoint:
        """Run every round after ``start`` and return the last checkpoint.

        Raises:
            DeadlineError: a round missed its quorum for the last time.
        """
        restore_server_state(self._strategy, start.strategy)
        for _ in range(start.number, self._settings.rounds):
            start = self._round(start)
        return start

    def _round(self, before: Checkpoint) -> Checkpoint:
        number, began = before.number + 1, time.monotonic()
        outcome, attempts = self._attempts(number, before)
        after = Checkpoint(
            number=number,
            arrays=outcome.arrays,
            random=RandomState.capture(),
            strategy=server_state(self._strategy),
            best=self._best(before.best, number, outcome.metrics),
        )
        arrays_sha256 = checkpoints.save(self._checkpoints, after)
        self._commit(
            {
                "number": number,
                "seconds": time.monotonic() - began,
                "members": outcome.trained.members,
                "missing": outcome.trained.missing,
                "metrics": outcome.metrics,
                "attempts": attempts,
                "arrays_sha256": arrays_sha256,
            }
        )
        checkpoints.prune(self._checkpoints, {number, number - 1} | ({after.best[0]} if after.best else set()))
        return after

    def _attempts(self, number: int, before: Checkpoint) -> tuple[_Outcome, int]:
        retries = self._settings.retries if self._settings.on_missed_quorum == "retry" else 0
        last: Mapping[str, str] = {}
        for attempt in range(1, retries + 2):
            if attempt > 1:
                self._sleep(self._settings.retry_pause.total_seconds())
            times = self._count_beginning(number)
            before.random.restore()
            self._grid.enter(Place(number, attempt))
            outcome = self._attempt(number, before.arrays)
            if isinstance(outcome, _Outcome):
                return outcome, times
            last = outcome
        reasons = "; ".join(f"{member}: {reason}" for member, reason in sorted(last.items()))
        raise DeadlineError(f"round {number} missed its quorum {retries + 1} times. {reasons}")

    def _attempt(self, number: int, arrays: ArrayRecord) -> _Outcome | Mapping[str, str]:
        """Return the round's outcome, or why each missing member is missing."""
        messages = self._strategy.configure_train(number, arrays, ConfigRecord(), self._grid)
        trained = self._aggregation.mean(self._grid, sorted(messages, key=lambda m: m.metadata.dst_node_id))
        if trained.reply is None:
            return trained.failures
        made, metrics = self._strategy.aggregate_train(number, [trained.reply])
        if made is None:
            return {"strategy": "made no arrays"}
        made = typed_like(made, arrays)
        evaluated = self._evaluate(number, made)
        if evaluated is not None and evaluated.reply is None:
            return evaluated.failures
        return _Outcome(made, trained, _numbers(metrics) | self._evaluation(number, evaluated))

    def _evaluate(self, number: int, arrays: ArrayRecord) -> Aggregate | None:
        if not self._settings.evaluate:
            return None
        messages = self._strategy.configure_evaluate(number, arrays, ConfigRecord(), self._grid)
        return self._aggregation.mean(self._grid, sorted(messages, key=lambda m: m.metadata.dst_node_id))

    def _evaluation(self, number: int, evaluated: Aggregate | None) -> dict[str, float]:
        if evaluated is None or evaluated.reply is None:
            return {}
        return _numbers(self._strategy.aggregate_evaluate(number, [evaluated.reply]))

    def _best(
        self, best: tuple[int, float] | None, number: int, metrics: Mapping[str, float]
    ) -> tuple[int, float] | None:
        value = metrics.get(self._best_metric or "", math.inf)
        if not math.isfinite(value) or (best is not None and best[1] <= value):
            return best
        return number, value

    def _count_beginning(self, number: int) -> int:
        """Return how often this round has been begun, in this and earlier lives of the worker."""
        try:
            kept = cast("dict[str, int]", json.loads(self._begun.read_text()))
        except (OSError, ValueError):
            kept = {}
        times = kept.get("times", 0) + 1 if kept.get("round") == number else 1
        self._begun.write_text(json.dumps({"round": number, "times": times}))
        return times


def _numbers(metrics: MetricRecord | None) -> dict[str, float]:
    found = (metrics or {}).items()
    return {name: float(value) for name, value in found if not isinstance(value, list) and name != WEIGHT}
