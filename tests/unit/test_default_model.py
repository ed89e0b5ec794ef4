"""The default model at a lender: same bytes again, moments kept, schedule, proximal term, label shift, sums only."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract_sample import sample_contract
from jointrisk.errors import DataBreachError, InvalidInputError
from jointrisk.learning import validation
from jointrisk.learning.architectures import fitting, load_architecture
from jointrisk.learning.architectures.ensemble import Ensemble, Plan
from jointrisk.learning.architectures.fitting import Recipe
from jointrisk.learning.flower import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    RecordDict,
    act_as,
    encode,
    instruction,
    pack,
    values,
)
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.scoring import scorer_of
from jointrisk.learning.tasks import Assignment, Finished, MemberData, Query, task_settings
from jointrisk.learning.tasks.default_model import DefaultModel
from jointrisk.learning.tasks.lender import recipe_of
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk_coordinator.runs.settings import RunSettings

CONTRACT = sample_contract()
SMALL: dict[str, Any] = {"hidden": 8, "networks": 2, "steps": 5, "bins": 8, "label_shift": "off"}
MARK = np.float32(271828.1875)


def settings(**changed: Any) -> DefaultModelSettings:
    """Return settings of a small model, changed."""
    return DefaultModelSettings.model_validate(SMALL | changed)


def assignment(chosen: DefaultModelSettings, rows: int = 600, number: int = 2) -> Assignment:
    """Return a lender whose customers default more often the less they earn."""
    rng = np.random.default_rng(number)
    income = rng.lognormal(7, 1, rows)
    table = np.stack([income, rng.integers(0, 3, rows), rng.choice([3, 9], rows), rng.integers(0, 2, rows)], axis=1)
    labels = (rng.random(rows) < 1 / (1 + income / 800)).astype(np.uint8)
    features = table.astype(np.float32)
    features[3, 0] = MARK
    return Assignment(chosen, 5, number, CONTRACT, MemberData(features, labels))


class Lender:
    """A lender's app, called as its worker calls it."""

    def __init__(self, chosen: DefaultModelSettings, rows: int = 600, number: int = 2) -> None:
        act_as("run", number)
        self.number = number
        self.app = DefaultModel().client_app(assignment(chosen, rows, number))

    def ask(self, kind: str, content: RecordDict, state: RecordDict | None = None) -> tuple[Message, RecordDict]:
        """Return the reply, and the state after it."""
        context = Context(1, self.number, {}, RecordDict() if state is None else state, {})
        return self.app(instruction(content, kind, self.number, "id", "1"), context), context.state


def prepared(chosen: DefaultModelSettings) -> bytes:
    """Return what two lenders' counts come to, asked as the coordinator asks."""
    lenders = [Lender(chosen, number=number) for number in (1, 2)]
    course = DefaultModel().preparation(chosen, CONTRACT)
    try:
        query = next(course)
        while True:
            query = course.send(_summed(lenders, query))
    except StopIteration as done:
        return bytes(done.value)


def _summed(lenders: list[Lender], query: Query) -> Mapping[str, NDArray[np.generic]]:
    sent = RecordDict({"arrays": ArrayRecord({name: pack(value) for name, value in query.arrays.items()})})
    replies = [lender.ask(query.kind, sent)[0].content for lender in lenders]
    for reply in replies:
        assert MARK.tobytes() not in encode(reply)
        assert np.float64(MARK).tobytes() not in encode(reply)
    arrays = [reply.array_records["arrays"] for reply in replies]
    return {name: np.sum([values(one[name]) for one in arrays], axis=0) for name in query.form}


def beginning(chosen: DefaultModelSettings, outcome: bytes) -> RecordDict:
    """Return the arrays of the first round."""
    return RecordDict({"arrays": first_arrays(chosen, outcome)})


def first_arrays(chosen: DefaultModelSettings, outcome: bytes) -> ArrayRecord:
    """Return what the run's first stage starts from."""
    return DefaultModel().initial_arrays(chosen, CONTRACT, 5, outcome, chosen.architecture, {})


def round_of(
    chosen: DefaultModelSettings, outcome: bytes, number: int, begin: RecordDict, state: RecordDict, **config: float
) -> tuple[Message, RecordDict]:
    """Train one round with a fresh app, as after a restart; returns the reply and the state."""
    record = ConfigRecord({"server-round": number, "rounds": 4, "prepared": outcome, **config})
    record["stage"] = chosen.architecture
    content = RecordDict({"arrays": begin.array_records["arrays"], "config": record})
    return Lender(chosen).ask("train", content, RecordDict(dict(state)))


