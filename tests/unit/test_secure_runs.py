"""Secure sums behind the aggregation seam: what they give, and what happens when parties go or die at any step."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointrisk.errors import DeadlineError, RefusedError
from jointrisk.learning.aggregation import WEIGHT, Aggregate, weighted_mean
from jointrisk.learning.flower import ArrayRecord, Message, MetricRecord, RecordDict, pack
from jointrisk.learning.secure_aggregation import Kind, Mode, SeriesAggregator, Terms
from jointrisk.learning.secure_runs import Asked, layouts, wire_kind
from jointrisk.learning.secure_runs.content import read_reply, request_content
from jointrisk_coordinator.runs.notebook import FolderNotebook
from secure_members import PLAIN, RUN, CohortAtHand, KilledError, arrays_of, secure

STEPS = ("keys", "shares", "masked", "sign", "release")
LOSS = {"loss": (0.0, 10.0)}
FIVE = ("alder", "birch", "cedar", "dogwood", "elm")


def members(names: tuple[str, ...], seed: int = 0) -> dict[str, Callable[[Message], RecordDict]]:
    """Return client apps: each moves the arrays that it is sent, or counts, the same whenever it is asked."""

    def app(place: int) -> Callable[[Message], RecordDict]:
        def answer(asked: Message) -> RecordDict:
            generator = np.random.default_rng([seed, place])
            rows = int(generator.integers(1, 5000))
            metrics = MetricRecord({WEIGHT: rows, "loss": float(generator.random())})
            if asked.metadata.message_type == "train":
                sent = asked.content.array_records["arrays"]
                moved = {
                    name: pack((array.numpy() + generator.normal(0, 0.3, array.shape)).astype(array.dtype))
                    for name, array in sent.items()
                }
                return RecordDict({"arrays": ArrayRecord(moved), "metrics": metrics})
            counts = generator.integers(0, 5000, (2, 7)).astype(np.int64)
            sums = {"counts": pack(counts), "losses": pack(generator.random(3) * 5000)}
            return RecordDict({"arrays": ArrayRecord(sums), "metrics": metrics})

        return answer

    return {name: app(place) for place, name in enumerate(names)}


FORM = {"counts": ((2, 7), "int64"), "losses": ((3,), "float64")}


def asked(cohort: CohortAtHand, kind: str = "train") -> list[Message]:
    """Return one message to each member."""
    arrays: dict[str, np.ndarray] = {
        "w": np.ones((3, 4), dtype=np.float32),
        "b": np.zeros(5, dtype=np.float64),
        "none": np.zeros((0, 2)),
    }
    content = RecordDict({"arrays": ArrayRecord({name: pack(value) for name, value in arrays.items()})})
    return [Message(content, number, kind) for number in cohort.numbers.values()]


def trained(cohort: CohortAtHand, folder: Path) -> Aggregate:
    """Return the mean update over the seam."""
    return secure(cohort, folder).mean(cohort, asked(cohort), LOSS)


def plainly(cohort: CohortAtHand, those: tuple[str, ...]) -> RecordDict:
    """Return the plain mean of those members."""
    numbers = {cohort.numbers[name] for name in those}
    messages = [message for message in asked(cohort) if message.metadata.dst_node_id in numbers]
    cohort.fault = lambda _who, _kind: ""
    collected = cohort.collect(messages, lambda *_: None)
    return weighted_mean(collected.replies)


def assert_same(found: Aggregate, expected: RecordDict) -> None:
    """Compare to the fixed point's step."""
    assert found.reply is not None, found.failures
    content = found.reply.content
    for name, array in arrays_of(expected).items():
        got = arrays_of(content)[name]
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert np.allclose(got, array, rtol=0, atol=3e-7), name
    metrics = dict(expected.metric_records["metrics"])
    told = dict(content.metric_records["metrics"])
    assert told.keys() == metrics.keys()
    assert all(abs(told[name] - metrics[name]) < 1e-6 for name in metrics)  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(6))
def test_the_mean_is_the_plain_mean(tmp_path: Path, seed: int) -> None:
    """For 3 to 8 members of any weights: arrays of all types, of no size too, and the metrics that are declared."""
    names = tuple(f"member-{number}" for number in range(3 + seed))
    cohort = CohortAtHand(tmp_path, members(names, seed))
    found = trained(cohort, tmp_path / "run")
    assert found.members == names
    assert_same(found, plainly(cohort, names))


