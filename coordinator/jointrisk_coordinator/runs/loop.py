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
from jointrisk.learning.flower import ConfigRecord, FedAvg, MetricRecord, values
from jointrisk.learning.strategies import restore_server_state, server_state, typed_like
from jointrisk.learning.tasks import Finished, Stage, Task, task_settings
from jointrisk_coordinator.runs.grid import Place, WorkerGrid
from jointrisk_coordinator.runs.growing import Growing, Made
from jointrisk_coordinator.runs.settings import RunSettings

Commit = Callable[[Mapping[str, Any]], None]
"""Makes a complete round durable; returns when it is."""


class RoundLoop:
    """Rounds of one run, stage after stage, from wherever it stands.

    Args:
        settings: the run's.
        task: what is learnt: which stages there are, how evaluations are read, and which round is the best.
        strategy: makes Flower's strategy anew for each stage.
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
        strategy: Callable[[], FedAvg],
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
        self._chosen = task_settings(settings.task, settings.task_settings)
        self._new_strategy = strategy
        self._strategy = strategy()
        self._aggregation = aggregation
        self._grid = grid
        self._checkpoints = durable.folder(folder / "checkpoints")
        self._begun = folder / "begun.json"
        self._commit = commit
        self._contract = contract
        self._growing = Growing(aggregation, grid, folder)
        self._sleep = sleep

    def run(self, start: Checkpoint) -> Checkpoint:
        """Run rounds after ``start`` until no stage is left; return the last checkpoint, with every stage's outcome.

        Raises:
            DeadlineError: a round missed its quorum for the last time.
        """
        settings = self._settings
        while stage := self._task.stage(self._chosen, settings.rounds, settings.patience, start.done):
            if start.stage != stage.name:
                start = self._begin(stage, start)
            self._strategy = self._new_strategy()
            restore_server_state(self._strategy, start.strategy)
            while start.rounds < stage.rounds and not self._is_settled(stage, start):
                start = self._round(stage, start)
            start = self._finish(start)
        return start

    def _begin(self, stage: Stage, before: Checkpoint) -> Checkpoint:
        """Return what a stage's first round starts from."""
        seed, prepared = self._settings.run_seed, before.prepared
        arrays = self._task.initial_arrays(self._chosen, self._contract, seed, prepared, stage.name, before.done)
        return replace(before, arrays=arrays, strategy={}, best=None, metrics={}, stage=stage.name, began=before.number)

    def _finish(self, last: Checkpoint) -> Checkpoint:
        """Take down what a stage came to: its best round, the last one where none is better than another."""
        best = last
        if last.best is not None and last.best.number != last.number:
            best = checkpoints.load(self._checkpoints, last.best.number, last.best.arrays_sha256)
        finished = Finished(best.rounds, best.number, best.metrics, best.arrays)
        return replace(last, done={**last.done, last.stage: finished})

    def _is_settled(self, stage: Stage, after: Checkpoint) -> bool:
        return bool(stage.patience) and after.best is not None and after.number - after.best.number >= stage.patience

    def _round(self, stage: Stage, before: Checkpoint) -> Checkpoint:
        number, began = before.number + 1, time.monotonic()
        outcome, attempts = self._attempts(stage, number, before)
        after = replace(
            before,
            number=number,
            arrays=outcome.arrays,
            random=RandomState.capture(),
            strategy=server_state(self._strategy),
            best=self._best(before.best, number, outcome),
            metrics=outcome.metrics,
        )
        arrays_sha256 = checkpoints.save(self._checkpoints, after)
        self._commit(
            {
                "number": number,
                "stage": stage.name,
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

    def _attempts(self, stage: Stage, number: int, before: Checkpoint) -> tuple[Made, int]:
        retries = self._settings.retries if self._settings.on_missed_quorum == "retry" else 0
        last: Mapping[str, str] = {}
        for attempt in range(1, retries + 2):
            if attempt > 1:
                self._sleep(self._settings.retry_pause.total_seconds())
            times = self._count_beginning(number)
            before.random.restore()
            self._grid.enter(Place(number, attempt))
            outcome = self._attempt(stage, number, before)
            if isinstance(outcome, Made):
                return outcome, times
            last = outcome
        reasons = "; ".join(f"{member}: {reason}" for member, reason in sorted(last.items()))
        raise DeadlineError(f"round {number} missed its quorum {retries + 1} times. {reasons}")

    def _attempt(self, stage: Stage, number: int, before: Checkpoint) -> Made | Mapping[str, str]:
        """Return the round's outcome, or why each missing member is missing."""
        seed, config = self._settings.run_seed, _config(stage, before)
        course = self._task.growth(self._chosen, self._contract, seed, before.prepared, stage.name, before.arrays)
        if course is None:
            made = self._train(before, config)
        else:
            made = self._growing.run(number, course, ConfigRecord({**config, "server-round": before.rounds + 1}))
        if not isinstance(made, Made) or not (self._settings.evaluate and stage.evaluated):
            return made
        evaluated = self._evaluate(stage, before, made, config)
        if evaluated.reply is None:
            return made if stage.many else evaluated.failures
        return replace(made, metrics=made.metrics | self._evaluation(number, evaluated))

    def _train(self, before: Checkpoint, config: ConfigRecord) -> Made | Mapping[str, str]:
        number, arrays = before.rounds + 1, before.arrays
        messages = self._strategy.configure_train(number, arrays, config, self._grid)
        messages = sorted(messages, key=lambda m: m.metadata.dst_node_id)
        trained = self._aggregation.mean(self._grid, messages, self._task.train_metrics)
        if trained.reply is None:
            return trained.failures
        made, metrics = self._strategy.aggregate_train(number, [trained.reply])
        if made is None:
            return {"strategy": "made no arrays"}
        return Made(typed_like(made, arrays), trained, _numbers(metrics))

    def _evaluate(self, stage: Stage, before: Checkpoint, made: Made, config: ConfigRecord) -> Aggregate:
        messages = self._strategy.configure_evaluate(before.rounds + 1, made.arrays, config, self._grid)
        messages = sorted(messages, key=lambda m: m.metadata.dst_node_id)
        if self._task.evaluation is None:
            return self._aggregation.mean(self._grid, messages, self._task.evaluate_metrics)
        if stage.many:
            trained = {self._grid.numbers[name] for name in made.trained.members}
            messages = [message for message in messages if message.metadata.dst_node_id in trained]
        return self._aggregation.sum(self._grid, messages, self._task.evaluation, whole=stage.many)

    def _evaluation(self, number: int, evaluated: Aggregate) -> dict[str, float]:
        if evaluated.reply is None:
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


def _config(stage: Stage, before: Checkpoint) -> ConfigRecord:
    """Return what goes with every message beside the arrays."""
    planned = stage.planned or stage.rounds
    return ConfigRecord({**stage.config, "rounds": planned, "prepared": before.prepared, "stage": stage.name})


def _numbers(metrics: MetricRecord | None) -> dict[str, float]:
    found = (metrics or {}).items()
    return {name: float(value) for name, value in found if not isinstance(value, list) and name != WEIGHT}
