"""The preparation of a run: a task's queries to every member before the first round, each answered by a sum.

The totals of every step lie in a file before the next one is asked, so that a worker that begins again asks no step
twice with other members' replies, and makes the same of them.
"""

import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from jointrisk import durable
from jointrisk.errors import CorruptError, DeadlineError
from jointrisk.learning.aggregation import Aggregation
from jointrisk.learning.flower import ArrayRecord, Message, RecordDict, decode, encode, pack, values
from jointrisk.learning.tasks import Query, Totals
from jointrisk_coordinator.runs.grid import Place, WorkerGrid
from jointrisk_coordinator.runs.settings import RunSettings


class Preparation:
    """Asks a task's queries, as messages of round 0.

    Args:
        settings: the run's.
        aggregation: the seam.
        grid: the participants.
        folder: the run's folder.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        settings: RunSettings,
        aggregation: Aggregation,
        grid: WorkerGrid,
        folder: Path,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._aggregation = aggregation
        self._grid = grid
        self._folder = folder / "preparation"
        self._sleep = sleep

    def run(self, course: Generator[Query, Totals, bytes]) -> bytes:
        """Take every step and return the outcome.

        Args:
            course: the task's, at its beginning.

        Raises:
            DeadlineError: a step missed its quorum for the last time.
        """
        step = 0
        try:
            query = next(course)
            while True:
                step += 1
                query = course.send(self._step(step, query))
        except StopIteration as done:
            return bytes(done.value)

    def _step(self, step: int, query: Query) -> Totals:
        path = self._folder / f"step-{step}.totals"
        if not path.exists():
            durable.folder(self._folder)
            durable.write(path, encode(RecordDict({"totals": self._ask(query)})))
        record = decode(path.read_bytes()).array_records["totals"]
        if {name: (tuple(array.shape), array.dtype) for name, array in record.items()} != dict(query.form):
            raise CorruptError(f"preparation, step {step}: its totals are not what was written")
        return {name: values(array) for name, array in record.items()}

    def _ask(self, query: Query) -> ArrayRecord:
        retries = self._settings.retries if self._settings.on_missed_quorum == "retry" else 0
        last: Mapping[str, str] = {}
        for attempt in range(1, retries + 2):
            if attempt > 1:
                self._sleep(self._settings.retry_pause.total_seconds())
            self._grid.enter(Place(0, attempt))
            arrays = ArrayRecord({name: pack(value) for name, value in query.arrays.items()})
            content = RecordDict({"arrays": arrays})
            messages = [Message(content, number, query.kind) for number in self._grid.get_node_ids()]
            summed = self._aggregation.sum(self._grid, messages, query.form, query.most)
            if summed.reply is not None:
                return summed.reply.content.array_records["arrays"]
            last = summed.failures
        reasons = "; ".join(f"{member}: {reason}" for member, reason in sorted(last.items()))
        raise DeadlineError(f"the preparation missed its quorum {retries + 1} times. {reasons}")
