"""A blend as an architecture of a run: parts are trained, weighed by validation, and trained once more on all rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointrisk.errors import RefusedError
from jointrisk.learning import blend, checkpoint, validation
from jointrisk.learning.checkpoint import Checkpoint
from jointrisk.learning.flower import ArrayRecord, ConfigRecord, Context, RecordDict, act_as, instruction, values
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.scoring import NetworkScorer, forest_of, networks_of
from jointrisk.learning.tasks import Assignment, load_task, task_settings
from jointrisk_coordinator.runs.settings import RunSettings
from rounds_in_one_process import OneProcess, Spoil
from three_books import BOOKS, CONTRACT, LENDERS, Killed, book

SMALL: dict[str, Any] = {
    "architecture": "blend",
    "hidden": 8,
    "networks": 1,
    "steps": 20,
    "bins": 8,
    "learning_rate": 0.05,
    "trees": {"depth": 2, "learning_rate": 0.2, "column_share": 1.0},
}


def settings(**changed: Any) -> RunSettings:
    """Return settings of a small blend."""
    asked = {"task_settings": SMALL | changed, "rounds": 3, "minimum_members": 1, "quorum": 2, "retries": 1}
    return RunSettings.model_validate(asked)


def run(folder: Path, chosen: RunSettings, spoil: Spoil = lambda *_: None, *, secure: bool = False) -> OneProcess:
    """Return a run of three lenders."""
    return OneProcess(folder, chosen, spoil, LENDERS, CONTRACT, BOOKS, secure=secure)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A run in which nothing happens."""
    course = run(tmp_path_factory.mktemp("whole"), settings())
    return course.loop.run(course.beginning())


def stages_of(kept: Checkpoint) -> dict[str, dict[str, Any]]:
    """Return each stage's arrays."""
    return {name: {key: values(array) for key, array in stage.arrays.items()} for name, stage in kept.done.items()}


def test_a_blend_is_weighed_by_the_held_out_rows(whole: Checkpoint) -> None:
    """Its weights are those that the pooled held-out rows choose, and its metrics are of the weighted mean."""
    arrays, encoding = stages_of(whole), Prepared.from_payload(whole.prepared).encoding
    held_out = [(book, validation.held_out(len(book.labels), 0.1)) for book in BOOKS.values()]
    rows = np.concatenate([book.features[out] for book, out in held_out])
    labels = np.concatenate([book.labels[out] for book, out in held_out])
    networks = NetworkScorer(encoding, networks_of(arrays["mlp"]), "log odds").log_odds(rows)
    trees = forest_of(encoding, arrays["trees"]).log_odds(rows)
    chosen = blend.choose(blend.sums_of(np.stack([networks, trees]), labels), 2)
    assert arrays["weights"]["weights"].tolist() == pytest.approx(list(chosen.weights))
    metrics = validation.metrics_of(validation.sums_of(blend.blended([networks, trees], chosen.weights), labels))
    assert dict(whole.done["weights"].metrics) == pytest.approx(metrics, abs=1e-5)
    losses = {name: stage.metrics["log_loss"] for name, stage in whole.done.items() if name in {"mlp", "trees"}}
    assert whole.done["weights"].metrics["log_loss"] <= min(losses.values()) + 1e-9


def test_the_parts_are_trained_once_more_on_all_rows(whole: Checkpoint) -> None:
    """The last trees have counted every row, the picked ones nine in ten; nothing of that stage was evaluated."""
    arrays = stages_of(whole)
    every, picking = (int(arrays[name]["count"][0]) for name in ("trees.all", "trees"))
    assert every > picking  # four fifths of the rows, drawn for each tree
    assert not any("log_loss" in whole.done[name].metrics for name in ("trees.all", "mlp.all"))
    assert not np.array_equal(arrays["mlp.all"]["seed0/0.weight"], arrays["mlp"]["seed0/0.weight"])


def test_a_model_has_what_is_scored_with_and_what_was_picked(whole: Checkpoint) -> None:
    """The bundle's layout: parts with weights, arrays under their names, the picked ones apart."""
    task, chosen = load_task("default_model"), task_settings("default_model", SMALL)
    model = task.model(chosen, whole.prepared, whole.done)
    assert model is not None
    parts = model.settings["parts"]
    assert len(parts) == 2
    assert sum(part["weight"] for part in parts) == pytest.approx(1)
    arrays, done = {name: values(array) for name, array in model.arrays.items()}, stages_of(whole)
    for part in parts:
        name = part["name"]
        for key, value in done[name].items():
            assert np.array_equal(arrays[f"picked/{name}/{key}"], value)
            assert np.array_equal(arrays[f"{name}/{key}"], done[f"{name}.all"][key])
    assert model.metrics == whole.done["weights"].metrics


