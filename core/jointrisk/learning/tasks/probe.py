"""The probe: arrays there and back, changed in a way that shows every member's part, every round and every kept state.

Each member adds pseudo-random numbers made from run seed, round and its number, and counts its rounds in its state. So
a run that was disturbed ends with the same arrays as one that was not only if no reply was lost, doubled or recomputed
from the wrong state.
"""

import time
from collections.abc import Generator
from types import MappingProxyType

import numpy as np

from jointrisk.learning.aggregation import Form, Ranges
from jointrisk.learning.flower import (
    ArrayRecord,
    ClientApp,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
    pack,
    values,
)
from jointrisk.learning.tasks import Assignment, Done, Growth, Query, Stage, Task, Totals
from jointrisk.learning.tasks.settings import ProbeSettings

_STATE = "probe"


class Probe:
    """See the module."""

    best_metric: str | None = None
    evaluation: Form | None = None
    train_metrics: Ranges = MappingProxyType({"rounds_kept": (0.0, 1000.0)})
    evaluate_metrics: Ranges = MappingProxyType({"mean": (-100.0, 100.0), "rounds_seen": (0.0, 1000.0)})

    def preparation(self, settings: ProbeSettings, contract: object) -> Generator[Query, Totals, bytes]:
        """Ask nothing."""
        del settings, contract
        yield from ()
        return b""

    def growth(
        self,
        settings: ProbeSettings,
        contract: object,
        run_seed: int,
        prepared: bytes,
        stage: str,
        arrays: ArrayRecord,
    ) -> Growth | None:
        """Return None: a round is the mean of what members train."""
        del settings, contract, run_seed, prepared, stage, arrays
        return None

    def metrics(self, sums: Totals) -> dict[str, float]:
        """Return nothing: members' metrics are averaged."""
        del sums
        return {}

    def model(self, settings: ProbeSettings, prepared: bytes, done: Done) -> None:
        """Make none."""

    def stage(self, settings: ProbeSettings, rounds: int, patience: int, done: Done) -> Stage | None:
        """Return the only stage."""
        del settings
        return None if done else Stage("probe", rounds, patience)

    def initial_arrays(
        self,
        settings: ProbeSettings,
        contract: object,
        run_seed: int,
        prepared: bytes,
        stage: str,
        done: Done,
    ) -> ArrayRecord:
        """Return pseudo-random arrays of the settings' size."""
        del contract, prepared, stage, done
        numbers = np.random.default_rng(run_seed).standard_normal(settings.payload_bytes // 4, dtype=np.float32)
        return ArrayRecord({"payload": pack(numbers)})

    def client_app(self, assignment: Assignment) -> ClientApp:
        """Return the member's app."""
        app = ClientApp()

        @app.train()
        def train(message: Message, context: Context) -> Message:
            return _train(message, context, assignment)

        @app.evaluate()
        def evaluate(message: Message, context: Context) -> Message:
            return _evaluate(message, context)

        return app


def _train(message: Message, context: Context, assignment: Assignment) -> Message:
    settings = assignment.settings
    if not isinstance(settings, ProbeSettings):
        raise TypeError("expected ProbeSettings")
    time.sleep(settings.sleep_seconds)
    rounds = _count(context)
    number = int(message.content.config_records["config"]["server-round"])  # type: ignore[arg-type]
    generator = np.random.default_rng([assignment.run_seed, number, assignment.number])
    step = np.float32(rounds) * generator.standard_normal(8, dtype=np.float32).mean()
    arrays = message.content.array_records["arrays"]
    moved = {name: pack(np.asarray(values(array) + step, dtype=np.float32)) for name, array in arrays.items()}
    context.state[_STATE] = ConfigRecord({"rounds": rounds})
    reply = RecordDict(
        {
            "arrays": ArrayRecord(moved),
            "metrics": MetricRecord({"num-examples": assignment.number, "rounds_kept": rounds}),
        }
    )
    return Message(reply, reply_to=message)


def _evaluate(message: Message, context: Context) -> Message:
    arrays = message.content.array_records["arrays"]
    mean = float(np.mean([values(array).mean(dtype=np.float64) for array in arrays.values()]))
    metrics = MetricRecord({"num-examples": 1, "mean": mean, "rounds_seen": _count(context) - 1})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _count(context: Context) -> int:
    kept = context.state.config_records.get(_STATE)
    return 1 if kept is None else int(kept["rounds"]) + 1  # type: ignore[arg-type]


def make() -> Task:
    """Return the task."""
    return Probe()