def test_the_sum_is_the_plain_sum(tmp_path: Path) -> None:
    """Counts exactly, losses to 2^-20 for each member."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    messages = asked(cohort, "evaluate")
    found = secure(cohort, tmp_path / "run").sum(cohort, messages, FORM)
    expected = PLAIN.sum(cohort, messages, FORM)
    assert found.reply is not None
    assert expected.reply is not None
    got, want = arrays_of(found.reply.content), arrays_of(expected.reply.content)
    assert np.array_equal(got["counts"], want["counts"])
    assert np.abs(got["losses"] - want["losses"]).max() <= 5 * layouts.UNIT
    weights = [dict(one.reply.content.metric_records["metrics"])[WEIGHT] for one in (found, expected)]  # type: ignore[union-attr]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("how", ["lost", "late"])
@pytest.mark.parametrize("step", STEPS)
def test_who_drops_out_at_any_step_is_left_out(tmp_path: Path, step: str, how: str) -> None:
    """Before its input is in, the others' mean goes on without it; afterwards, with its input and without it."""
    cohort = CohortAtHand(
        tmp_path, members(FIVE), fault=lambda who, kind: how if (who, kind) == ("birch", f"query.secure_{step}") else ""
    )
    found = trained(cohort, tmp_path / "run")
    gone = step in {"keys", "shares", "masked"}
    left = tuple(name for name in FIVE if name != "birch") if gone else FIVE
    assert found.members == left
    assert found.guarantee.dropped == ({"birch": step} if gone else {})
    assert found.guarantee.silent == (() if gone else ("birch",))
    assert_same(found, plainly(cohort, left))


@pytest.mark.parametrize("step", STEPS)
def test_a_member_that_is_killed_answers_the_same_again(tmp_path: Path, step: str) -> None:
    """Its process dies when the answer is stored; the next one sends the very bytes."""
    cohort = CohortAtHand(
        tmp_path, members(FIVE), fault=lambda _who, kind: "killed" if kind == f"query.secure_{step}" else ""
    )
    found = trained(cohort, tmp_path / "run")
    assert found.members == FIVE
    assert_same(found, plainly(cohort, FIVE))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_coordinator_that_is_killed_goes_on_with_the_same_session(tmp_path: Path, step: str, when: str) -> None:
    """Whether nobody or everybody has heard the request: members are asked the same again, byte for byte."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    _kill_at(cohort, step, when)
    with pytest.raises(KilledError):
        trained(cohort, tmp_path / "run")
    found = trained(cohort, tmp_path / "run")
    assert found.members == FIVE
    note = FolderNotebook(tmp_path / "run").read(1, "train")
    assert note is not None
    assert note.terms.attempt == 1
    assert_same(found, plainly(cohort, FIVE))


def test_a_sum_that_is_known_is_not_asked_for_again(tmp_path: Path) -> None:
    """A round whose evaluation is redone has its training's sum already: members would refuse to give it twice."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    first = trained(cohort, tmp_path / "run")
    count = len(cohort.asked)
    again = trained(cohort, tmp_path / "run")
    assert len(cohort.asked) == count
    assert first.reply is not None
    assert again.reply is not None
    assert np.array_equal(arrays_of(first.reply.content)["w"], arrays_of(again.reply.content)["w"])
    assert (again.members, again.guarantee) == (first.members, first.guarantee)


@pytest.mark.parametrize("step", ["keys", "shares", "masked"])
def test_with_too_few_the_attempt_is_given_up_and_the_next_has_fresh_keys(tmp_path: Path, step: str) -> None:
    """Nothing is unmasked; whoever is missing is named; the next attempt gives the mean of all."""
    gone = {"birch", "cedar"}
    cohort = CohortAtHand(
        tmp_path, members(FIVE), fault=lambda who, kind: "lost" if who in gone and kind.endswith(step) else ""
    )
    missed = trained(cohort, tmp_path / "run")
    assert missed.reply is None
    assert set(missed.missing) == gone
    gone.clear()
    found = trained(cohort, tmp_path / "run")
    note = FolderNotebook(tmp_path / "run").read(1, "train")
    assert note is not None
    assert note.terms.attempt == 2
    assert_same(found, plainly(cohort, FIVE))


