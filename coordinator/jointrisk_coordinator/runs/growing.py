"""A round that is made of several sums: the totals of each lie in a file before the next is asked.

A worker that begins again asks no sum twice, and comes to the same arrays. Sums of one round have to be over the same
members: when one of them leaves after the first, the round ends with what the sums so far give.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jointrisk import durable
from jointrisk.errors import CorruptError
from jointrisk.learning.aggregation import Aggregate, Aggregation
from jointrisk.learning.flower import ArrayRecord, ConfigRecord, Message, RecordDict, decode, encode, pack, values
from jointrisk.learning.guarantee import Guarantee
from jointrisk.learning.tasks import Growth, Query, Totals
from jointrisk_coordinator.runs.grid import WorkerGrid


@dataclass(frozen=True)
class Made:
    """What a round came to before its evaluation.

    Attributes:
        arrays: the model.
        trained: who took part.
        metrics: of training.
    """

    arrays: ArrayRecord
    trained: Aggregate
    metrics: dict[str, float]


@dataclass(frozen=True)
class _Sum:
    """One sum; without totals when members of the first had left."""

    aggregate: Aggregate
    totals: Totals | None


class Growing:
    """Asks the sums of a round.

    Args:
        aggregation: the seam.
        grid: the participants.
        folder: the run's folder.
    """

    def __init__(self, aggregation: Aggregation, grid: WorkerGrid, folder: Path) -> None:
        self._aggregation = aggregation
        self._grid = grid
        self._folder = folder / "growth"

    def run(self, number: int, course: Growth, config: ConfigRecord) -> Made | Mapping[str, str]:
        """Return what a round came to, or why each missing member is missing, when its first sum missed its quorum.

        Args:
            number: the round.
            course: the task's, at its beginning.
            config: goes with every message.
        """
        first: Aggregate | None = None
        query, step = next(course), 0
        while True:
            step += 1
            found = self._step(self._folder / f"{number:06d}-{step}.sum", query, config, first)
            if not isinstance(found, _Sum):
                return found
            first = first or found.aggregate
            try:
                query = course.send(found.totals)
            except StopIteration as done:
                return Made(done.value, first, {})

    def forget(self, number: int) -> None:
        """Delete the totals of the rounds up to this one: it is complete."""
        for path in self._folder.glob("*.sum"):
            if int(path.name.partition("-")[0]) <= number:
                path.unlink(missing_ok=True)

    def _step(
        self, path: Path, query: Query, config: ConfigRecord, first: Aggregate | None
    ) -> _Sum | Mapping[str, str]:
        if not path.exists():
            summed = self._ask(query, config, first)
            if first is None and summed.reply is None:
                return summed.failures
            stays = first is None or summed.members == first.members
            durable.folder(path.parent)
            durable.write(path, encode(_written(summed, with_totals=stays)))
        return _read(path, query)

    def _ask(self, query: Query, config: ConfigRecord, first: Aggregate | None) -> Aggregate:
        arrays = ArrayRecord({name: pack(value) for name, value in query.arrays.items()})
        content = RecordDict({"arrays": arrays, "config": config})
        asked = sorted(self._grid.numbers.items() if first is None else self._numbers(first), key=lambda item: item[1])
        messages = [Message(content, number, query.kind) for _, number in asked]
        # Levels after the first are of use only if the members of the first are in them.
        return self._aggregation.sum(self._grid, messages, query.form, query.most, whole=first is not None)

    def _numbers(self, first: Aggregate) -> list[tuple[str, int]]:
        return [(name, self._grid.numbers[name]) for name in first.members]


def _written(summed: Aggregate, *, with_totals: bool) -> RecordDict:
    said = {
        "members": list(summed.members),
        "failures": dict(summed.failures),
        "guarantee": summed.guarantee.as_json(),
    }
    record = RecordDict({"said": ConfigRecord({"json": json.dumps(said)})})
    if with_totals and summed.reply is not None:
        record["totals"] = summed.reply.content.array_records["arrays"]
    return record


def _read(path: Path, query: Query) -> _Sum:
    """Return a sum as it was written; every sum is used as it lies on the disk."""
    record = decode(path.read_bytes())
    said = json.loads(str(record.config_records["said"]["json"]))
    failures = said["failures"]
    guarantee = Guarantee.from_json(said["guarantee"])
    aggregate = Aggregate(None, tuple(said["members"]), tuple(sorted(failures)), failures, guarantee)
    if "totals" not in record:
        return _Sum(aggregate, None)
    totals = record.array_records["totals"]
    if {name: (tuple(array.shape), array.dtype) for name, array in totals.items()} != dict(query.form):
        raise CorruptError("a round's sum: its totals are not what was written")
    return _Sum(aggregate, {name: values(array) for name, array in totals.items()})