@pytest.mark.parametrize("architecture", ["mlp", "scorecard", "ga2m"])
def test_task_done_again_gives_the_same_bytes(architecture: str) -> None:
    """Same seeds, same state, same rows: also the second round, whose moments come from the first."""
    chosen = settings(architecture=architecture)
    outcome = prepared(chosen)
    assert prepared(chosen) == outcome
    begin = beginning(chosen, outcome)
    first, state = round_of(chosen, outcome, 1, begin, RecordDict())
    again, _ = round_of(chosen, outcome, 1, begin, RecordDict())
    assert encode(first.content) == encode(again.content)
    second, _ = round_of(chosen, outcome, 2, first.content, state)
    repeated, _ = round_of(chosen, outcome, 2, first.content, state)
    fresh, _ = round_of(chosen, outcome, 2, first.content, RecordDict())
    assert encode(second.content) == encode(repeated.content)
    assert encode(second.content) != encode(fresh.content)


@pytest.mark.parametrize(("architecture", "learning_rate"), [("mlp", 0.03), ("scorecard", 0.3), ("ga2m", 0.05)])
def test_rounds_learn(architecture: str, learning_rate: float) -> None:
    """After a few rounds the held-out rows are ranked as their labels say, by sums that the seam can check."""
    chosen = settings(architecture=architecture, learning_rate=learning_rate)
    outcome = prepared(chosen)
    content, state = beginning(chosen, outcome), RecordDict()
    for number in (1, 2, 3, 4):
        reply, state = round_of(chosen, outcome, number, content, state)
        content = reply.content
    record = ConfigRecord({"server-round": 4, "rounds": 4, "prepared": outcome, "stage": architecture})
    evaluated = RecordDict({"arrays": content.array_records["arrays"], "config": record})
    answer, _ = Lender(chosen).ask("evaluate", evaluated)
    sums = {name: values(array) for name, array in answer.content.array_records["arrays"].items()}
    assert {name: (array.shape, str(array.dtype)) for name, array in sums.items()} == validation.FORM
    metrics = DefaultModel().metrics(sums)
    assert metrics["auc"] > 0.65
    assert sums["histogram"].sum() == validation.held_out(600, 0.1).sum()


def test_proximal_term_holds_a_lender_near_the_round_s_arrays() -> None:
    """The larger its weight, the smaller the step away."""
    chosen = settings()
    outcome = prepared(chosen)
    begin = beginning(chosen, outcome)

    def distance(mu: float) -> float:
        reply, _ = round_of(chosen, outcome, 2, begin, RecordDict(), **{"proximal-mu": mu})
        after, before = reply.content.array_records["arrays"], begin.array_records["arrays"]
        return sum(float(np.square(np.subtract(values(after[name]), values(before[name]))).sum()) for name in before)

    assert distance(100.0) < distance(0.0)


def test_label_shift_trains_towards_the_common_bad_rate() -> None:
    """A lender's own bad rate is taken out of what it teaches the intercept."""
    plain = settings(architecture="scorecard")
    outcome = Prepared.from_payload(prepared(plain))
    rare = Prepared(outcome.encoding, outcome.goods + 100_000, outcome.bads).payload()
    begin = beginning(plain, rare)
    biases = [
        values(
            round_of(plain, rare, 2, begin, RecordDict(), **{"label-shift": shift})[0].content.array_records["arrays"][
                "seed0/0.bias"
            ]
        )[0]
        for shift in (0, 1)
    ]
    assert biases[1] < biases[0]


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    """A tenth of the run upwards, then a cosine."""
    recipe = Recipe(0.01, 0.0, 0.1, 50, 1)
    rates = [recipe.rate(done / 1000) for done in range(1, 1001)]
    assert max(rates) == pytest.approx(0.01)
    assert int(np.argmax(rates)) == 99
    assert np.all(np.diff(rates[99:]) < 0)
    assert rates[549] == pytest.approx(0.005, abs=1e-4)
    assert rates[-1] == pytest.approx(0, abs=1e-7)


def test_steps_are_as_many_whatever_the_rows() -> None:
    """Lenders of every size take the same number of steps: their changes of a round can be compared."""
    generator = np.random.default_rng(1)
    for rows in (50, 600, 69_124):
        batches = list(fitting._batches(rows, Recipe(0.01, 0.0, 0.1, 50, 1), generator))
        assert sorted(np.concatenate(batches)) == list(range(rows))
        assert 48 <= len(batches) <= 50


def test_dropout_leaves_out_its_share_and_keeps_the_level() -> None:
    """Three tenths of hidden units are 0 in a step and the others larger, so that the mean stays."""
    import torch

    ensemble = Ensemble(Plan(2, (8, 8), 0.3), {})
    dropped = ensemble._drop(torch.ones(1000, 100), np.random.default_rng(2)).numpy()
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1.0, abs=0.01)


def test_networks_begin_differently_and_the_same_every_time() -> None:
    """Their mean is worth more than one of them; the coordinator makes the same arrays after a restart."""
    chosen = settings()
    outcome = prepared(chosen)
    first = first_arrays(chosen, outcome)
    assert encode(RecordDict({"a": first})) == encode(RecordDict({"a": first_arrays(chosen, outcome)}))
    assert not np.array_equal(values(first["seed0/0.weight"]), values(first["seed1/0.weight"]))
    assert list(first) == [
        f"seed{n}/{layer}.{part}" for n in (0, 1) for layer in (0, 1, 2) for part in ("weight", "bias")
    ]