@pytest.mark.parametrize("step", ["sign", "release"])
def test_after_signing_there_is_no_other_attempt(tmp_path: Path, step: str) -> None:
    """Too few come back: the sum stays masked, the run says so; when they come back, it goes on."""
    away = {"birch", "cedar"}
    cohort = CohortAtHand(
        tmp_path, members(FIVE), fault=lambda who, kind: "lost" if who in away and kind.endswith(step) else ""
    )
    with pytest.raises(DeadlineError, match="birch: no answer in time"):
        trained(cohort, tmp_path / "run")
    away.clear()
    assert_same(trained(cohort, tmp_path / "run"), plainly(cohort, FIVE))


def test_a_member_that_comes_back_while_survivors_sign_is_waited_for(tmp_path: Path) -> None:
    """Who is missing is asked again, a few times."""
    away = {"birch": 2, "cedar": 2}

    def fault(who: str, kind: str) -> str:
        if kind.endswith("sign") and away.get(who, 0):
            away[who] -= 1
            return "lost"
        return ""

    cohort = CohortAtHand(tmp_path, members(FIVE), fault=fault)
    assert_same(trained(cohort, tmp_path / "run"), plainly(cohort, FIVE))


def test_the_same_question_is_not_answered_for_others(tmp_path: Path) -> None:
    """Another run, one member fewer, the same model and rows: nobody signs, and the reason names the rule."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    assert trained(cohort, tmp_path / "run").reply is not None
    cohort.fault = lambda who, _kind: "lost" if who == "elm" else ""
    cohort.round = 2
    with pytest.raises(DeadlineError, match="one-cohort"):
        trained(cohort, tmp_path / "other")
    cohort.round = 3
    for ledger in cohort.ledgers.values():
        ledger.cohorts = 2
    assert trained(cohort, tmp_path / "third").members == FIVE[:4]


def test_metrics_that_the_task_does_not_declare_are_refused(tmp_path: Path) -> None:
    """A coordinator that asks for another metric gets nothing."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    ranges = {"num-defaults": (0.0, 1.0)}
    refused = secure(cohort, tmp_path / "run").mean(cohort, asked(cohort), ranges)
    assert refused.reply is None
    assert "expected metrics that the task declares" in refused.failures["alder"]


def test_everything_of_a_round_goes_when_it_is_complete(tmp_path: Path) -> None:
    """Notes and sums of the round, not of the next."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    seam = secure(cohort, tmp_path / "run")
    seam.mean(cohort, asked(cohort), LOSS)
    cohort.round = 2
    cohort.fault = lambda _who, kind: "lost" if kind.endswith("shares") else ""
    seam.mean(cohort, asked(cohort), LOSS)
    seam.forget(1)
    assert [path.name for path in (tmp_path / "run" / "secure").iterdir()] == ["000002-train.note"]


def test_different_questions_to_members_are_no_secure_sum(tmp_path: Path) -> None:
    """Masks are for one request."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    messages = asked(cohort)
    other = RecordDict({"arrays": ArrayRecord({"w": pack(np.zeros(2))})})
    messages[1] = Message(other, messages[1].metadata.dst_node_id, "train")
    with pytest.raises(RefusedError, match="the same question"):
        secure(cohort, tmp_path / "run").mean(cohort, messages, LOSS)


@pytest.mark.parametrize("seed", range(8))
def test_random_courses_end_right_or_not_at_all(tmp_path: Path, seed: int) -> None:
    """Members lost, late and killed, workers killed, at random: every sum that comes out is that of its members."""
    chance = random.Random(seed)  # noqa: S311 - faults, no secrets
    faults: Mapping[str, float] = {"": 0.85, "lost": 0.05, "late": 0.05, "killed": 0.05}

    def fault(_who: str, _kind: str) -> str:
        if chance.random() < 0.01:
            raise KilledError
        return chance.choices(list(faults), list(faults.values()))[0]

    cohort = CohortAtHand(tmp_path, members(FIVE, seed))
    found: Aggregate | None = None
    for _ in range(60):
        cohort.fault = fault
        try:
            found = trained(cohort, tmp_path / "run")
        except (KilledError, DeadlineError):
            continue
        if found.reply is not None:
            break
    assert found is not None
    assert_same(found, plainly(cohort, found.members))


