"""The aggregation seam: messages to members in, one reply that stands for all of them out.

Nobody behind it sees a single member's reply, only the mean (of trained arrays) or the sum (of counts and losses), so
that what happens behind :class:`Aggregation` can be replaced by a protocol in which nobody sees it. The seam therefore
owns the sending.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.learning.flower import ArrayRecord, Message, MetricRecord, RecordDict, pack, values
from jointrisk.learning.guarantee import Guarantee

WEIGHT = "num-examples"
"""The metric that says how much a reply weighs: how many rows it stands for."""
_HEAVIEST = 1e12
_MOST_METRICS = 200
_METRIC = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LARGEST_SUMMAND = 1e15
_BLOCK = 1 << 17

Form = Mapping[str, tuple[tuple[int, ...], str]]
"""Names of arrays, their shapes and types."""
Bounds = Mapping[str, int]
"""Names of summed arrays of whole numbers, and the greatest number that one member may have there."""
Ranges = Mapping[str, tuple[float, float]]
"""Names of metrics, and the least and the greatest value that they are averaged with."""
Check = Callable[[str, RecordDict], None]
"""Given a member and its reply, raises a JointriskError when the reply cannot be used."""


@dataclass(frozen=True)
class Collected:
    """What a cohort said to one message each.

    Attributes:
        enough: whether the quorum was met.
        replies: loads each usable reply, in the order of the members' numbers.
        members: whose replies they are, in that order.
        failures: member to why there is no usable reply of it; members that did not answer in time are in it too.
    """

    enough: bool
    replies: Sequence[Callable[[], RecordDict]]
    members: tuple[str, ...]
    failures: Mapping[str, str]


class Cohort(Protocol):
    """The members of a run, as the seam reaches them."""

    @property
    def round(self) -> int:
        """The round that the next messages belong to, 0 before the first."""

    @property
    def numbers(self) -> Mapping[str, int]:
        """The members' numbers."""

    def collect(
        self, messages: Sequence[Message], check: Check, *, quorum: int | None = None, label: str = ""
    ) -> Collected:
        """Send one message to each member and wait as long as the run's rules say.

        Args:
            messages: in the order of the members' numbers.
            check: a reply for which it raises counts as a failure.
            quorum: how many usable replies are enough; the run's rules say so otherwise.
            label: what the messages belong to, where that outlives attempts: the same message under the same label is
                the same task. Otherwise round, attempt and kind say that.
        """


@dataclass(frozen=True)
class Aggregate:
    """What became of one message to each member.

    Attributes:
        reply: the weighted mean, or the sum, of all usable replies; None when the quorum was missed.
        members: whose replies are in it.
        missing: those asked whose are not.
        failures: member to why.
        guarantee: what protected the members' replies.
    """

    reply: Message | None
    members: tuple[str, ...]
    missing: tuple[str, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    guarantee: Guarantee = field(default_factory=Guarantee)


class Aggregation(Protocol):
    """How replies become one."""

    def mean(self, cohort: Cohort, messages: Sequence[Message], ranges: Ranges) -> Aggregate:
        """Ask every member and return the weighted mean of arrays and metrics as one reply.

        Args:
            cohort: the members.
            messages: one for each.
            ranges: of the task's metrics; a secure sum has no others, and clips them.
        """

    def sum(
        self,
        cohort: Cohort,
        messages: Sequence[Message],
        form: Form,
        most: Bounds = MappingProxyType({}),
        *,
        whole: bool = False,
    ) -> Aggregate:
        """Ask every member and return the sum of arrays as one reply.

        Args:
            cohort: the members.
            messages: one for each.
            form: what a reply holds; arrays of int64 or float64, no value below zero.
            most: of arrays that do not count rows; a secure sum has room for as much.
            whole: there is no reply unless everybody's part is in it. A secure sum then takes one exchange, under keys
                that are agreed on once for many sums of the same members.
        """

    def forget(self, number: int) -> None:
        """Delete what was kept of the rounds up to this one: it is complete."""


class PlainAggregation:
    """The coordinator sees every reply and computes the mean itself."""

    def mean(self, cohort: Cohort, messages: Sequence[Message], ranges: Ranges) -> Aggregate:
        """See :class:`Aggregation`. All metrics are averaged.

        Summed in the order of the members' numbers: same replies, same bits.
        """
        del ranges
        return _aggregate(cohort, messages, Expectation.of(messages[0]), weighted_mean)

    def sum(
        self,
        cohort: Cohort,
        messages: Sequence[Message],
        form: Form,
        most: Bounds = MappingProxyType({}),
        *,
        whole: bool = False,
    ) -> Aggregate:
        """See :class:`Aggregation`. Summed in the order of the members' numbers, as means are."""
        del most
        quorum = len(messages) if whole else None
        return _aggregate(cohort, messages, Expectation(form, summands=True), total, quorum)

    def forget(self, number: int) -> None:
        """Nothing is kept."""


def _aggregate(
    cohort: Cohort,
    messages: Sequence[Message],
    expectation: "Expectation",
    combine: Callable[[Sequence[Callable[[], RecordDict]]], RecordDict],
    quorum: int | None = None,
) -> Aggregate:
    collected = cohort.collect(messages, lambda _, reply: expectation.check(reply), quorum=quorum)
    reply = Message(combine(collected.replies), reply_to=messages[0]) if collected.enough else None
    return Aggregate(reply, collected.members, tuple(sorted(collected.failures)), collected.failures)


@dataclass(frozen=True)
class Expectation:
    """What a usable reply holds: for training arrays of the names, shapes and types that were sent, always metrics.

    Attributes:
        arrays: name to shape and type; empty when no arrays are expected back.
        summands: whether the arrays are counts and the like: nothing below zero, nothing that drowns the others.
    """

    arrays: Form
    summands: bool = False

    @classmethod
    def of(cls, message: Message) -> "Expectation":
        """Return what a reply to ``message`` has to hold."""
        if not message.metadata.message_type.startswith("train"):
            return cls({})
        sent = next(iter(message.content.array_records.values()), ArrayRecord())
        return cls({name: (tuple(array.shape), array.dtype) for name, array in sent.items()})

    def check(self, reply: RecordDict) -> None:
        """Return when a member's reply can be used.

        Raises:
            InvalidInputError: it cannot; says what was expected.
        """
        _weight(reply)
        arrays = _arrays(reply)
        if {name: (tuple(array.shape), array.dtype) for name, array in arrays.items()} != self.arrays:
            raise InvalidInputError("reply: expected arrays of the names, shapes and types that were asked for")
        for name, (shape, dtype) in self.arrays.items():
            value = values(arrays[name])
            if value.shape != shape or str(value.dtype) != dtype or not np.isfinite(value).all():
                raise InvalidInputError("reply: expected arrays of finite numbers, as announced")
            if self.summands and value.size and (value.min() < 0 or value.max() > _LARGEST_SUMMAND):
                raise InvalidInputError("reply: expected counts and losses, none below zero")


def total(replies: Sequence[Callable[[], RecordDict]]) -> RecordDict:
    """Return the sum of arrays, in their own types, and of ``num-examples``, in the order given.

    Args:
        replies: load one reply each, all of the same form.
    """
    sums: dict[str, NDArray[np.generic]] = {}
    rows = 0.0
    for load in replies:
        reply = load()
        rows += _weight(reply)
        for name, array in _arrays(reply).items():
            value = values(array)
            sums[name] = np.add(sums[name], value) if name in sums else value
    arrays = ArrayRecord({name: pack(value) for name, value in sums.items()})
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({WEIGHT: rows})})


