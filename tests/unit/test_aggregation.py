"""The aggregation seam without secure aggregation: weighted means, and replies that cannot be used."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.learning.aggregation import WEIGHT, Expectation, total, weighted_mean
from jointrisk.learning.flower import Array, ArrayRecord, Message, MetricRecord, RecordDict, act_as

SENT = np.zeros((2, 3), dtype=np.float32)


def reply(value: float, weight: float = 1.0, **metrics: float) -> RecordDict:
    """Return a member's reply."""
    arrays = ArrayRecord({"w": Array(np.full((2, 3), value, dtype=np.float32))})
    record = MetricRecord({WEIGHT: weight})
    record.update(metrics)
    return RecordDict({"arrays": arrays, "metrics": record})


def loaders(*replies: RecordDict) -> list[Callable[[], RecordDict]]:
    """Return what loads each reply."""
    return [lambda one=one: one for one in replies]  # type: ignore[misc]


def expectation(kind: str = "train") -> Expectation:
    """Return what replies to a message with one array have to hold."""
    act_as("run")
    return Expectation.of(Message(RecordDict({"arrays": ArrayRecord({"w": Array(SENT)})}), 1, kind))


def test_mean_weighs_by_rows() -> None:
    """Arrays keep their type, metrics are means, the weight is the sum."""
    mean = weighted_mean(loaders(reply(1.0, 1, loss=4.0), reply(4.0, 2, loss=1.0)))
    array = mean.array_records["arrays"]["w"].numpy()
    assert array.dtype == np.float32
    assert np.array_equal(array, np.full((2, 3), 3.0, dtype=np.float32))
    assert dict(mean.metric_records["metrics"]) == {"loss": 2.0, WEIGHT: 3.0}


def test_mean_hardly_depends_on_the_order() -> None:
    """Sums run in float64 and are rounded once: float32 results are the same in any order, for values like these."""
    replies = [reply(value, weight) for value, weight in ((0.1, 7.0), (1e-4, 11.0), (-3.3, 13.0))]
    results = {
        weighted_mean(loaders(*order)).array_records["arrays"]["w"].numpy().tobytes()
        for order in itertools.permutations(replies)
    }
    assert len(results) == 1


def test_usable_reply_passes() -> None:
    """Training gives arrays and metrics back, evaluation metrics alone."""
    expectation().check(reply(1.0))
    expectation("evaluate").check(RecordDict({"metrics": MetricRecord({WEIGHT: 1})}))


def broken(**arrays: Array) -> RecordDict:
    """Return a reply with other arrays."""
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({WEIGHT: 1})})


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(broken(v=Array(SENT)), id="another name"),
        pytest.param(broken(w=Array(SENT.T.copy())), id="another shape"),
        pytest.param(broken(w=Array(SENT.astype(np.float64))), id="another type"),
        pytest.param(broken(w=Array(np.full((2, 3), np.nan, dtype=np.float32))), id="not a number"),
        pytest.param(broken(w=Array(np.full((2, 3), np.inf, dtype=np.float32))), id="infinite"),
        pytest.param(broken(w=Array("float32", (2, 3), "numpy.ndarray", b"rubbish")), id="rubbish"),
        pytest.param(broken(w=Array("float32", (2, 3), "pickle", b"rubbish")), id="another serialisation"),
        pytest.param(broken(), id="no arrays"),
        pytest.param(reply(1.0, 0.0), id="no weight"),
        pytest.param(reply(1.0, -1.0), id="negative weight"),
        pytest.param(reply(1.0, float("nan")), id="weight that is no number"),
        pytest.param(reply(1.0, 1e18), id="weight that drowns everybody"),
        pytest.param(RecordDict({"arrays": ArrayRecord({"w": Array(SENT)})}), id="no metrics"),
    ],
)
def test_reply_that_cannot_be_used_is_refused(case: RecordDict) -> None:
    """One member's rubbish counts as its failure and never reaches a sum."""
    with pytest.raises(InvalidInputError):
        expectation().check(case)


COUNTS = {"n": ((2,), "int64"), "loss": ((1,), "float64")}


def counted(first: int, second: int, loss: float, weight: float = 1.0) -> RecordDict:
    """Return a member's counts."""
    arrays = {"n": Array(np.array([first, second])), "loss": Array(np.array([loss]))}
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({WEIGHT: weight})})


def test_sum_adds_counts_whatever_the_weights() -> None:
    """Whole numbers stay whole, beyond what a double holds exactly; rows add up too."""
    summed = total(loaders(counted(2**53, 2, 0.5, 3.0), counted(1, 5, 0.25, 4.0)))
    arrays = summed.array_records["arrays"]
    assert arrays["n"].numpy().tolist() == [2**53 + 1, 7]
    assert arrays["n"].numpy().dtype == np.int64
    assert arrays["loss"].numpy().tolist() == [0.75]
    assert dict(summed.metric_records["metrics"]) == {WEIGHT: 7.0}


def test_sum_takes_counts_of_the_form_that_was_asked_for() -> None:
    """Also none at all."""
    Expectation(COUNTS, summands=True).check(counted(0, 3, 0.0))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(counted(-1, 3, 0.0), id="count below zero"),
        pytest.param(counted(1, 3, -0.5), id="loss below zero"),
        pytest.param(counted(1, 3, float("nan")), id="loss that is no number"),
        pytest.param(counted(2**62, 3, 0.0), id="count that overflows the sum"),
        pytest.param(counted(1, 3, 1e300), id="loss that drowns everybody"),
        pytest.param(reply(1.0), id="arrays of a model"),
    ],
)
def test_summand_that_cannot_be_used_is_refused(case: RecordDict) -> None:
    """One member cannot take away what others counted, nor make the total meaningless."""
    with pytest.raises(InvalidInputError):
        Expectation(COUNTS, summands=True).check(case)