def _kill_at(cohort: CohortAtHand, step: str, when: str) -> None:
    collect, killed = cohort.collect, [False]

    def dying(messages: Any, *arguments: Any, **options: Any) -> Any:
        here = messages[0].metadata.message_type == f"query.secure_{step}" and not killed[0]
        if here and when == "before":
            killed[0] = True
            raise KilledError
        done = collect(messages, *arguments, **options)
        if here:
            killed[0] = True
            raise KilledError
        return done

    cohort.collect = dying  # type: ignore[method-assign]


def test_a_member_answers_a_series_over_rounds_and_restarts(tmp_path: Path) -> None:
    """One message a sum, with fresh processes for each; rounds of other sums in between end nothing."""
    cohort = CohortAtHand(tmp_path, members(FIVE))
    sitting = cohort.sitting()
    terms = Terms(
        mode=Mode.SERIES, session=bytes(16), federation="test", run=RUN, round=0, attempt=1, statistic="levels",
        contract_version=1, colluders=2, threshold=4, minimum=4,
        members=tuple((name, sitting.identities[name]) for name in FIVE),
    )  # fmt: skip
    aggregator = SeriesAggregator(terms)
    for _ in range(2):
        _step(cohort, aggregator, None)
        aggregator.advance()
    for number in range(1, 4):
        messages = asked(cohort, "evaluate")
        question = Asked("evaluate", "sum", tuple(FORM), messages[0].content)
        aggregator.ask(number, question.digest(), layouts.sum_layout(FORM))
        _step(cohort, aggregator, question)
        found = layouts.sum_reply(FORM, aggregator.outcome().sums)
        expected = PLAIN.sum(cohort, messages, FORM)
        assert expected.reply is not None
        assert np.array_equal(arrays_of(found)["counts"], arrays_of(expected.reply.content)["counts"])
        cohort.round = number
        assert trained(cohort, tmp_path / "run").reply is not None


def _step(cohort: CohortAtHand, aggregator: SeriesAggregator, question: Asked | None) -> None:
    """Ask everybody in a step of a series."""
    content = request_content(aggregator.requests(), question)
    messages = [Message(content, number, wire_kind(aggregator.kind)) for number in cohort.numbers.values()]
    done = cohort.collect(messages, lambda name, reply: aggregator.take(name, read_reply(reply)))
    assert not done.failures


def test_what_a_curious_coordinator_keeps_holds_no_members_part(tmp_path: Path) -> None:
    """After the sum, in notes and replies: nobody's rows, update or loss, in any of the forms in which they went in."""
    heard: list[bytes] = []
    cohort = CohortAtHand(tmp_path, members(FIVE))
    collect = cohort.collect

    def listening(messages: Any, check: Any, **options: Any) -> Any:
        def hear(name: str, reply: RecordDict) -> None:
            heard.append(read_reply(reply))
            check(name, reply)

        return collect(messages, hear, **options)

    cohort.collect = listening  # type: ignore[method-assign]
    assert trained(cohort, tmp_path / "run").reply is not None
    kept = b"".join([*heard, *(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())])
    message = asked(cohort)[0]
    for name, app in members(FIVE).items():
        given = layouts.given(Asked("train", "mean", ("loss",), message.content), app(message))
        words = layouts.mean_layout(message, LOSS).quantised(given, 5, bytes)
        masked = [reply[-words.nbytes :] for reply in heard if reply[1] == Kind.MASKED + 128]
        assert len(masked) == len(FIVE)
        for reply in masked:
            apart = np.frombuffer(reply, dtype=np.uint64) - words.astype(np.uint64)  # unmasked, a rounding or none
            assert not (np.minimum(apart, np.uint64(0) - apart) <= given.weight).any(), name
        needles = [np.asarray(value).reshape(-1)[:2].tobytes() for value in given.values if value.size > 1]
        assert needles
        assert not any(needle in kept for needle in needles), name
