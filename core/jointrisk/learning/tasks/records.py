"""Flower's records as plain arrays and numbers, and back."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.learning.aggregation import WEIGHT
from jointrisk.learning.flower import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict, pack, values


def reply(message: Message, arrays: Mapping[str, NDArray[np.generic]], rows: int) -> Message:
    """Return a reply of arrays that stand for so many rows."""
    content = RecordDict({"arrays": record(arrays), "metrics": MetricRecord({WEIGHT: rows})})
    return Message(content, reply_to=message)


def record(arrays: Mapping[str, NDArray[np.generic]]) -> ArrayRecord:
    """Return arrays as Flower's record."""
    return ArrayRecord({name: pack(value) for name, value in arrays.items()})


def arrays_of(record: ArrayRecord) -> dict[str, NDArray[np.generic]]:
    """Return a record's arrays."""
    return {name: values(array) for name, array in record.items()}


def whole_number(config: ConfigRecord, name: str) -> int:
    """Return a whole number that comes with a message.

    Raises:
        InvalidInputError: there is none of that name.
    """
    value = config.get(name)
    if not isinstance(value, int):
        raise InvalidInputError(f"{name}: expected a whole number")
    return value


def bytes_of(config: ConfigRecord, name: str) -> bytes:
    """Return bytes that come with a message.

    Raises:
        InvalidInputError: there are none of that name.
    """
    value = config.get(name)
    if not isinstance(value, bytes):
        raise InvalidInputError(f"{name}: expected bytes")
    return value


def text_of(config: ConfigRecord, name: str) -> str:
    """Return a text that comes with a message.

    Raises:
        InvalidInputError: there is none of that name.
    """
    value = config.get(name)
    if not isinstance(value, str):
        raise InvalidInputError(f"{name}: expected a text")
    return value


def named(prefix: str, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Return arrays under a name of all of them: "PREFIX/NAME"."""
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def under(prefix: str, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays that :func:`named` put under a name."""
    head = f"{prefix}/"
    return {name.removeprefix(head): value for name, value in arrays.items() if name.startswith(head)}
