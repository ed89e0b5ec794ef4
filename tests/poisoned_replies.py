"""Replies to training and evaluation that no honest client app makes."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from jointrisk.learning.flower import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict, decode, encode

Poison = Callable[[bytes], bytes]
"""From what was asked to the reply, both serialised."""

_SOUND: dict[str, Any] = {"num-examples": 10}


def _metrics(values: Any = None) -> MetricRecord:
    return MetricRecord(values or _SOUND)


def sound(asked: bytes) -> bytes:
    """Return the arrays as they came."""
    return _with(asked, lambda arrays: arrays)


def _with(asked: bytes, change: Callable[[ArrayRecord], ArrayRecord], metrics: Any = None) -> bytes:
    arrays = next(iter(decode(asked).array_records.values()))
    return encode(RecordDict({"arrays": change(arrays), "metrics": _metrics(metrics)}))


def _values(change: Callable[[Any], Any]) -> Poison:
    return lambda asked: _with(asked, lambda a: ArrayRecord({n: Array(change(v.numpy())) for n, v in a.items()}))


def _data(change: Callable[[bytes], bytes]) -> Poison:
    """Return arrays that are announced as they were asked for and hold other bytes."""
    return lambda asked: _with(
        asked, lambda a: ArrayRecord({n: Array(v.dtype, v.shape, v.stype, change(v.data)) for n, v in a.items()})
    )


def _header(text: str) -> Poison:
    """Return arrays in numpy's format with this header."""
    raw = text.encode()
    return _data(lambda _: b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + bytes(64))


def _weight(value: Any) -> Poison:
    return lambda asked: _with(asked, lambda arrays: arrays, {"num-examples": value})


def _metric(values: dict[str, float]) -> Poison:
    return lambda asked: _with(asked, lambda arrays: arrays, _SOUND | values)


def _only_metrics(*records: MetricRecord) -> Poison:
    return lambda _: encode(RecordDict({f"metrics{number}": record for number, record in enumerate(records)}))


_HUGE_SHAPE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"
TRAINING: dict[str, Poison] = {
    "nothing": lambda _: b"",
    "noise": lambda _: random.Random(1).randbytes(5000),  # noqa: S311 - the same noise every time
    "cut": lambda asked: sound(asked)[:-7],
    "no weight": _only_metrics(MetricRecord({"loss": 1.0})),
    "no arrays": _only_metrics(_metrics()),
    "two metrics": _only_metrics(_metrics(), _metrics()),
    "weight 0": _weight(0),
    "weight below 0": _weight(-10),
    "weight NaN": _weight(math.nan),
    "weight infinite": _weight(math.inf),
    "weight of everybody": _weight(1e300),
    "weights": _weight([1.0, 2.0]),
    "a metric NaN": _metric({"loss": math.nan}),
    "a metric infinite": _metric({"loss": math.inf}),
    "many metrics": _metric({f"metric-{number}": 1.0 for number in range(20_000)}),
    "a metric named to draw on terminals": _metric({"\x1b[2J[/bold]": 1.0}),
    "NaN": _values(lambda v: v * np.float32(math.nan)),
    "infinite": _values(lambda v: v + np.float32(math.inf)),
    "another shape": _values(lambda v: v[:-1]),
    "another type": _values(lambda v: v.astype(np.float64)),
    "objects": _data(lambda _: _pickled()),
    "no numpy": _data(lambda _: b"no numpy"),
    "no bytes": _data(lambda _: b""),
    "fewer bytes": _data(lambda data: data[:-8]),
    "a shape of terabytes": _header(_HUGE_SHAPE),
    "a header that is no literal": _header("__import__('os').abort()\n"),
    "a header cut short": _header("{'descr': '<f4', "),
    "a deep header": _header("(" * 5000 + "\n"),
    "another name": lambda asked: _with(asked, lambda a: ArrayRecord({"else": next(iter(a.values()))})),
    "one more array": lambda asked: _with(
        asked, lambda a: ArrayRecord(dict(a.items()) | {"x": next(iter(a.values()))})
    ),
}
EVALUATION: dict[str, Poison] = {
    "arrays that nobody asked for": sound,
    "broken arrays that nobody asked for": TRAINING["no numpy"],
    "another shape that nobody asked for": TRAINING["another shape"],
    "weight NaN": TRAINING["weight NaN"],
    "a metric NaN": _only_metrics(_metrics(_SOUND | {"mean": math.nan})),
    "many metrics": _only_metrics(_metrics(_SOUND | {f"metric-{number}": 1.0 for number in range(20_000)})),
    "a name to draw on terminals": _only_metrics(_metrics(_SOUND | {"\x1b[2J[/bold]": 1.0})),
    "noise": TRAINING["noise"],
}


def train_task() -> bytes:
    """Return a sound training task of the probe."""
    arrays = ArrayRecord({"payload": Array(np.zeros(8, dtype=np.float32))})
    return encode(RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})}))


HOSTILE_TASKS: dict[str, Callable[[], bytes]] = {
    "noise": lambda: TRAINING["noise"](b""),
    "nothing": lambda: b"",
    "cut": lambda: train_task()[:-7],
    "objects": lambda: TRAINING["objects"](train_task()),
    "a shape of terabytes": lambda: TRAINING["a shape of terabytes"](train_task()),
    "a deep header": lambda: TRAINING["a deep header"](train_task()),
    "no round": lambda: TRAINING["one more array"](train_task()),
}
"""Training tasks that no honest coordinator sends."""


def _pickled() -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    return buffer.getvalue()
