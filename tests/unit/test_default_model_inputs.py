"""The default model's parts that can be checked alone: inputs, held-out rows, AUC, the lender's own moments."""

from pathlib import Path

import numpy as np
import pytest

from jointrisk.errors import DataBreachError
from jointrisk.federation.contract import Feature, FeatureContract, Range, Reason, Target
from jointrisk.learning.flower import ConfigRecord, Context, Message, RecordDict, act_as, encode, instruction
from jointrisk.learning.tasks import Assignment, MemberData
from jointrisk.learning.tasks.default_model import DefaultModel, auc
from jointrisk.learning.tasks.inputs import encode_rows, held_out, width
from jointrisk.learning.tasks.settings import DefaultModelSettings

NAN = float("nan")


def feature(name: str, kind: str, **changed: object) -> Feature:
    """Return a feature with ordinary terms."""
    fields = {
        "name": name,
        "kind": kind,
        "unit": "years" if kind == "numeric" else "",
        "missing": "allowed",
        "direction": "none",
        "sensitive": False,
        "changeable_by_customer": False,
        "group": "all",
        "as_of": "now",
        "reason": Reason(en="reason", zh="原因"),
    }
    return Feature.model_validate(fields | changed)


CONTRACT = FeatureContract(
    title="test",
    minimum_rows=1,
    target=Target(definition="bad", observation_window="1 years", performance_window="1 years", label_column="y"),
    features=(
        feature("age", "numeric", range=Range(low=0.0, high=100.0), missing="refused"),
        feature("income", "numeric"),
        feature("owner", "flag"),
        feature("purpose", "category", categories=("car", "house")),
        feature("employer", "category"),
    ),
)


def test_every_kind_of_feature_becomes_bounded_inputs() -> None:
    """Numbers: place and squashed copies; flags: themselves; categories: one input a word; and what is missing."""
    rows = np.array([[50, -2, 1, 1, 7], [0, NAN, NAN, NAN, NAN]], dtype=np.float32)
    inputs = encode_rows(CONTRACT, rows)
    expected = [
        [0.5, np.tanh(50), np.arcsinh(50) / 4, np.tanh(-2), np.arcsinh(-2) / 4, 0, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1],
    ]
    assert np.allclose(inputs, np.array(expected))
    assert inputs.dtype == np.float32
    assert width(CONTRACT) == inputs.shape[1]


def test_codes_of_an_open_vocabulary_change_nothing() -> None:
    """They are the lender's own and mean nothing to others."""
    rows = np.array([[1, 1, 1, 1, 3], [1, 1, 1, 1, 900]], dtype=np.float32)
    first, second = encode_rows(CONTRACT, rows)
    assert np.array_equal(first, second)


def test_held_out_rows_are_a_fixed_share_that_grows_with_the_book() -> None:
    """About the share asked for; a row's part doesn't change when rows are added."""
    part = held_out(100_000, 0.2)
    assert abs(part.mean() - 0.2) < 0.005
    assert np.array_equal(held_out(1000, 0.2), part[:1000])
    assert abs(np.corrcoef(part[1:], part[:-1])[0, 1]) < 0.02


def test_auc_counts_pairs() -> None:
    """Against the definition: the share of good-bad pairs in the right order, ties half."""
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 8, 200).astype(np.float32)
    labels = rng.integers(0, 2, 200).astype(np.float32)
    bad, good = scores[labels > 0][:, None], scores[labels == 0][None, :]
    assert auc(scores, labels) == pytest.approx(((bad > good) + 0.5 * (bad == good)).mean())
    assert auc(scores, np.ones_like(labels)) == 0.5


def assignment(rows: int = 400) -> Assignment:
    """Return a lender whose label follows from age."""
    rng = np.random.default_rng(2)
    features = rng.uniform(0, 1, (rows, 5)).astype(np.float32)
    features[:, 0] *= 100
    data = MemberData(features, (features[:, 0] > 60).astype(np.uint8))
    return Assignment(DefaultModelSettings(batch_rows=50), 5, 2, CONTRACT, data)


def round_of(number: int, content: RecordDict, state: RecordDict, **config: float) -> tuple[Message, RecordDict]:
    """Train one round with a fresh app, as after a restart; returns the reply and the state."""
    act_as("run", 2)
    app = DefaultModel().client_app(assignment())
    content = RecordDict({**content, "config": ConfigRecord({"server-round": number, **config})})
    context = Context(1, 2, {}, state, {})
    return app(instruction(content, "train", 2, "id", str(number)), context), context.state


@pytest.fixture
def beginning() -> RecordDict:
    """What the first round sends."""
    return RecordDict({"arrays": DefaultModel().initial_arrays(DefaultModelSettings(), CONTRACT, 5)})


def test_task_done_again_gives_the_same_bytes(beginning: RecordDict) -> None:
    """Same seeds, same state, same rows: also the second round, whose moments come from the first."""
    first, state = round_of(1, beginning, RecordDict())
    again, _ = round_of(1, beginning, RecordDict())
    assert encode(first.content) == encode(again.content)
    second, _ = round_of(2, first.content, RecordDict(dict(state)))
    repeated, _ = round_of(2, first.content, RecordDict(dict(state)))
    fresh, _ = round_of(2, first.content, RecordDict())
    assert encode(second.content) == encode(repeated.content)
    assert encode(second.content) != encode(fresh.content)


def test_proximal_term_holds_a_lender_near_the_round_s_arrays(beginning: RecordDict) -> None:
    """The larger its weight, the smaller the step away."""

    def distance(mu: float) -> float:
        reply, _ = round_of(1, beginning, RecordDict(), **{"proximal-mu": mu})
        after, before = reply.content.array_records["arrays"], beginning.array_records["arrays"]
        return sum(float(np.square(after[name].numpy() - before[name].numpy()).sum()) for name in before)

    assert distance(10.0) < distance(0.0)


def test_lender_with_too_few_rows_to_hold_any_out_is_told(tmp_path: Path) -> None:
    """A breach of the data, not a crash."""
    with pytest.raises(DataBreachError, match="hold some out, got 1"):
        DefaultModel().client_app(assignment(rows=1))
