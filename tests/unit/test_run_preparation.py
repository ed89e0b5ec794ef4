"""The preparation of a run and its end: steps asked once, totals kept, the best round, early stop."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointrisk.errors import DeadlineError
from jointrisk.learning.aggregation import Aggregate
from jointrisk.learning.checkpoint import Checkpoint, digest
from jointrisk.learning.flower import ArrayRecord, Message, RecordDict, act_as, pack, values
from jointrisk.learning.tasks import Query, Totals
from jointrisk_coordinator.runs.preparing import Preparation
from jointrisk_coordinator.runs.settings import RunSettings
from rounds_in_one_process import OneProcess

FORM = {"n": ((2,), "int64")}
PROBE = {"task": "probe", "task_settings": {"payload_bytes": 64}, "quorum": 2, "minimum_members": 2, "retries": 2}


class Seam:
    """An aggregation whose totals are scripted: the counts that members would give, or None for a missed quorum."""

    def __init__(self, *totals: list[int] | None) -> None:
        self._totals = list(totals)
        self.asked: list[tuple[str, list[Any], list[int]]] = []

    def sum(self, cohort: Any, messages: list[Message], form: Mapping[str, Any], most: Any) -> Aggregate:
        """Return the next total, and remember what was asked."""
        assert (form, most) == (FORM, {})
        sent = {name: values(array).tolist() for name, array in messages[0].content.array_records["arrays"].items()}
        numbers = [message.metadata.dst_node_id for message in messages]
        self.asked.append((messages[0].metadata.message_type, [cohort.places[-1], sent], numbers))
        total = self._totals.pop(0)
        if total is None:
            return Aggregate(None, (), ("birch",), {"birch": "gone"})
        record = RecordDict({"arrays": ArrayRecord({"n": pack(np.array(total))})})
        return Aggregate(Message(record, reply_to=messages[0]), ("ash",), ())

    def mean(self, cohort: Any, messages: Any) -> Aggregate:
        """Not asked for."""
        raise AssertionError((cohort, messages))


class Cohort:
    """Two members, and which places were entered."""

    def __init__(self) -> None:
        self.places: list[tuple[int, int]] = []

    def enter(self, place: Any) -> None:
        """Remember a place."""
        self.places.append((place.round, place.attempt))

    def get_node_ids(self) -> list[int]:
        """Return the members' numbers."""
        return [1, 2]


def course() -> Generator[Query, Totals, bytes]:
    """Ask twice, the second time with what the first came to."""
    first = yield Query("query.first", FORM)
    second = yield Query("query.second", FORM, {"sent": np.asarray(first["n"]) * 10})
    return bytes(np.asarray(second["n"], dtype=np.uint8))


def preparation(folder: Path, seam: Seam, **changed: Any) -> Preparation:
    """Return a preparation over two members."""
    act_as("run-1")
    settings = RunSettings.model_validate(PROBE | changed)
    return Preparation(settings, seam, Cohort(), folder, sleep=lambda _: None)  # type: ignore[arg-type]


def test_each_step_is_asked_of_everybody_with_what_came_before(tmp_path: Path) -> None:
    """Messages of round 0; the totals of one step make the next; the outcome is the task's."""
    seam = Seam([1, 2], [3, 4])
    assert preparation(tmp_path, seam).run(course()) == b"\x03\x04"
    assert seam.asked == [
        ("query.first", [(0, 1), {}], [1, 2]),
        ("query.second", [(0, 1), {"sent": [10, 20]}], [1, 2]),
    ]


def test_step_that_is_done_is_not_asked_again(tmp_path: Path) -> None:
    """Killed between two steps, a worker that begins again goes by the totals that are there, not by other ones."""

    class Killed(BaseException):
        pass

    def cut() -> Generator[Query, Totals, bytes]:
        yield Query("query.first", FORM)
        raise Killed

    with pytest.raises(Killed):
        preparation(tmp_path, Seam([1, 2])).run(cut())
    seam = Seam([3, 4])
    assert preparation(tmp_path, seam).run(course()) == b"\x03\x04"
    assert seam.asked == [("query.second", [(0, 1), {"sent": [10, 20]}], [1, 2])]
    nothing_left = Seam()
    assert preparation(tmp_path, nothing_left).run(course()) == b"\x03\x04"
    assert nothing_left.asked == []


def test_missed_quorum_is_asked_afresh(tmp_path: Path) -> None:
    """Under another attempt, so that members compute it again."""
    seam = Seam(None, [1, 2], [3, 4])
    assert preparation(tmp_path, seam).run(course()) == b"\x03\x04"
    assert [asked[1][0] for asked in seam.asked] == [(0, 1), (0, 2), (0, 1)]


def test_preparation_that_nobody_answers_fails_and_says_who(tmp_path: Path) -> None:
    """After as many attempts as a round has."""
    with pytest.raises(DeadlineError, match=r"the preparation missed its quorum 3 times\. birch: gone"):
        preparation(tmp_path, Seam(None, None, None)).run(course())
    with pytest.raises(DeadlineError, match="1 times"):
        preparation(tmp_path, Seam(None), on_missed_quorum="fail").run(course())


class Scripted(OneProcess):
    """The probe, its rounds judged by a loss."""

    def __init__(self, folder: Path, rounds: int, **changed: Any) -> None:
        super().__init__(folder, RunSettings.model_validate(PROBE | {"rounds": rounds} | changed))
        self.loop._task.best_metric = "loss"


def run_to_the_end(run: Scripted, losses: list[float], monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """Run with these losses, round by round."""
    monkeypatch.setattr(run.loop, "_evaluation", lambda number, _: {"loss": losses[number - 1]})
    return run.loop.run(run.beginning())


def test_best_round_is_kept_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint outlives the later ones, with its own arrays and metrics."""
    losses = [5.0, 3.0, 4.0, float("nan"), 6.0]
    run = Scripted(tmp_path, len(losses))
    last = run_to_the_end(run, losses, monkeypatch)
    best = last.done["probe"]
    assert (last.number, best.number, best.metrics["loss"]) == (5, 2, 3.0)
    assert digest(best.arrays) == run.pipe.commits[1]["arrays_sha256"]
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"round-00000{number}.safetensors" for number in (2, 4, 5)]


@pytest.mark.parametrize(("patience", "rounds"), [(1, 3), (2, 4), (0, 6)])
def test_run_ends_when_no_round_is_better_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, rounds: int
) -> None:
    """After so many rounds without a better one; 0 never. Begun again from its end, it stays ended."""
    losses = [5.0, 3.0, 4.0, 3.5, 3.2, 3.1]
    run = Scripted(tmp_path, len(losses), patience=patience)
    last = run_to_the_end(run, losses, monkeypatch)
    assert last.number == rounds
    assert run_to_the_end(run, losses, monkeypatch).number == rounds
    assert run.loop.run(last) is last


def test_run_without_evaluation_goes_to_its_last_round(tmp_path: Path) -> None:
    """No round is better than another: the last one is the model."""
    run = OneProcess(tmp_path, RunSettings.model_validate(PROBE | {"rounds": 3, "patience": 1, "evaluate": False}))
    last = run.loop.run(run.beginning())
    assert last.number == 3
    assert digest(last.done["probe"].arrays) == last.arrays_sha256
