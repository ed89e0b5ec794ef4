"""Trees as an architecture of a run: the round loop grows them, a bundle carries them, a node scores with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from jointrisk.errors import ConflictError, CorruptError, DeadlineError, InvalidInputError, RefusedError
from jointrisk.federation.signing import public_bytes
from jointrisk.learning import checkpoint as checkpoints
from jointrisk.learning import validation
from jointrisk.learning.architectures.trees import TreeMember, grow, initial_arrays, terms_of
from jointrisk.learning.bundle import read_bundle
from jointrisk.learning.checkpoint import Checkpoint
from jointrisk.learning.flower import decode, values
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.scoring import Scorer, forest_of, lightgbm_of
from jointrisk.learning.secure_runs import asked_kind, is_secure
from jointrisk.learning.tasks import MemberData, load_task, task_settings
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.lending import Terms
from jointrisk.learning.trees.tree import Arrays
from jointrisk_coordinator.runs.settings import RunSettings
from model_sample import KEY, sample_bundle, sample_facts
from rounds_in_one_process import OneProcess
from three_books import BOOKS, CONTRACT, LENDERS, Killed, book

PUBLIC = public_bytes(KEY)
Spoil = Callable[[str, dict[str, Any]], str | None]


def settings(rounds: int = 2, **trees: Any) -> RunSettings:
    """Return settings of a run of a few small trees."""
    grown = {"depth": 3, "learning_rate": 0.3, "column_share": 1.0} | trees
    chosen = {"architecture": "trees", "trees": grown, "refit": False}
    return RunSettings.model_validate(
        {"task_settings": chosen, "rounds": rounds, "minimum_members": 1, "quorum": 2, "retries": 1}
    )


def run(
    folder: Path, chosen: RunSettings | None = None, spoil: Spoil = lambda *_: None, *, secure: bool = False
) -> OneProcess:
    """Return a run of the three lenders."""
    return OneProcess(folder, chosen or settings(), spoil, LENDERS, CONTRACT, BOOKS, secure=secure)


def finished(course: OneProcess, before: OneProcess | None = None) -> Checkpoint:
    """Return the last checkpoint of a run; of one that goes on where another worker was when it was killed."""
    commits = before.pipe.commits if before is not None else []
    if not commits:
        return course.loop.run(course.beginning())
    done = commits[-1]
    return course.loop.run(checkpoints.load(course.folder / "checkpoints", done["number"], done["arrays_sha256"]))


def forest(kept: Checkpoint) -> Forest:
    """Return a checkpoint's trees."""
    arrays = {name: values(array) for name, array in kept.arrays.items()}
    return forest_of(Prepared.from_payload(kept.prepared).encoding, arrays)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A run in which nothing happens."""
    return finished(run(tmp_path_factory.mktemp("whole")))


def test_a_run_grows_a_tree_a_round(whole: Checkpoint) -> None:
    """Every tree splits, none has a leaf of few rows, and what validation says gets better from round to round."""
    grown = forest(whole)
    assert len(grown.trees) == 2
    assert all(len(tree) > 3 and tree.count.min() >= 200 for tree in grown.trees)
    assert whole.best is not None
    assert whole.best.number == 2
    assert whole.metrics["auc"] > 0.75


def test_secure_sums_give_the_same_trees(whole: Checkpoint, tmp_path: Path) -> None:
    """To the last bit: what is summed are whole numbers; and nobody is asked for anything but a secure sum."""
    course = run(tmp_path, secure=True)
    assert finished(course).arrays_sha256 == whole.arrays_sha256
    assert all(asked["kind"].startswith("query.secure_") for asked in course.pipe.asked)
    assert all(commit["guarantee"]["mode"] == "secure" for commit in course.pipe.commits)


def test_three_lenders_grow_the_trees_of_the_pooled_rows(tmp_path: Path) -> None:
    """With fine rounding, and nothing sampled: the same splits of the same rows, values as near as rounding is."""
    chosen = settings(rounds=2, bits=16, row_share=1.0, depth=2)
    kept = finished(run(tmp_path, chosen))
    prepared = Prepared.from_payload(kept.prepared)
    terms = terms_of(_task(chosen), CONTRACT, prepared, run_seed=chosen.run_seed)
    pooled = forest_of(prepared.encoding, grown_by(terms, TreeMember(terms, pooled_rows(), BOOKS["alder"]), 2))
    for tree, other in zip(forest(kept).trees, pooled.trees, strict=True):
        assert np.array_equal(tree.feature, other.feature)
        assert np.array_equal(tree.left, other.left)
        assert np.array_equal(tree.count, other.count)
        assert np.abs(tree.value - other.value).max() < 1e-3
        assert len(tree) == 7


def pooled_rows() -> MemberData:
    """Return the training rows of all lenders."""
    parts = [(BOOKS[name], ~validation.held_out(len(BOOKS[name].labels), 0.1)) for name in LENDERS]
    rows, labels = ([getattr(own, what)[part] for own, part in parts] for what in ("features", "labels"))
    return MemberData(np.concatenate(rows), np.concatenate(labels))


def _task(chosen: RunSettings) -> DefaultModelSettings:
    found = task_settings(chosen.task, chosen.task_settings)
    assert isinstance(found, DefaultModelSettings)
    return found


def grown_by(terms: Terms, member: TreeMember, trees: int) -> Arrays:
    """Return the forest that one member grows by itself."""
    arrays = initial_arrays(terms)
    for _ in range(trees):
        course = grow(terms, arrays)
        query = next(course)
        try:
            while True:
                query = course.send(member.level(query.kind.removeprefix("train."), query.arrays))
        except StopIteration as done:
            arrays = done.value
    return arrays


@pytest.mark.parametrize("secure", [False, True])
def test_a_worker_killed_at_any_level_ends_with_the_same_trees(whole: Checkpoint, tmp_path: Path, secure: bool) -> None:
    """Members too begin again with nothing but their rows; no level whose sum is known is asked again."""
    count, moment, last = 0, 0, None
    levels: list[tuple[int, str]] = []

    def kill(_member: str, asked: dict[str, Any]) -> str | None:
        nonlocal count
        levels.append((asked["round"], asked["kind"]))
        count += 1
        if count == moment:
            raise Killed
        return None

    # Lives of a few messages each: every level of every tree is somewhere killed or gone on from.
    for life in range(1, 200):
        count, moment = 0, 2 + life % 5 + (18 if secure else 0)
        course = run(tmp_path, spoil=kill, secure=secure)
        try:
            kept = finished(course, last)
        except Killed:
            last = course if course.pipe.commits else last
            continue
        break
    assert life > 4
    grown = [one for one in levels if one[1].startswith("train")]
    assert grown == sorted(grown)
    assert kept.arrays_sha256 == whole.arrays_sha256
    assert not list((tmp_path / "growth").iterdir())


@pytest.mark.parametrize("secure", [False, True])
def test_a_tree_is_cut_where_a_member_leaves(tmp_path: Path, secure: bool) -> None:
    """Also when it is back, and the worker has begun again; the next tree is grown by all."""

    def spoil(member: str, asked: dict[str, Any]) -> str | None:
        kind = inner_kind(tmp_path, member, asked)
        if asked["round"] == 2 and kind == "evaluate":
            raise Killed
        return "gone" if member == "birch" and asked["round"] == 2 and kind == "train.level_3" else None

    rounds = 2 if secure else 3
    killed = run(tmp_path, settings(rounds), spoil, secure=secure)
    with pytest.raises(Killed):
        finished(killed)
    course = run(tmp_path, settings(rounds), secure=secure)
    trees = forest(finished(course, killed)).trees
    assert [int(tree.levels().max()) for tree in trees] == [3, 2, 3][:rounds]
    assert [commit["missing"] for commit in killed.pipe.commits + course.pipe.commits] == [()] * rounds


def inner_kind(folder: Path, member: str, asked: dict[str, Any]) -> str | None:
    """Return what a member's client app is asked, also with a message of a secure sum."""
    if not is_secure(asked["kind"]):
        return str(asked["kind"])
    return asked_kind(decode((folder / "out" / asked["sha256"]).read_bytes()), member)


