"""A run's worker and its members in one process: the round loop, the task and its apps of a real run, without a wire.

Sums are plain: whoever runs this holds every lender's rows anyway. Secure sums change the area under the curve by less
than 0.0005 (`make bench SUITE=secagg`).
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jointrisk import durable
from jointrisk.canonical import canonical_json
from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.aggregation import PlainAggregation
from jointrisk.learning.checkpoint import Checkpoint, RandomState
from jointrisk.learning.encoding import Encoding
from jointrisk.learning.flower import ArrayRecord, Context, RecordDict, act_as, decode, encode, instruction, values
from jointrisk.learning.scoring import PICKED, Scorer, scorer_of
from jointrisk.learning.scoring.parts import of_all_rows, under
from jointrisk.learning.strategies import make_strategy
from jointrisk.learning.tasks import Assignment, MemberData, Model, load_task, task_settings
from jointrisk.worker_process import Pipe
from jointrisk_coordinator.runs.daemon_line import DaemonLine
from jointrisk_coordinator.runs.grid import WorkerGrid
from jointrisk_coordinator.runs.loop import RoundLoop
from jointrisk_coordinator.runs.preparing import Preparation
from jointrisk_coordinator.runs.settings import RunSettings

_RUN = "lab"


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        model: what is scored with.
        picked: the same before it was fitted to the validation rows.
        log_loss: its, on these rows.
    """

    model: Scorer
    picked: Scorer
    log_loss: float


def train(folder: Path, settings: RunSettings, contract: FeatureContract, books: Mapping[str, MemberData]) -> Trained:
    """Train with all members.

    Args:
        folder: a private scratch folder; models and sums lie there, no rows.
        settings: the run's.
        contract: what the columns are.
        books: each member's rows.
    """
    act_as(_RUN)
    numbers = {name: number for number, name in enumerate(books, start=1)}
    line = DaemonLine(cast("Pipe", _Members(folder, settings, numbers, contract, books)))
    seam = PlainAggregation()
    grid = WorkerGrid(line, _RUN, numbers, folder / "out", settings.round_rules(len(numbers)))
    task, chosen = load_task(settings.task), task_settings(settings.task, settings.task_settings)
    prepared = Preparation(settings, seam, grid, folder).run(task.preparation(chosen, contract))
    strategy = partial(make_strategy, settings.strategy, settings.strategy_settings, len(numbers))
    loop = RoundLoop(settings, task, strategy, seam, grid, folder, line.commit, contract=contract)
    last = loop.run(Checkpoint(0, ArrayRecord(), RandomState.seeded(settings.run_seed), prepared=prepared))
    return _trained(task.model(chosen, prepared, last.done))


def _trained(model: Model | None) -> Trained:
    if model is None:
        raise InvalidInputError("expected a task that makes a model, got another")
    arrays = {name: values(array) for name, array in model.arrays.items()}
    final, log_loss = of_all_rows(arrays), float(model.metrics.get("log_loss", math.inf))
    return Trained(_scorer(model, final), _scorer(model, under(PICKED, arrays) or final), log_loss)


def _scorer(model: Model, arrays: Mapping[str, NDArray[np.generic]]) -> Scorer:
    encoding = Encoding.from_payload(canonical_json(model.encoding))
    return scorer_of(encoding, model.architecture, model.settings, arrays)


class _Members:
    """The worker's pipe with the members right behind it; has a Pipe's two methods."""

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        numbers: Mapping[str, int],
        contract: FeatureContract,
        books: Mapping[str, MemberData],
    ) -> None:
        self._folder = durable.folder(folder)
        self._numbers = numbers
        self._lines: deque[dict[str, Any]] = deque()
        self._states = {name: RecordDict() for name in numbers}
        chosen = task_settings(settings.task, settings.task_settings)
        self._apps = {
            name: load_task(settings.task).client_app(
                Assignment(chosen, settings.run_seed, number, contract, books[name], settings.rounds)
            )
            for name, number in numbers.items()
        }

    def send(self, **line: Any) -> None:
        """Take a line of the worker."""
        if line["op"] == "ask":
            self._lines.extend(self._answer(message) for message in line["messages"])
        elif line["op"] == "commit":
            self._lines.append({"op": "committed", "round": line["round"]["number"]})

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Return the next line for the worker."""
        del timeout
        return self._lines.popleft() if self._lines else None

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = asked["member_id"]
        content = decode((self._folder / "out" / asked["sha256"]).read_bytes())
        number = self._numbers[name]
        message = instruction(content, asked["kind"], number, asked["message_id"], str(asked["round"]))
        context = Context(1, number, {}, self._states[name], {})
        reply = self._apps[name](message, context)
        self._states[name] = context.state
        path = self._folder / f"{asked['message_id']}.reply"
        path.write_bytes(encode(reply.content))
        line = {"op": "answer", "message_id": asked["message_id"], "code": "", "reason": ""}
        return line | {"reply": str(path)}
