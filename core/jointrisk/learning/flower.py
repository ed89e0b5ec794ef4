"""The one module that touches Flower. Everything else takes Flower's names from here.

Only Flower's records, messages, ``ClientApp`` and strategies are used; transport, processes and the round loop are ours
(docs/adr). Two of its internals are needed and kept in here: ``TaskIdentity``, the process-wide "who am I" that every
``Message`` reads when it is made, and the conversion of records to bytes.

One process serves one run, so the process-wide identity is set once.
"""

import hashlib
import logging
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import Array as ArrayProto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx, Strategy
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

import jointrisk.learning  # noqa: F401 - turns Flower's telemetry off before the imports below
from jointrisk.errors import InvalidInputError

__all__ = [
    "Array",
    "ArrayRecord",
    "ClientApp",
    "ConfigRecord",
    "Context",
    "Error",
    "FedAdam",
    "FedAvg",
    "FedProx",
    "Grid",
    "Message",
    "MetricRecord",
    "RecordDict",
    "Run",
    "Strategy",
    "act_as",
    "decode",
    "encode",
    "instruction",
    "pack",
    "run_number",
    "values",
]

_NUMPY = "numpy.ndarray"
_SEVEN_BITS = 1 << 7

COORDINATOR_NUMBER = 0x7FFF_FFFF
"""The node id that the coordinator has in Flower's messages. Members are numbered from 1."""

# Flower logs each configure and aggregate step at INFO with a handler of its own; our daemons say it once, themselves.
logging.getLogger("flwr").setLevel(logging.WARNING)


def run_number(run_id: str) -> int:
    """Return the number that stands for a run in Flower's messages: 63 bits, the same at every party."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], "big") >> 1


def act_as(run_id: str, number: int = COORDINATOR_NUMBER) -> None:
    """Say who this process is, before it makes its first message.

    Args:
        run_id: the one run that this process serves.
        number: the member's number in the run; the coordinator's by default.
    """
    TaskIdentity.run_id = run_number(run_id)
    TaskIdentity.node_id = number
    TaskIdentity.task_id = 1


def instruction(content: RecordDict, kind: str, number: int, message_id: str, group: str) -> Message:
    """Return the message that a client app is called with.

    Args:
        content: the records.
        kind: "train", "evaluate", "query", or one of them with an action, "query.histograms".
        number: the member's number in the run.
        message_id: the wire's message id.
        group: what Flower calls the group id: the round.
    """
    message = Message(content=content, message_type=kind, dst_node_id=number, group_id=group)
    message.metadata.__dict__["_message_id"] = message_id
    message.metadata.__dict__["_src_node_id"] = COORDINATOR_NUMBER
    return message


def encode(content: RecordDict) -> bytes:
    """Return records as bytes, the same bytes for the same records: Flower's ``RecordDict`` message.

    Arrays are put into the message by hand. Protobuf would copy each of them at every level of nesting, which for a
    model of 200 MB takes ten times as long and 800 MB.
    """
    return b"".join(part for name, record in content.items() for part in _item(name, record))


def pack(content: NDArray[np.generic]) -> Array:
    """Return values as Flower's array, the same bytes as ``Array(values)`` with one copy instead of three."""
    head = BytesIO()
    contiguous = np.asarray(content, order="C")
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(contiguous))
    data = b"".join([head.getvalue(), contiguous.reshape(-1).view(np.uint8).data])
    return Array(str(contiguous.dtype), contiguous.shape, _NUMPY, data)


def values(array: Array) -> NDArray[np.generic]:
    """Return an array's values without copying them; they cannot be written to.

    Raises:
        InvalidInputError: the array is not in numpy's format.
    """
    if array.stype != _NUMPY:
        raise InvalidInputError("array: expected numpy's format")
    try:
        return _view(array.data)
    except Exception as error:  # the parser's errors are many, and the bytes come from a peer
        raise InvalidInputError("array: expected numpy's format") from error


def decode(content: bytes) -> RecordDict:
    """Return the records that :func:`encode` wrote.

    Raises:
        InvalidInputError: the bytes are something else.
    """
    try:
        return recorddict_from_proto(RecordDictProto.FromString(content))
    except Exception as error:  # as above
        raise InvalidInputError(
            f"expected serialised Flower records, got {len(content)} bytes of something else"
        ) from error


def _item(name: str, record: ArrayRecord | MetricRecord | ConfigRecord) -> Sequence[bytes]:
    """Return one ``RecordDict.items`` entry, in pieces."""
    if not isinstance(record, ArrayRecord):
        return [recorddict_to_proto(RecordDict({name: record})).SerializeToString(deterministic=True)]
    arrays = [part for key, array in record.items() for part in _field(1, [*_text(1, key), *_array(array)])]
    return _field(1, [*_text(1, name), *_field(2, arrays)])


def _array(array: Array) -> list[bytes]:
    """Return ``ArrayRecord.Item.value``, in pieces; the data is the last field and is not copied."""
    head = ArrayProto(dtype=array.dtype, shape=array.shape, stype=array.stype).SerializeToString(deterministic=True)
    return _field(2, [head, *_field(4, [array.data])])


def _field(number: int, parts: Sequence[bytes]) -> list[bytes]:
    """Return a length-delimited protobuf field: its tag, its length, its content."""
    return [bytes([number << 3 | 2]) + _varint(sum(map(len, parts))), *parts]


def _text(number: int, text: str) -> list[bytes]:
    return _field(number, [text.encode()]) if text else []  # as proto3 leaves out what is empty


def _varint(value: int) -> bytes:
    groups = []
    while value >= _SEVEN_BITS:
        groups.append(value % _SEVEN_BITS | _SEVEN_BITS)
        value //= _SEVEN_BITS
    return bytes([*groups, value])


def _view(data: bytes) -> NDArray[np.generic]:
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("objects are never read")
    count = int(np.prod(shape, dtype=np.int64))
    flat = np.frombuffer(data, dtype=dtype, count=count, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")
