"""A run's worker and its members in one process: the round loop, the task and its apps of a real run, without a wire.

Sums are plain: whoever runs this holds every lender's rows anyway. Secure sums change the area under the curve by less
than 0.0005 (`make bench SUITE=secagg`).
"""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from jointrisk import durable
from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.aggregation import PlainAggregation
from jointrisk.learning.checkpoint import Checkpoint, RandomState
from jointrisk.learning.flower import Context, RecordDict, act_as, decode, encode, instruction, values
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.scoring import Scorer, scorer_of
from jointrisk.learning.strategies import make_strategy
from jointrisk.learning.tasks import Assignment, MemberData, load_task, task_settings
from jointrisk.worker_process import Pipe
from jointrisk_coordinator.runs.daemon_line import DaemonLine
from jointrisk_coordinator.runs.grid import WorkerGrid
from jointrisk_coordinator.runs.loop import RoundLoop
from jointrisk_coordinator.runs.preparing import Preparation
from jointrisk_coordinator.runs.settings import RunSettings

_RUN = "lab"


def train(
    folder: Path, settings: RunSettings, contract: FeatureContract, books: Mapping[str, MemberData]
) -> tuple[Scorer, float]:
    """Train with all members and return the best round's scorer, and its log loss on the members' validation rows.

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
    arrays = task.initial_arrays(chosen, contract, settings.run_seed, prepared)
    strategy = make_strategy(settings.strategy, settings.strategy_settings, len(numbers))
    loop = RoundLoop(settings, task, strategy, seam, grid, folder, line.commit, contract=contract)
    last = loop.run(Checkpoint(0, arrays, RandomState.seeded(settings.run_seed), prepared=prepared))
    best = loop.best(last)
    return _scorer(settings, best), best.best.value if best.best else float("inf")


def _scorer(settings: RunSettings, kept: Checkpoint) -> Scorer:
    chosen = task_settings(settings.task, settings.task_settings)
    model = load_task(settings.task).model(chosen, kept.prepared)
    if model is None:
        raise InvalidInputError(f"expected a task that makes a model, got {settings.task}")
    encoding = Prepared.from_payload(kept.prepared).encoding
    arrays = {name: values(array) for name, array in kept.arrays.items()}
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