def test_a_first_level_without_a_quorum_is_asked_again(whole: Checkpoint, tmp_path: Path) -> None:
    """As often as the settings say; the tree is the same then."""
    left = {"alder": 1, "birch": 1}

    def spoil(member: str, asked: dict[str, Any]) -> str | None:
        if asked["kind"] != "train.level_1" or asked["round"] != 2 or not left.get(member):
            return None
        left[member] -= 1
        return "away"

    course = run(tmp_path, spoil=spoil)
    assert finished(course).arrays_sha256 == whole.arrays_sha256
    assert [commit["attempts"] for commit in course.pipe.commits] == [1, 2]
    never = run(tmp_path / "never", spoil=lambda _, asked: "away" if asked["kind"] == "train.level_1" else None)
    with pytest.raises(DeadlineError, match="round 1 missed its quorum"):
        finished(never)


@pytest.fixture(scope="module")
def asked(whole: Checkpoint) -> tuple[Terms, dict[str, NDArray[np.generic]]]:
    """What members are asked for the second level of the third tree, by a coordinator of one lender."""
    terms = terms_of(_task(settings()), CONTRACT, Prepared.from_payload(whole.prepared), run_seed=1)
    arrays = {name: values(array) for name, array in whole.arrays.items()}
    course = grow(terms, arrays)
    member = TreeMember(terms, pooled_rows(), BOOKS["birch"])
    query = course.send(member.level("level_1", next(course).arrays))
    assert query.kind == "train.level_2"
    assert member.level("level_2", query.arrays)["counts"].sum() > 0
    return terms, dict(query.arrays)


