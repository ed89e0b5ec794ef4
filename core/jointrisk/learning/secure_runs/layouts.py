"""How replies become inputs of a secure sum, and sums become the one reply that stands for all.

A mean is of *updates*, trained minus sent, clipped to 8 either way: a model moves far less in a round, and 2^32 levels
of that range are 4e-9 apart. A sum is of counts of rows, and of sums of losses and probabilities in units of 2^-20.
Metrics are summed where the task says what range they have, and are not sent otherwise.
"""

import math
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.learning.aggregation import WEIGHT, Bounds, Expectation, Form, Ranges
from jointrisk.learning.flower import ArrayRecord, Message, MetricRecord, RecordDict, pack, values
from jointrisk.learning.secure_aggregation import Count, Input, Layout, Real, Sums
from jointrisk.learning.secure_runs.content import Asked

MOST_ROWS = 1 << 24
"""The greatest weight of a member's reply, and the greatest count in it."""
LARGEST_UPDATE = 8.0
LEVELS = 1 << 32
UNIT = 2.0**-20
LARGEST_SUMMAND = 1 << 50
"""In units of 2^-20: 2^30."""


def names_of(ranges: Ranges) -> tuple[str, ...]:
    """Return the metrics of a mean in the order of its layout."""
    return tuple(sorted(ranges))


def mean_layout(message: Message, ranges: Ranges) -> Layout:
    """Return the layout of updates and metrics, weighted by rows.

    Args:
        message: what members are asked; trained arrays come back in the form of those that it holds.
        ranges: least and greatest value of each metric.
    """
    updates = [
        Real(math.prod(shape), -LARGEST_UPDATE, LARGEST_UPDATE, LEVELS)
        for shape, _ in Expectation.of(message).arrays.values()
    ]
    metrics = [Real(1, *ranges[name], LEVELS) for name in names_of(ranges)]
    return Layout(tuple(updates + metrics) or (Real(0, 0.0, 1.0),), MOST_ROWS, weighted=True)


def sum_layout(form: Form, most: Bounds = MappingProxyType({})) -> Layout:
    """Return the layout of counts and losses: whole numbers of rows, and of units.

    Args:
        form: of the arrays.
        most: the greatest number of one member in arrays that do not count rows.

    Raises:
        InvalidInputError: an array is of another type.
    """
    return Layout(
        tuple(_summand(*said, most.get(name, MOST_ROWS)) for name, said in form.items()), MOST_ROWS, weighted=False
    )


def given(asked: Asked, reply: RecordDict) -> Input:
    """Return a member's input.

    Args:
        asked: what it was asked.
        reply: what its client app says.

    Raises:
        InvalidInputError: the reply is not of the form that was asked for.
    """
    metrics = next(iter(reply.metric_records.values()), MetricRecord())
    weight = metrics.get(WEIGHT)
    if not isinstance(weight, int | float) or not 1 <= weight <= MOST_ROWS or weight != int(weight):
        raise InvalidInputError(f'reply: expected a metric "{WEIGHT}", a whole number from 1 to 2^24')
    arrays = next(iter(reply.array_records.values()), ArrayRecord())
    if asked.how == "sum":
        return Input([_whole(values(arrays[name])) for name in _present(asked.names, arrays)], int(weight))
    sent = next(iter(asked.records.array_records.values()), ArrayRecord()) if asked.kind.startswith("train") else {}
    updates = [_update(values(arrays[name]), values(sent[name])) for name in _present(tuple(sent), arrays)]
    return Input([*updates, *_figures(asked.names, metrics)] or [np.zeros(0)], int(weight))


def mean_reply(message: Message, ranges: Ranges, sums: Sums) -> RecordDict:
    """Return the reply that stands for all: what was sent and the mean update, and the mean metrics."""
    expected = Expectation.of(message).arrays
    means = iter(sums.values)
    record = RecordDict()
    if expected:
        sent = next(iter(message.content.array_records.values()))
        record["arrays"] = ArrayRecord({name: pack(_moved(values(sent[name]), next(means))) for name in expected})
    metrics = {name: float(next(means)[0]) for name in names_of(ranges)}
    record["metrics"] = MetricRecord({**metrics, WEIGHT: float(sums.weight)})
    return record


def sum_reply(form: Form, sums: Sums) -> RecordDict:
    """Return the reply that stands for all: the sums in their own types."""
    arrays = {
        name: pack(_summed(value, shape, dtype))
        for (name, (shape, dtype)), value in zip(form.items(), sums.values, strict=True)
    }
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({WEIGHT: float(sums.weight)})})


def _summand(shape: Sequence[int], dtype: str, most: int) -> Count:
    if dtype not in {"int64", "float64"}:
        raise InvalidInputError(f"expected arrays of int64 or float64 to sum, got {dtype}")
    return Count(math.prod(shape), most if dtype == "int64" else LARGEST_SUMMAND)


def _whole(array: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return counts as they are, and other numbers in units; too large ones the layout refuses."""
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    scaled = array.astype(np.float64) / UNIT
    if scaled.size and not (np.isfinite(scaled).all() and 0 <= scaled.min() <= scaled.max() <= LARGEST_SUMMAND):
        raise InvalidInputError("reply: expected finite numbers from 0 to 2^30, got others")
    return np.rint(scaled).astype(np.int64)


def _update(trained: NDArray[np.generic], sent: NDArray[np.generic]) -> NDArray[np.float64]:
    if trained.shape != sent.shape:
        raise InvalidInputError("reply: expected arrays of the shapes that were sent")
    return np.asarray(np.subtract(trained, sent, dtype=np.float64))


def _moved(sent: NDArray[np.generic], mean: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.asarray(np.add(sent, mean.reshape(sent.shape), dtype=np.float64).astype(sent.dtype))


def _summed(value: NDArray[np.generic], shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    whole = value.reshape(shape)
    return whole.astype(np.int64) if dtype == "int64" else whole.astype(np.float64) * UNIT


def _present(names: tuple[str, ...], arrays: ArrayRecord) -> tuple[str, ...]:
    if set(names) != set(arrays):
        raise InvalidInputError("reply: expected the arrays that were asked for, got others")
    return names


def _figures(names: tuple[str, ...], metrics: MetricRecord) -> list[NDArray[np.float64]]:
    figures = [metrics.get(name) for name in names]
    if not all(isinstance(figure, int | float) for figure in figures):
        raise InvalidInputError("reply: expected every metric that the task declares, got fewer")
    return [np.array([figure], dtype=np.float64) for figure in figures]