@pytest.mark.parametrize("architecture", ["mlp", "scorecard", "ga2m"])
def test_a_trained_model_scores_as_it_was_evaluated(architecture: str) -> None:
    """What a lender's app computes in torch is what a node computes of arrays and what is said of them."""
    chosen = settings(architecture=architecture, learning_rate=0.05)
    outcome = prepared(chosen)
    reply, _ = round_of(chosen, outcome, 2, beginning(chosen, outcome), RecordDict())
    trained = {name: values(array) for name, array in reply.content.array_records["arrays"].items()}
    done = {architecture: Finished(2, 2, {}, reply.content.array_records["arrays"])}
    model, known = DefaultModel().model(chosen, outcome, done), Prepared.from_payload(outcome)
    data = assignment(chosen).data
    assert data is not None
    part = fitting.Part(known.encoding, data.features, data.labels)
    ensemble = load_architecture(architecture).plan(chosen).ensemble(known.encoding, trained)
    expected = fitting.log_odds(ensemble, part)
    scorer = scorer_of(known.encoding, model.architecture, model.settings, trained)
    assert np.abs(scorer.log_odds(data.features) - expected).max() < 1e-4
    assert np.ptp(expected) > 0.1
    assert np.abs(scorer.contributions(data.features).log_odds - expected).max() < 2e-4


def test_pairs_begin_small_and_differently() -> None:
    """No effect of a feature alone, so that log odds begin near 0; places that differ, or pairs would never learn."""
    plan = load_architecture("ga2m").plan(settings(rank=4))
    arrays = plan.initial_arrays(30, 5)
    assert {name: value.shape for name, value in arrays.items()} == {
        f"seed{n}/{part}": shape
        for n in (0, 1)
        for part, shape in (("main.weight", (1, 30)), ("main.bias", (1,)), ("pairs.weight", (4, 30)))
    }
    assert not arrays["seed0/main.weight"].any()
    assert 0 < np.abs(arrays["seed0/pairs.weight"]).max() < 0.1
    assert not np.array_equal(arrays["seed0/pairs.weight"], arrays["seed1/pairs.weight"])
    assert all(np.array_equal(value, plan.initial_arrays(30, 5)[name]) for name, value in arrays.items())


def test_architectures_train_as_they_are_used_to() -> None:
    """Where nobody says how: rate, decay and steps are the architecture's own; what somebody says holds."""
    found = {}
    for name, said in (("mlp", {}), ("ga2m", {}), ("scorecard", {"steps": 7, "weight_decay": 0.5})):
        chosen = DefaultModelSettings.model_validate({"architecture": name, **said})
        recipe = recipe_of(chosen, name, 0.0)
        found[name] = (recipe.learning_rate, recipe.weight_decay, recipe.steps)
    own = load_architecture("ga2m")
    assert found["mlp"] == (0.002, 0.01, 50)
    assert found["ga2m"] == (own.learning_rate, own.weight_decay, own.steps)
    assert found["scorecard"] == (0.1, 0.5, 7)
    usual = RunSettings.model_validate({"task_settings": {"architecture": "ga2m"}})
    assert (usual.rounds, usual.patience) == (40, 20)


def test_model_says_what_its_arrays_are() -> None:
    """Encoding, networks, layers and the mean input: all that scores and reasons need beside the arrays."""
    chosen = settings()
    outcome = prepared(chosen)
    first = first_arrays(chosen, outcome)
    done = {"mlp": Finished(2, 2, {"log_loss": 0.5}, first), "mlp.all": Finished(2, 4, {}, first)}
    model = DefaultModel().model(chosen, outcome, done)
    known = Prepared.from_payload(outcome)
    assert model.encoding == known.encoding.model_dump(mode="json")
    said = {"networks": 2, "hidden": [8, 8], "average": "log odds", "held_out": 0.1, "means": list(known.means)}
    assert (model.architecture, model.settings, model.metrics, model.round) == ("mlp", said, {"log_loss": 0.5}, 2)
    assert set(model.arrays) == set(first) | {f"picked/{name}" for name in first}


def test_finer_bins_than_twenty_rows_are_refused() -> None:
    """A coordinator that asks for an edge or a word of a few customers is told no by every lender's own settings."""
    with pytest.raises(InvalidInputError, match="minimum_count"):
        task_settings("default_model", {"minimum_count": 19})


def test_lender_with_too_few_rows_to_hold_any_out_is_told() -> None:
    """A breach of the data, not a crash."""
    with pytest.raises(DataBreachError, match="hold some out, got 1"):
        DefaultModel().client_app(assignment_of_one_row())


def assignment_of_one_row() -> Assignment:
    """Return a lender with a single loan."""
    data = MemberData(np.zeros((1, 4), dtype=np.float32), np.zeros(1, dtype=np.uint8))
    return Assignment(settings(), 5, 2, CONTRACT, data)
