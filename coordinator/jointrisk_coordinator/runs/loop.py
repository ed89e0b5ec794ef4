"""The round loop: Flower's strategies step by step, each round complete before the next begins."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from jointrisk import durable
from jointrisk.errors import DeadlineError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import checkpoint as checkpoints
from jointrisk.learning.aggregation import WEIGHT, Aggregate, Aggregation
from jointrisk.learning.checkpoint import Best, Checkpoint, RandomState, digest
from jointrisk.learning.flower import ArrayRecord, ConfigRecord, FedAvg, MetricRecord, values
from jointrisk.learning.strategies import restore_server_state, server_state, typed_like
from jointrisk.learning.tasks import Growth, Task, task_settings
from jointrisk_coordinator.runs.grid import Place, WorkerGrid
from jointrisk_coordinator.runs.growing import Growing, Made
from jointrisk_coordinator.runs.settings import RunSettings

Commit = Callable[[Mapping[str, Any]], None]
"""Makes a complete round durable; returns when it is."""


class RoundLoop:
    """Rounds of one run, from wherever it stands.

    Args:
        settings: the run's.
        task: what is learnt: how evaluations are read, and which round is the best.
        strategy: Flower's strategy.
        aggregation: the seam.
        grid: the participants.
        folder: the run's folder.
        commit: makes a round durable.
        contract: the feature contract, where the task needs one.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        settings: RunSettings,
        task: Task,
        strategy: FedAvg,
        aggregation: Aggregation,
        grid: WorkerGrid,
        folder: Path,
        commit: Commit,
        *,
        contract: FeatureContract | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._task = task
        self._strategy = strategy
        self._aggregation = aggregation
        self._grid = grid
        self._checkpoints = durable.folder(folder / "checkpoints")
        self._begun = folder / "begun.json"
        self._commit = commit
        self._contract = contract
        self._growing = Growing(aggregation, grid, folder)
        self._sleep = sleep

    def run(self, start: Checkpoint) -> Checkpoint:
        """Run rounds after ``start`` until there are enough, or none gets better; return the last checkpoint.

        Raises:
            DeadlineError: a round missed its quorum for the last time.
        """
        restore_server_state(self._strategy, start.strategy)
        while start.number < self._settings.rounds and not self._is_settled(start):
            start = self._round(start)
        return start

    def best(self, last: Checkpoint) -> Checkpoint:
        """Return the checkpoint of the best round, the last one where none is better than another."""
        if last.best is None or last.best.number == last.number:
            return last
        return checkpoints.load(self._checkpoints, last.best.number, last.best.arrays_sha256)

    def _is_settled(self, after: Checkpoint) -> bool:
        patience = self._settings.patience
        return bool(patience) and after.best is not None and after.number - after.best.number >= patience

    def _round(self, before: Checkpoint) -> Checkpoint:
        number, began = before.number + 1, time.monotonic()
        outcome, attempts = self._attempts(number, before)
        after = Checkpoint(
            number=number,
            arrays=outcome.arrays,
            random=RandomState.capture(),
            strategy=server_state(self._strategy),
            best=self._best(before.best, number, outcome),
            metrics=outcome.metrics,
            prepared=before.prepared,
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
                "guarantee": outcome.trained.guarantee.as_json(),
            }
        )
        self._aggregation.forget(number)
        self._growing.forget(number)
        checkpoints.prune(self._checkpoints, {number, number - 1} | ({after.best.number} if after.best else set()))
        return after

    def _attempts(self, number: int, before: Checkpoint) -> tuple[Made, int]:
        retries = self._settings.retries if self._settings.on_missed_quorum == "retry" else 0
        last: Mapping[str, str] = {}
        for attempt in range(1, retries + 2):
            if attempt > 1:
                self._sleep(self._settings.retry_pause.total_seconds())
            times = self._count_beginning(number)
            before.random.restore()
            self._grid.enter(Place(number, attempt))
            outcome = self._attempt(number, before)
            if isinstance(outcome, Made):
                return outcome, times
            last = outcome
        reasons = "; ".join(f"{member}: {reason}" for member, reason in sorted(last.items()))
        raise DeadlineError(f"round {number} missed its quorum {retries + 1} times. {reasons}")

    def _attempt(self, number: int, before: Checkpoint) -> Made | Mapping[str, str]:
        """Return the round's outcome, or why each missing member is missing."""
        course = self._growth(before)
        made = self._train(number, before) if course is None else self._grow(number, course, before)
        if not isinstance(made, Made):
            return made
        evaluated = self._evaluate(number, made.arrays, before)
        if evaluated is not None and evaluated.reply is None:
            return evaluated.failures
        return replace(made, metrics=made.metrics | self._evaluation(number, evaluated))

    def _growth(self, before: Checkpoint) -> Growth | None:
        settings = self._settings
        chosen = task_settings(settings.task, settings.task_settings)
        return self._task.growth(chosen, self._contract, settings.run_seed, before.prepared, before.arrays)

    def _grow(self, number: int, course: Growth, before: Checkpoint) -> Made | Mapping[str, str]:
        return self._growing.run(number, course, ConfigRecord({**self._config(before), "server-round": number}))

    def _train(self, number: int, before: Checkpoint) -> Made | Mapping[str, str]:
        arrays = before.arrays
        messages = self._strategy.configure_train(number, arrays, self._config(before), self._grid)
        messages = sorted(messages, key=lambda m: m.metadata.dst_node_id)
        trained = self._aggregation.mean(self._grid, messages, self._task.train_metrics)
        if trained.reply is None:
            return trained.failures
        made, metrics = self._strategy.aggregate_train(number, [trained.reply])
        if made is None:
            return {"strategy": "made no arrays"}
        return Made(typed_like(made, arrays), trained, _numbers(metrics))

    def _config(self, before: Checkpoint) -> ConfigRecord:
        """Return what goes with every message beside the arrays."""
        return ConfigRecord({"rounds": self._settings.rounds, "prepared": before.prepared})

    def _evaluate(self, number: int, arrays: ArrayRecord, before: Checkpoint) -> Aggregate | None:
        if not self._settings.evaluate:
            return None
        messages = self._strategy.configure_evaluate(number, arrays, self._config(before), self._grid)
        messages = sorted(messages, key=lambda m: m.metadata.dst_node_id)
        if self._task.evaluation is None:
            return self._aggregation.mean(self._grid, messages, self._task.evaluate_metrics)
        return self._aggregation.sum(self._grid, messages, self._task.evaluation)

    def _evaluation(self, number: int, evaluated: Aggregate | None) -> dict[str, float]:
        if evaluated is None or evaluated.reply is None:
            return {}
        if self._task.evaluation is not None:
            sums = evaluated.reply.content.array_records["arrays"]
            return self._task.metrics({name: values(array) for name, array in sums.items()})
        return _numbers(self._strategy.aggregate_evaluate(number, [evaluated.reply]))

    def _best(self, best: Best | None, number: int, outcome: Made) -> Best | None:
        value = outcome.metrics.get(self._task.best_metric or "", math.inf)
        if not math.isfinite(value) or (best is not None and best.value <= value):
            return best
        return Best(number, value, digest(outcome.arrays))

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
