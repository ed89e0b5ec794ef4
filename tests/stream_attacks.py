"""Ways in which a member can break the rules of its training stream, frame by frame."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attack_arena import CHUNK, LARGEST, Bait
from hostile_node import HostileStream
from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    JointriskError,
    RefusedError,
    TooLargeError,
    VersionMismatchError,
)
from jointrisk.rpc.v1 import training_pb2 as pb

HUGE = 2**64 - 1
UNKNOWN = "0" * 64
PATH = "../../etc/x"
EMPTY = pb.NodeFrame()
BEAT = pb.NodeFrame(heartbeat=pb.Heartbeat())


@dataclass(frozen=True)
class Scene:
    """What an attack has to work with: its stream, an open task of its own, and one of another member."""

    stream: HostileStream
    bait: Bait
    others: Bait

    @property
    def name(self) -> str:
        """The name that the attacker's certificate has."""
        return self.stream.node.name


@dataclass(frozen=True)
class Attack:
    """One way to break the rules.

    Attributes:
        name: what is done.
        error: what the coordinator says to it.
        says: words of its message.
        frames: what is sent after the Welcome, or instead of everything when ``greeted`` is false.
        greeted: whether Hello and Welcome come first.
    """

    name: str
    error: type[JointriskError]
    says: str
    frames: Callable[[Scene], list[pb.NodeFrame | bytes]]
    greeted: bool = True


def chunk(scene: Scene, offset: int, data: bytes, message_id: str = "") -> pb.NodeFrame:
    """Return a chunk of the reply to the attacker's own task, or of another message."""
    return pb.NodeFrame(chunk=pb.Chunk(message_id=message_id or scene.bait.message_id, offset=offset, data=data))


def failure(scene: Scene, **changed: Any) -> pb.NodeFrame:
    """Return a failure of the attacker's own task, or one with other fields."""
    fields: dict[str, Any] = {
        "message_id": scene.bait.message_id,
        "member_id": scene.name,
        "code": "refused",
        "reason": "no",
    }
    return pb.NodeFrame(failure=pb.Failure(**(fields | changed)))


def reply(scene: Scene, content: bytes = b"{}", **changed: Any) -> pb.NodeFrame:
    """Return a reply to the attacker's own task, or one with other fields."""
    return scene.bait.reply(content, **{"member_id": scene.name, **changed})


def hello(scene: Scene, **changed: Any) -> list[pb.NodeFrame | bytes]:
    """Return a greeting with other fields."""
    return [scene.stream.node.hello(**changed)]


