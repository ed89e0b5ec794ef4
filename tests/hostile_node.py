"""A member that breaks the rules: a real certificate, and frames and calls made by hand."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc import aio

from jointrisk.errors import JointriskError
from jointrisk.federation.certificates import KeyPair
from jointrisk.federation.names import COORDINATOR_SERVER_NAME
from jointrisk.masterkey import MasterKey
from jointrisk.protocol import user_agent
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.tls import channel_credentials
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.statedir import StateDir
from jointrisk_node.membership.keys import NodeKeys

EXCHANGE = "/jointrisk.v1.TrainingService/Exchange"
_PATIENCE = 30.0


@dataclass(frozen=True)
class HostileNode:
    """Who took a member's keys, and where the coordinator is.

    Attributes:
        name: the member that its certificate names.
        address: the coordinator's mutual-TLS port, "host:port".
        ca: the CA certificate, PEM.
        pair: the member's transport key and certificate.
        identity: the member's identity key.
    """

    name: str
    address: str
    ca: bytes
    pair: KeyPair = field(repr=False)
    identity: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def take_over(cls, name: str, home: Path, master: MasterKey, *, address: str, ca: bytes) -> "HostileNode":
        """Unseal what a node that has joined keeps in its state directory."""
        keys = NodeKeys(StateDir(home), master)
        return cls(name, address, ca, keys.transport(), keys.identity())

    def channel(self) -> aio.Channel:
        """Return a channel to the coordinator with the member's certificate, which takes little that is not read."""
        options: list[tuple[str, str | int]] = [
            ("grpc.ssl_target_name_override", COORDINATOR_SERVER_NAME),
            ("grpc.primary_user_agent", user_agent()),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 64 << 10),
        ]
        return aio.secure_channel(self.address, channel_credentials(self.ca, self.pair), options=options)

    def hello(self, **changed: Any) -> pb.NodeFrame:
        """Return the greeting of an honest node, or one with other fields."""
        fields: dict[str, Any] = {"protocol_min": 1, "protocol_max": 1, "software_version": "0", "member_id": self.name}
        return pb.NodeFrame(hello=pb.Hello(**(fields | changed)))

    @asynccontextmanager
    async def stream(self, *, greeted: bool = True) -> AsyncIterator["HostileStream"]:
        """Open a training stream; ``greeted``: Hello and Welcome are behind it."""
        opened = self.channel()
        try:
            made = HostileStream(self, opened)
            if greeted:
                await made.greet()
            yield made
        finally:
            await opened.close()


class HostileStream:
    """A training stream that sends whatever it is told to.

    Args:
        node: whose it is.
        opened: a channel.
    """

    def __init__(self, node: HostileNode, opened: aio.Channel) -> None:
        self.node = node
        self.welcome = pb.Welcome()
        self._call = opened.stream_stream(
            EXCHANGE, request_serializer=bytes, response_deserializer=pb.CoordinatorFrame.FromString
        )()

    async def greet(self, **changed: Any) -> pb.Welcome:
        """Say Hello and return the Welcome."""
        await self.send(self.node.hello(**changed))
        self.welcome = (await self.until("welcome")).welcome
        return self.welcome

    async def send(self, *frames: pb.NodeFrame | bytes) -> None:
        """Send frames, or bytes in their place; a stream that the coordinator has ended takes no more."""
        for frame in frames:
            raw = frame if isinstance(frame, bytes) else frame.SerializeToString()
            with suppress(aio.AioRpcError, asyncio.InvalidStateError):
                await self._call.write(raw)

    async def read(self) -> pb.CoordinatorFrame | None:
        """Return the next frame; None when the coordinator has ended the stream without an error.

        Raises:
            JointriskError: what it ended the stream with.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                frame = await self._call.read()
        except aio.AioRpcError as error:
            raise from_rpc(error, peer="the coordinator") from None
        return frame if isinstance(frame, pb.CoordinatorFrame) else None

    async def until(self, kind: str) -> pb.CoordinatorFrame:
        """Return the next frame of this kind."""
        while (frame := await self.read()) is not None:
            if frame.WhichOneof("frame") == kind:
                return frame
        raise AssertionError(f"the stream ended before a {kind} came")

    async def answer(self, task: pb.Task, content: bytes) -> None:
        """Reply to a task, in chunks as large as allowed, and wait for the receipt."""
        size, digest = self.welcome.chunk_bytes, hashlib.sha256(content).digest()
        begun = pb.Reply(member_id=self.node.name, total_bytes=len(content), sha256=digest, data=content[:size])
        begun.message_id = task.message_id
        await self.send(pb.NodeFrame(reply=begun))
        for offset in range(size, len(content), size):
            chunk = pb.Chunk(message_id=task.message_id, offset=offset, data=content[offset : offset + size])
            await self.send(pb.NodeFrame(chunk=chunk))
        while (await self.until("receipt")).receipt.message_id != task.message_id:
            pass

    async def whole_task(self, kind: str = "") -> tuple[pb.Task, bytes]:
        """Return the next task (of this kind) with its whole content, and send its receipt."""
        while kind not in ("", (task := (await self.until("task")).task).kind):
            pass
        content = task.data
        while len(content) < task.total_bytes:
            content += (await self.until("chunk")).chunk.data
        await self.send(pb.NodeFrame(receipt=pb.Receipt(message_id=task.message_id)))
        return task, content

    async def refusal(self) -> JointriskError:
        """Return the error that the coordinator ends the stream with."""
        try:
            while await self.read() is not None:
                pass
        except JointriskError as error:
            return error
        raise AssertionError("the stream ended without an error")

    async def rest(self) -> list[pb.CoordinatorFrame]:
        """Return all frames to the end of the stream, which must be one without an error."""
        frames = []
        while (frame := await self.read()) is not None:
            frames.append(frame)
        return frames
