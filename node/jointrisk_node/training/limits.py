"""What this node lets a coordinator ask of it, whatever the coordinator's Welcome says."""

import re
from dataclasses import dataclass

from jointrisk import PROTOCOL_MAX, PROTOCOL_MIN
from jointrisk.errors import InvalidInputError, RefusedError, VersionMismatchError
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.transfer import Header, check_run_id
from jointrisk_node.training.spool import TaskSpool

LARGEST_MESSAGE = (1 << 31) - 1
LARGEST_OFFER = 1 << 20
_CHUNKS = range(1024, (8 << 20) + 1)
_HEARTBEATS_MS = range(50, 3_600_000)
_MOST_TASKS = 200
_MOST_RUNS = 1000

_KIND = re.compile(r"(?:train|evaluate|query)(?:\.[a-z_][a-z0-9_]{0,39})?|offer")


@dataclass(frozen=True)
class Limits:
    """A coordinator's Welcome, as far as this node goes along with it.

    Attributes:
        lease_seconds: how long the coordinator may be silent.
        heartbeat_seconds: how often this node says that it is there.
        chunk_bytes: largest piece of a message in one frame.
        message_bytes: largest message.
    """

    lease_seconds: float
    heartbeat_seconds: float
    chunk_bytes: int
    message_bytes: int

    @classmethod
    def of(cls, welcome: pb.Welcome) -> "Limits":
        """Return the limits of a stream.

        Raises:
            VersionMismatchError: this node does not speak the version that the coordinator has chosen.
            InvalidInputError: no node could keep to such limits.
        """
        if not PROTOCOL_MIN <= welcome.protocol_version <= PROTOCOL_MAX:
            raise VersionMismatchError(
                f"the coordinator answers in protocol version {welcome.protocol_version}, "
                f"offered were {PROTOCOL_MIN} to {PROTOCOL_MAX}",
                remedy="Install matching versions of jointrisk on both sides.",
            )
        if welcome.heartbeat_ms not in _HEARTBEATS_MS or welcome.lease_ms < 2 * welcome.heartbeat_ms:
            raise InvalidInputError(
                f"welcome: expected a lease of two heartbeats, got {welcome.lease_ms} and {welcome.heartbeat_ms} ms"
            )
        if welcome.chunk_bytes not in _CHUNKS:
            raise InvalidInputError(f"welcome: expected chunks of 1 KiB to 8 MiB, got {welcome.chunk_bytes} bytes")
        return cls(
            welcome.lease_ms / 1000,
            welcome.heartbeat_ms / 1000,
            welcome.chunk_bytes,
            min(welcome.max_message_bytes, LARGEST_MESSAGE),
        )

    def header(self, frame: pb.Task) -> Header:
        """Return what a task is bound to.

        Raises:
            InvalidInputError: an id, the kind or the digest are malformed.
            TooLargeError: the content is over the limit.
        """
        check_run_id(frame.run_id)
        if not _KIND.fullmatch(frame.kind):
            raise InvalidInputError("task: expected the kind offer, train, evaluate or query")
        limit = min(self.message_bytes, LARGEST_OFFER) if frame.kind == "offer" else self.message_bytes
        return Header.checked(frame.message_id, frame.total_bytes, frame.sha256, limit)


def require_wanted(spool: TaskSpool, run_id: str, kind: str, *, begun: int) -> None:
    """Return when a new task may be received: before a byte of it is stored.

    Args:
        spool: what lies here.
        run_id: the task's run.
        kind: the task's kind.
        begun: tasks of which only the beginning lies here.

    Raises:
        RefusedError: its run has not been accepted here, or too much lies here already.
    """
    if kind != "offer" and not spool.accepted(run_id):
        raise RefusedError("this node has not accepted the run", remedy="Start a new run.")
    if len(spool.held()) + begun >= _MOST_TASKS:
        raise RefusedError(f"this node holds {_MOST_TASKS} tasks that have not ended")
    if not spool.run_folder(run_id).exists() and len(spool.runs()) >= _MOST_RUNS:
        raise RefusedError(f"this node keeps {_MOST_RUNS} runs that have not ended")