def weighted_mean(replies: Sequence[Callable[[], RecordDict]]) -> RecordDict:
    """Return the mean of arrays and metrics, each reply weighing its ``num-examples``.

    Sums run in float64 in the order given and are rounded once, to the arrays' own types.

    Args:
        replies: load one reply each, all of the same form.
    """
    arrays: dict[str, NDArray[np.float64]] = {}
    types: dict[str, str] = {}
    metrics: dict[str, float] = {}
    total = 0.0
    for load in replies:
        reply = load()
        weight = _weight(reply)
        total += weight
        for name, array in _arrays(reply).items():
            types[name] = array.dtype
            _add(arrays, name, values(array), weight)
        for name, value in _metrics(reply).items():
            metrics[name] = metrics.get(name, 0.0) + weight * value
    return _record(arrays, types, metrics, total)


def _record(
    arrays: dict[str, NDArray[np.float64]], types: dict[str, str], metrics: dict[str, float], total: float
) -> RecordDict:
    means = {name: pack(_divided(value, total, types[name])) for name, value in arrays.items()}
    mean_metrics = MetricRecord({name: value / total for name, value in metrics.items()})
    mean_metrics[WEIGHT] = total
    record = RecordDict({"metrics": mean_metrics})
    if means:
        record["arrays"] = ArrayRecord(means)
    return record


def _add(sums: dict[str, NDArray[np.float64]], name: str, value: NDArray[np.generic], weight: float) -> None:
    """Add in blocks that stay in the processor's cache: whole products of a large model would not."""
    if name not in sums:
        sums[name] = np.zeros(value.shape, dtype=np.float64)
    total, addend = sums[name].reshape(-1), value.reshape(-1)
    for begin in range(0, len(total), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        total[block] += np.multiply(addend[block], weight, dtype=np.float64)


def _divided(sums: NDArray[np.float64], total: float, dtype: str) -> NDArray[np.generic]:
    mean: NDArray[np.generic] = np.empty(sums.shape, dtype=dtype)
    numerators, quotients = sums.reshape(-1), mean.reshape(-1)
    for begin in range(0, len(numerators), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        quotients[block] = numerators[block] / total
    return mean


def _arrays(reply: RecordDict) -> ArrayRecord:
    records = list(reply.array_records.values())
    if len(records) > 1:
        raise InvalidInputError(f"reply: expected one record of arrays, got {len(records)}")
    return records[0] if records else ArrayRecord()


def _metrics(reply: RecordDict) -> dict[str, float]:
    records = list(reply.metric_records.values())
    if len(records) != 1:
        raise InvalidInputError(f"reply: expected one record of metrics, got {len(records)}")
    if len(records[0]) > _MOST_METRICS or not all(map(_METRIC.fullmatch, records[0])):
        raise InvalidInputError(f"reply: expected at most {_MOST_METRICS} metrics, named by letters, digits and _-.")
    single = {name: float(value) for name, value in records[0].items() if not isinstance(value, list)}
    if not all(map(math.isfinite, single.values())):
        raise InvalidInputError("reply: expected metrics that are finite numbers")
    return {name: value for name, value in single.items() if name != WEIGHT}


def _weight(reply: RecordDict) -> float:
    _metrics(reply)
    value = next(iter(reply.metric_records.values())).get(WEIGHT)
    if not isinstance(value, int | float) or not 0 < value <= _HEAVIEST:
        raise InvalidInputError(f'reply: expected a metric "{WEIGHT}" above 0 and at most {_HEAVIEST:g}')
    return float(value)