def _small_leaf(sent: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    counts = np.array(sent["request/tree/count"])
    counts[1], counts[2] = 150, counts[0] - 150
    return {"request/tree/count": counts}


HOSTILE: list[tuple[Callable[[dict[str, NDArray[np.generic]]], dict[str, Any]], type[Exception], str]] = [
    (_small_leaf, RefusedError, "at least 200 rows in every leaf"),
    (lambda sent: {"request/before": sent["request/before"] * 2}, RefusedError, "as the sum before says"),
    (lambda sent: {"request/before": sent["request/before"][:, 1:]}, RefusedError, "sum before of every leaf"),
    (lambda sent: {"request/before": sent["request/before"].astype(np.float64)}, CorruptError, "whole numbers"),
    (lambda _: {"request/number": np.array([1])}, ConflictError, "about tree 2"),
    (lambda sent: {"request/tree/left": sent["request/tree/left"].astype(np.int64)}, CorruptError, "of type uint8"),
    (lambda sent: {"forest/value": sent["forest/value"][1:]}, CorruptError, "one after the other"),
    (lambda sent: {"forest/feature": sent["forest/feature"] + 7}, CorruptError, "a tree"),
    (lambda sent: {"forest/base": sent["forest/base"] + 1}, RefusedError, "over the rows that were counted"),
    (lambda sent: {"forest/count": sent["forest/count"] // 10}, CorruptError, "as many rows in a node"),
    (lambda _: {"more": np.zeros(1)}, CorruptError, "something else as well"),
    (lambda sent: {"forest/more": sent["forest/value"]}, CorruptError, "a tree: expected the arrays"),
]


@pytest.mark.parametrize(("change", "error", "match"), HOSTILE)
def test_a_member_does_not_answer_what_is_not_a_level(
    asked: tuple[Terms, dict[str, NDArray[np.generic]]],
    change: Callable[[dict[str, NDArray[np.generic]]], dict[str, Any]],
    error: type[Exception],
    match: str,
) -> None:
    """Few rows in a leaf, other sums before, other types and shapes, other trees: nothing is said of any row."""
    terms, sent = asked
    member = TreeMember(terms, pooled_rows(), BOOKS["birch"])
    with pytest.raises(error, match=match):
        member.level("level_2", sent | change(sent))


def test_what_is_known_of_a_forest_is_compared_whole(asked: tuple[Terms, dict[str, NDArray[np.generic]]]) -> None:
    """A second question about trees that were read before may not bring anything else, nor may one without trees."""
    terms, sent = asked
    member = TreeMember(terms, pooled_rows(), BOOKS["birch"])
    first = member.level("level_2", sent)
    again = member.level("level_2", sent)
    assert all(np.array_equal(value, again[name]) for name, value in first.items())
    with pytest.raises(CorruptError, match="a tree: expected the arrays"):
        member.level("level_2", sent | {"forest/more": sent["forest/value"]})
    with pytest.raises(RefusedError, match="grown on"):
        member.level("level_2", sent | {"forest/value": np.asarray(sent["forest/value"], dtype=np.float64) * 2})
    with pytest.raises(CorruptError, match="one after the other"):
        member.held_out_log_odds(dict(initial_arrays(terms)) | {"more": np.zeros(0)})


def test_a_question_has_one_name(asked: tuple[Terms, dict[str, NDArray[np.generic]]]) -> None:
    """Under another one it could be put to other members, and what one of them adds would be the difference."""
    terms, sent = asked
    member = TreeMember(terms, pooled_rows(), BOOKS["birch"])
    for kind in ("level_1", "level_3"):
        with pytest.raises(RefusedError, match=f"leaves are of {kind}"):
            member.level(kind, sent)


def test_a_bundle_of_trees_is_scored(whole: Checkpoint, tmp_path: Path) -> None:
    """What a node scores is what the forest says; damaged trees, and an architecture of its own, are refused."""
    task = load_task("default_model")
    model = task.model(_task(settings()), whole.prepared, whole.done)
    assert model is not None
    said = sample_facts(CONTRACT, encoding=model.encoding, architecture=model.architecture, settings=model.settings)
    arrays = {name: values(array) for name, array in whole.arrays.items()}
    scorer = Scorer.from_bundle(read_bundle(sample_bundle(tmp_path / "a", facts=said, arrays=arrays), PUBLIC))
    scorer.require_fit(CONTRACT)
    rows = book(3000, seed=9).features
    assert np.abs(scorer.log_odds(rows) - forest(whole).log_odds(rows)).max() < 1e-12
    damaged: list[dict[str, NDArray[np.generic]]] = [
        {"left": arrays["left"][:, :1]},
        {"feature": arrays["feature"].astype(np.int64)},
    ]
    bundle = read_bundle(sample_bundle(tmp_path / "b", facts=said, arrays=arrays), PUBLIC)
    raw = lightgbm.Booster(model_str=lightgbm_of(bundle)).predict(rows, raw_score=True)
    assert np.abs(scorer.log_odds(rows) - raw).max() < 1e-12
    with pytest.raises(InvalidInputError, match='architecture "trees", got "mlp"'):
        lightgbm_of(read_bundle(sample_bundle(tmp_path / "c"), PUBLIC))
    for place, bad in enumerate(damaged):
        data = sample_bundle(tmp_path / f"bad-{place}", facts=said, arrays=arrays | bad)
        with pytest.raises(CorruptError, match="a tree: expected"):
            Scorer.from_bundle(read_bundle(data, PUBLIC))


def test_a_run_of_trees_has_more_rounds_than_others() -> None:
    """Where nobody says how many; what somebody says holds."""
    trees = {"task_settings": {"architecture": "trees"}}
    assert RunSettings.model_validate(trees).rounds == 200
    assert RunSettings.model_validate(trees | {"rounds": 7}).rounds == 7
    assert RunSettings.model_validate({}).rounds == 16
    assert RunSettings.model_validate({"task": "probe", "task_settings": {}}).rounds == 16