FIRST_FRAMES = [
    Attack("heartbeat before hello", InvalidInputError, "expected hello first", lambda _: [BEAT], greeted=False),
    Attack("reply before hello", InvalidInputError, "expected hello first", lambda s: [reply(s)], greeted=False),
    Attack("empty frame first", InvalidInputError, "expected hello first", lambda _: [EMPTY], greeted=False),
    Attack(
        "bytes that are no frame first", InvalidInputError, "nothing readable", lambda _: [b"\xff" * 99], greeted=False
    ),
    Attack(
        "a later protocol",
        VersionMismatchError,
        "speaks protocol versions 7 to 9",
        lambda s: hello(s, protocol_min=7, protocol_max=9),
        greeted=False,
    ),
    Attack(
        "protocol 0",
        VersionMismatchError,
        "speaks protocol version 0",
        lambda s: hello(s, protocol_min=0, protocol_max=0),
        greeted=False,
    ),
    Attack(
        "a protocol range upside down",
        VersionMismatchError,
        "speaks protocol",
        lambda s: hello(s, protocol_min=2**32 - 1, protocol_max=1),
        greeted=False,
    ),
    Attack(
        "hello in another name", RefusedError, "certificate is", lambda s: hello(s, member_id="honest"), greeted=False
    ),
    Attack("hello in no name", RefusedError, "certificate is", lambda s: hello(s, member_id=""), greeted=False),
    Attack("a path among held tasks", InvalidInputError, "message id", lambda s: hello(s, held=[PATH]), greeted=False),
    Attack(
        "a path among partial tasks",
        InvalidInputError,
        "message id",
        lambda s: hello(s, partial=[pb.Progress(message_id=PATH, received_bytes=HUGE)]),
        greeted=False,
    ),
    Attack("a path among runs", InvalidInputError, "run id", lambda s: hello(s, runs=[PATH]), greeted=False),
    Attack(
        "a greeting of megabytes",
        TooLargeError,
        "frame: expected at most",
        lambda s: hello(s, held=[f"{n:064x}" for n in range(150_000)]),
        greeted=False,
    ),
]
LATER_FRAMES = [
    Attack("a second hello", InvalidInputError, "got hello", hello),
    Attack("bytes that are no frame", InvalidInputError, "nothing readable", lambda _: [b"\xff" * 99]),
    Attack("an empty frame", InvalidInputError, "nothing readable", lambda _: [EMPTY]),
    Attack(
        "text that is not UTF-8", InvalidInputError, "nothing readable", lambda _: [b"\x2a\x06\x0a\x04\xff\xfe\xfd\xfc"]
    ),
    Attack("a frame of 12 MiB", TooLargeError, "frame: expected at most", lambda s: [chunk(s, 0, bytes(12 << 20))]),
]
IMPERSONATIONS = [
    Attack("reply in another name", RefusedError, "certificate is", lambda s: [reply(s, member_id="honest")]),
    Attack("failure in another name", RefusedError, "certificate is", lambda s: [failure(s, member_id="honest")]),
    Attack(
        "reply to another's task", RefusedError, "not been asked", lambda s: [reply(s, message_id=s.others.message_id)]
    ),
    Attack(
        "failure of another's task",
        RefusedError,
        "not been asked",
        lambda s: [failure(s, message_id=s.others.message_id)],
    ),
    Attack(
        "receipt for another's task",
        RefusedError,
        "not been asked",
        lambda s: [pb.NodeFrame(receipt=pb.Receipt(message_id=s.others.message_id))],
    ),
    Attack(
        "chunk of another's reply", RefusedError, "not been asked", lambda s: [chunk(s, 0, b"x", s.others.message_id)]
    ),
]
REPLIES = [
    Attack("reply to nothing", RefusedError, "not been asked", lambda s: [reply(s, message_id=UNKNOWN)]),
    Attack("failure of nothing", RefusedError, "not been asked", lambda s: [failure(s, message_id=UNKNOWN)]),
    Attack(
        "receipt for nothing",
        RefusedError,
        "not been asked",
        lambda _: [pb.NodeFrame(receipt=pb.Receipt(message_id=UNKNOWN))],
    ),
    Attack("path in a reply", InvalidInputError, "64 hex digits", lambda s: [reply(s, message_id=PATH)]),
    Attack("path in a failure", InvalidInputError, "64 hex digits", lambda s: [failure(s, message_id=PATH)]),
    Attack(
        "path in a receipt",
        InvalidInputError,
        "64 hex digits",
        lambda _: [pb.NodeFrame(receipt=pb.Receipt(message_id=PATH))],
    ),
    Attack("path in a chunk", InvalidInputError, "64 hex digits", lambda s: [chunk(s, 0, b"x", PATH)]),
    Attack(
        "other bytes than announced",
        CorruptError,
        "SHA-256",
        lambda s: [reply(s, sha256=hashlib.sha256(b"x").digest())],
    ),
    Attack("a digest of 31 bytes", InvalidInputError, "32 bytes", lambda s: [reply(s, sha256=bytes(31))]),
    Attack(
        "a message over the limit", TooLargeError, f"at most {LARGEST}", lambda s: [reply(s, total_bytes=LARGEST + 1)]
    ),
    Attack("a message of 2^64-1 bytes", TooLargeError, f"at most {LARGEST}", lambda s: [reply(s, total_bytes=HUGE)]),
    Attack("a chunk over the limit", TooLargeError, f"at most {CHUNK}", lambda s: [reply(s, bytes(CHUNK + 1))]),
    Attack(
        "a beginning that is none",
        InvalidInputError,
        "expected offset 0, got 5",
        lambda s: [reply(s, total_bytes=7, offset=5)],
    ),
    Attack("an offset of 2^64-1", InvalidInputError, "expected offset 0", lambda s: [reply(s, offset=HUGE)]),
    Attack(
        "a chunk that overlaps",
        InvalidInputError,
        "expected offset 2, got 1",
        lambda s: [reply(s, total_bytes=9), chunk(s, 1, b"x")],
    ),
    Attack(
        "a chunk left out",
        InvalidInputError,
        "expected offset 2, got 3",
        lambda s: [reply(s, total_bytes=9), chunk(s, 3, b"x")],
    ),
    Attack("more than announced", TooLargeError, "more came", lambda s: [reply(s, total_bytes=3), chunk(s, 2, b"xy")]),
    Attack("a chunk of nothing begun", InvalidInputError, "begins the message first", lambda s: [chunk(s, 0, b"x")]),
    Attack(
        "two contents begun under one id",
        ConflictError,
        "other content",
        lambda s: [reply(s, total_bytes=9), reply(s, total_bytes=9, sha256=bytes(32))],
    ),
]
ATTACKS = [*FIRST_FRAMES, *LATER_FRAMES, *IMPERSONATIONS, *REPLIES]