def test_secure_sums_give_the_same_trees_and_nearly_the_same_weights(whole: Checkpoint, tmp_path: Path) -> None:
    """And nobody is asked for anything but a secure sum."""
    course = run(tmp_path, settings(), secure=True)
    kept = course.loop.run(course.beginning())
    assert all(asked["kind"].startswith("query.secure_") for asked in course.pipe.asked)
    arrays, others = stages_of(kept), stages_of(whole)
    assert all(np.array_equal(arrays["trees"][name], value) for name, value in others["trees"].items())
    assert np.abs(arrays["weights"]["weights"] - others["weights"]["weights"]).max() <= 1 / blend.STEPS
    stages = [commit["stage"] for commit in course.pipe.commits]
    assert list(dict.fromkeys(stages)) == list(whole.done)


@pytest.mark.parametrize(
    "left_in",
    ["trial.on", pytest.param("trees", marks=pytest.mark.slow), pytest.param("mlp.all", marks=pytest.mark.slow)],
)
def test_a_run_goes_on_when_a_member_leaves_between_stages(tmp_path: Path, left_in: str) -> None:
    """Nothing that the others are asked then is what they answered with the one that left."""
    names, course = ("alder", "birch", "cedar", "doyen"), list[OneProcess]()

    def spoil(member: str, _asked: dict[str, Any]) -> str | None:
        done = course[0].pipe.commits
        return "gone" if member == "birch" and done and done[-1]["stage"] == left_in else None

    books = BOOKS | {"doyen": book(seed=9)}
    course.append(OneProcess(tmp_path, settings(), spoil, names, CONTRACT, books, secure=True))
    kept = course[0].loop.run(course[0].beginning())
    assert list(kept.done)[-1] == "trees.all"
    assert any("birch" not in commit["members"] for commit in course[0].pipe.commits)


def test_a_worker_killed_anywhere_ends_with_the_same_model(whole: Checkpoint, tmp_path: Path) -> None:
    """Also between two stages; members begin again with what they kept of the last round."""
    count, moment, last, life = 0, 0, None, 0

    def kill(_member: str, _asked: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count == moment:
            raise Killed

    for life in range(1, 200):
        count, moment = 0, 4 + life % 7
        course = run(tmp_path, settings(), kill)
        try:
            if last is None:
                kept = course.loop.run(course.beginning())
            else:
                folder = course.folder / "checkpoints"
                kept = course.loop.run(checkpoint.load(folder, last["number"], last["arrays_sha256"]))
        except Killed:
            last = course.pipe.commits[-1] if course.pipe.commits else last
            continue
        break
    assert life > 10
    assert {name: checkpoint.digest(stage.arrays) for name, stage in kept.done.items()} == {
        name: checkpoint.digest(stage.arrays) for name, stage in whole.done.items()
    }


def test_a_member_knows_the_stages_of_its_run() -> None:
    """It trains on held-out rows only where it accepted that, and never evaluates on rows that it trained on."""
    act_as("run-1", 1)
    picking = task_settings("default_model", SMALL | {"refit": False})
    both = task_settings("default_model", SMALL)
    for chosen, kind in ((picking, "train"), (both, "evaluate")):
        app = load_task("default_model").client_app(Assignment(chosen, 1, 1, CONTRACT, BOOKS["alder"], 3))
        said = ConfigRecord({"stage": "mlp.all", "server-round": 1, "rounds": 3, "prepared": _prepared()})
        content = RecordDict({"config": said, "arrays": ArrayRecord()})
        with pytest.raises(RefusedError, match="expected a stage"):
            app(instruction(content, kind, 1, "id", "1"), Context(1, 1, {}, RecordDict(), {}))


def _prepared() -> bytes:
    from jointrisk.learning.encoding import Encoding, FlagEncoding

    return Prepared(Encoding(features=(FlagEncoding(name="a", missing=False),)), 1, 1).payload()
