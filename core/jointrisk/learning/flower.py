"""The one module that touches Flower. Everything else takes Flower's names from here.

Only Flower's records, messages, ``ClientApp`` and strategies are used; transport, processes and the round loop are ours
(docs/adr). Two of its internals are needed and kept in here: ``TaskIdentity``, the process-wide "who am I" that every
``Message`` reads when it is made, and the conversion of records to bytes.

One process serves one run, so the process-wide identity is set once.
"""

import hashlib
import logging

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
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx, Strategy
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from google.protobuf.message import DecodeError

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
    "run_number",
]

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
    """Return records as bytes, the same bytes for the same records."""
    return recorddict_to_proto(content).SerializeToString(deterministic=True)


def decode(content: bytes) -> RecordDict:
    """Return the records that :func:`encode` wrote.

    Raises:
        InvalidInputError: the bytes are something else.
    """
    try:
        return recorddict_from_proto(RecordDictProto.FromString(content))
    except (DecodeError, ValueError, TypeError) as error:
        raise InvalidInputError(
            f"expected serialised Flower records, got {len(content)} bytes of something else"
        ) from error
