"""What a member with a valid certificate tries on its training stream, over real sockets: refused, and on record."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from jointrisk.errors import (
    ConflictError,
    CorruptError,
    InvalidInputError,
    JointriskError,
    RefusedError,
    TooLargeError,
    VersionMismatchError,
)
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.transfer import Header, message_id
from jointrisk_coordinator.runs.tickets import Answer, Order
from rounds import Office, World, until

EXCHANGE = "/jointrisk.v1.TrainingService/Exchange"
REPLY = b"reply"


class Attack:
    """A coordinator with one run and open tasks for alder and birch; alder is the attacker."""

    def __init__(self, world: World, office: Office) -> None:
        self.world = world
        self.office = office
        self.pair = world.authority.pair("alder")
        self.answers: list[Answer] = []
        office.hub.attach("run", self.answers.append)
        out = office.hub.runs_folder / "run" / "out"
        out.mkdir()
        (out / "content").write_bytes(b"task")
        digest = hashlib.sha256(b"task").digest()
        self.ids = {name: message_id("run", 1, 1, "train", name) for name in ("alder", "birch")}
        for name, identity in self.ids.items():
            header = Header(identity, 4, digest)
            office.hub.ask([Order("run", name, 1, 0, "train", header, out / "content", 0)])

    def hello(self, **changed: Any) -> bytes:
        """Return the first frame."""
        fields: dict[str, Any] = {"protocol_min": 1, "protocol_max": 1, "member_id": "alder"} | changed
        return pb.NodeFrame(hello=pb.Hello(**fields)).SerializeToString()

    def reply(self, **changed: Any) -> bytes:
        """Return a reply in one frame."""
        fields: dict[str, Any] = {
            "message_id": self.ids["alder"],
            "member_id": "alder",
            "total_bytes": len(REPLY),
            "sha256": hashlib.sha256(REPLY).digest(),
            "data": REPLY,
        } | changed
        return pb.NodeFrame(reply=pb.Reply(**fields)).SerializeToString()

    async def send(self, *frames: bytes) -> JointriskError | None:
        """Send raw frames after another and return the error that ended the stream; None when none did."""
        channel = self.world.channel(self.pair)
        call = opened(channel)
        try:
            for frame in frames:
                await call.write(frame)
            await call.done_writing()
            while await call.read() is not aio.EOF:
                pass
        except aio.AioRpcError as error:
            return from_rpc(error, peer="the coordinator")
        except grpc.RpcError as error:  # the stream ended while a frame was being written
            return from_rpc(error, peer="the coordinator")
        finally:
            await channel.close()
        return None

    async def recorded(self) -> dict[str, str | int]:
        """Return the audit record of the refusal."""
        await until(lambda: bool(self.office.audit.entries))
        event, fields = self.office.audit.entries[-1]
        assert event == "training.refused"
        return fields


def opened(channel: aio.Channel) -> Any:
    """Return a stream that sends bytes as they are."""
    return channel.stream_stream(EXCHANGE, response_deserializer=pb.CoordinatorFrame.FromString)()


@pytest.fixture
async def attack(tmp_path: Path) -> AsyncIterator[Attack]:
    """An attack against a fresh coordinator."""
    world = World(tmp_path, ("alder", "birch"))
    office = await world.office()
    yield Attack(world, office)
    await office.stop()


ATTACKS: list[tuple[str, type[JointriskError], str, Callable[[Attack], list[bytes]]]] = [
    (
        "wrong protocol version",
        VersionMismatchError,
        "speaks protocol version 99",
        lambda a: [a.hello(protocol_min=99, protocol_max=99)],
    ),
    ("another name in the greeting", RefusedError, "certificate is alder's", lambda a: [a.hello(member_id="birch")]),
    (
        "another name in a reply",
        RefusedError,
        "certificate is alder's",
        lambda a: [a.hello(), a.reply(member_id="birch")],
    ),
    (
        "a reply to another member's task",
        RefusedError,
        "has not been asked",
        lambda a: [a.hello(), a.reply(message_id=a.ids["birch"])],
    ),
    (
        "a reply from another run",
        RefusedError,
        "has not been asked",
        lambda a: [a.hello(), a.reply(message_id=message_id("old", 1, 1, "train", "alder"))],
    ),
    (
        "a second, different reply",
        ConflictError,
        "answered before",
        lambda a: [a.hello(), a.reply(), a.reply(data=b"other", sha256=hashlib.sha256(b"other").digest())],
    ),
    ("bytes that are no frame", InvalidInputError, "nothing readable", lambda a: [a.hello(), b"\xff" * 100]),
    ("no greeting", InvalidInputError, "expected hello first", lambda a: [a.reply()]),
    ("a second greeting", InvalidInputError, "got hello", lambda a: [a.hello(), a.hello()]),
    (
        "a message over the limit",
        TooLargeError,
        "at most 1500000000",
        lambda a: [a.hello(), a.reply(total_bytes=1 << 40)],
    ),
    (
        "a chunk over the limit",
        TooLargeError,
        "at most 1048576",
        lambda a: [a.hello(), a.reply(total_bytes=3 << 20, data=bytes((1 << 20) + 1))],
    ),
    ("more bytes than announced", TooLargeError, "more came", lambda a: [a.hello(), a.reply(total_bytes=3)]),
    ("content of another digest", CorruptError, "SHA-256", lambda a: [a.hello(), a.reply(data=b"other")]),
    ("a path for an id", InvalidInputError, "64 hex digits", lambda a: [a.hello(), a.reply(message_id="../../x")]),
]


@pytest.mark.parametrize(
    ("error", "text", "frames"),
    [pytest.param(error, text, frames, id=name) for name, error, text, frames in ATTACKS],
)
async def test_attack_is_refused_with_a_clear_error_and_recorded(
    attack: Attack, error: type[JointriskError], text: str, frames: Callable[[Attack], list[bytes]]
) -> None:
    """The caller learns what was wrong, the audit log who did it."""
    refused = await attack.send(*frames(attack))
    assert type(refused) is error
    assert text in refused.message
    fields = await attack.recorded()
    assert fields["member_id"] == "alder"
    assert fields["code"] == error.code
    assert all(answer.member_id == "alder" for answer in attack.answers)


async def test_replayed_reply_changes_nothing(attack: Attack) -> None:
    """The same reply again, on another stream, is receipted; the run hears of it once."""
    assert await attack.send(attack.hello(), attack.reply()) is None
    assert await attack.send(attack.hello(), attack.reply()) is None
    assert [answer.message_id for answer in attack.answers] == [attack.ids["alder"]]


async def test_frame_beyond_what_grpc_takes_is_refused(attack: Attack) -> None:
    """A frame of 17 MiB never reaches us: gRPC itself ends the stream."""
    refused = await attack.send(attack.hello(), attack.reply(total_bytes=17 << 20, data=bytes(17 << 20)))
    assert isinstance(refused, TooLargeError)


async def test_flood_of_broken_streams_fills_no_audit_log(attack: Attack) -> None:
    """The first refusals of a minute are recorded, the rest only counted."""
    for _ in range(30):
        await attack.send(attack.hello(member_id="birch"))
    assert len(attack.office.audit.entries) == 20


async def test_removed_member_is_cut_off(attack: Attack) -> None:
    """Its stream ends with a goodbye that says why, at once."""
    channel = attack.world.channel(attack.pair)
    call = opened(channel)
    await call.write(attack.hello())
    assert (await call.read()).HasField("welcome")
    assert attack.office.hub.close_member("alder", "removed from the federation")
    assert "alder" not in attack.office.hub.online()
    assert (await call.read()).task.message_id == attack.ids["alder"]
    assert (await call.read()).goodbye.reason == "removed from the federation"
    assert await call.read() is aio.EOF
    assert not attack.office.hub.close_member("alder", "again")
    await channel.close()
