"""The round loop: quorum, retries, checkpoints, going on after a stop at any point."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointrisk.errors import DeadlineError
from jointrisk.learning import checkpoint as checkpoints
from jointrisk_coordinator.runs.settings import RunSettings
from rounds_in_one_process import OneProcess

PROBE = {"task": "probe", "rounds": 4, "task_settings": {"payload_bytes": 64}, "quorum": 2, "minimum_members": 2}


def settings(**changed: Any) -> RunSettings:
    """Return the probe's settings, changed."""
    return RunSettings.model_validate(PROBE | changed)


class Killed(BaseException):
    """The worker process is gone."""


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam"])
@pytest.mark.parametrize("after", [1, 3])
def test_run_goes_on_from_a_checkpoint_to_the_same_arrays(tmp_path: Path, strategy: str, after: int) -> None:
    """A new process with the checkpoint and the members' state ends with the same bits as one that ran through."""
    whole = OneProcess(tmp_path / "whole", settings(strategy=strategy))
    expected = whole.loop.run(whole.beginning())

    first = OneProcess(tmp_path / "halves", settings(strategy=strategy, rounds=after))
    first.loop.run(first.beginning())
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - what a new process would have otherwise
    second = OneProcess(tmp_path / "halves", settings(strategy=strategy))
    kept = checkpoints.load(tmp_path / "halves" / "checkpoints", after, first.pipe.commits[-1]["arrays_sha256"])
    assert second.loop.run(kept).arrays_sha256 == expected.arrays_sha256
    assert [c["arrays_sha256"] for c in first.pipe.commits + second.pipe.commits] == [
        c["arrays_sha256"] for c in whole.pipe.commits
    ]


@pytest.mark.parametrize("moment", range(1, 12))
def test_worker_killed_between_any_two_answers_ends_with_the_same_arrays(tmp_path: Path, moment: int) -> None:
    """Whatever was computed and not committed is computed again, from the same state."""
    whole = OneProcess(tmp_path / "whole", settings(rounds=2, strategy="fedadam"))
    expected = whole.loop.run(whole.beginning())

    count = 0

    def kill(member: str, asked: dict[str, Any]) -> str | None:
        nonlocal count
        count += 1
        if count == moment:
            raise Killed
        return None

    run = OneProcess(tmp_path / "killed", settings(rounds=2, strategy="fedadam"), kill)
    with pytest.raises(Killed):
        run.loop.run(run.beginning())
    again = OneProcess(tmp_path / "killed", settings(rounds=2, strategy="fedadam"))
    commits = run.pipe.commits
    folder = tmp_path / "killed" / "checkpoints"
    start = checkpoints.load(folder, len(commits), commits[-1]["arrays_sha256"]) if commits else again.beginning()
    assert again.loop.run(start).arrays_sha256 == expected.arrays_sha256


def test_round_goes_on_without_a_member_that_fails(tmp_path: Path) -> None:
    """The quorum is enough; who is missing is written down, and may take part in the next round."""

    def spoil(member: str, asked: dict[str, Any]) -> str | None:
        return "broken" if member == "birch" and asked["round"] == 2 and asked["kind"] == "train" else None

    run = OneProcess(tmp_path, settings(), spoil)
    run.loop.run(run.beginning())
    assert [c["missing"] for c in run.pipe.commits] == [(), ("birch",), (), ()]
    assert run.pipe.commits[1]["members"] == ("alder", "cedar")


def test_missed_quorum_begins_the_round_afresh(tmp_path: Path) -> None:
    """Every member is asked again, under other ids, and the outcome is as if nothing had happened."""
    seen: set[str] = set()

    def spoil(member: str, asked: dict[str, Any]) -> str | None:
        first = asked["round"] == 2 and asked["kind"] == "train" and member != "alder" and member not in seen
        seen.update({member} if first else ())
        return "not now" if first else None

    run = OneProcess(tmp_path / "retried", settings(), spoil)
    expected = OneProcess(tmp_path / "undisturbed", settings())
    run.loop.run(run.beginning())
    expected.loop.run(expected.beginning())
    assert [c["attempts"] for c in run.pipe.commits] == [1, 2, 1, 1]
    assert [c["arrays_sha256"] for c in run.pipe.commits] == [c["arrays_sha256"] for c in expected.pipe.commits]
    ids = [asked["message_id"] for asked in run.pipe.asked]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("changed", "times"), [({"retries": 2}, 3), ({"on_missed_quorum": "fail"}, 1)])
def test_run_fails_when_the_quorum_is_missed_for_good(tmp_path: Path, changed: dict[str, Any], times: int) -> None:
    """The error says how often and why, member by member."""
    run = OneProcess(tmp_path, settings(**changed), lambda member, _asked: "gone" if member != "cedar" else None)
    with pytest.raises(DeadlineError, match=f"round 1 missed its quorum {times} times. alder: failed: gone; birch"):
        run.loop.run(run.beginning())
    assert run.pipe.commits == []


def test_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    """Older ones are deleted when the next round is complete."""
    run = OneProcess(tmp_path, settings())
    run.loop.run(run.beginning())
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["round-000003.safetensors", "round-000004.safetensors"]


def test_arrays_stay_single_precision_under_fedadam(tmp_path: Path) -> None:
    """Flower's FedAdam would widen them at the first step."""
    run = OneProcess(tmp_path, settings(strategy="fedadam", rounds=1))
    assert {array.dtype for array in run.loop.run(run.beginning()).arrays.values()} == {"float32"}


def test_run_without_evaluation_asks_for_none(tmp_path: Path) -> None:
    """Half as many messages."""
    run = OneProcess(tmp_path, settings(evaluate=False))
    run.loop.run(run.beginning())
    assert {asked["kind"] for asked in run.pipe.asked} == {"train"}
    assert run.pipe.commits[0]["metrics"].keys() == {"rounds_kept"}
