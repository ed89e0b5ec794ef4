"""A coordinator that breaks the rules: the real CA and identity key, and frames made by hand."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from jointrisk.clock import utc_now
from jointrisk.federation.policy import RunOffer
from jointrisk.learning.code_version import code_version
from jointrisk.masterkey import MasterKey
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind, new_server
from jointrisk.rpc.tls import server_credentials
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.statedir import StateDir
from jointrisk.transfer import message_id
from jointrisk_coordinator.authority import Authority, ServerCertificate
from jointrisk_coordinator.settings import load_settings
from local_federation import Daemon

_PATIENCE = 40.0
_SERVICE = "jointrisk.v1.TrainingService"


class EndedError(AssertionError):
    """The node has ended the stream."""


class HostileStream:
    """One node's stream, as the coordinator has it.

    Args:
        requests: what the node sends.
    """

    def __init__(self, requests: AsyncIterator[pb.NodeFrame]) -> None:
        self._requests = requests
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.hello = pb.Hello()

    def end(self) -> None:
        """End the stream without a word."""
        self._out.put_nowait(None)

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield what is said, to the end."""
        while (raw := await self._out.get()) is not None:
            yield raw

    def say(self, *frames: pb.CoordinatorFrame | bytes) -> None:
        """Send frames, or bytes in their place."""
        for frame in frames:
            self._out.put_nowait(frame if isinstance(frame, bytes) else frame.SerializeToString())

    async def until(self, *kinds: str) -> pb.NodeFrame:
        """Return the node's next frame of one of these kinds."""
        async with asyncio.timeout(_PATIENCE):
            async for frame in self._requests:
                if frame.WhichOneof("frame") in kinds:
                    return frame
        raise EndedError(f"the node ended the stream before a {' or '.join(kinds)} came")

    async def broken_off(self) -> list[pb.NodeFrame]:
        """Return what the node still says until it ends the stream."""
        frames = []
        try:
            async with asyncio.timeout(_PATIENCE):
                async for frame in self._requests:
                    frames.append(frame)  # noqa: PERF401 - kept when the stream breaks
        except (aio.AbortError, aio.UsageError, asyncio.CancelledError):
            pass
        return frames

    async def greet(self) -> None:
        """Wait for the Hello."""
        self.hello = (await self.until("hello")).hello

    def welcome(self, **changed: Any) -> None:
        """Say Welcome as an honest coordinator does, or with other fields. The node forgets what it kept."""
        fields: dict[str, Any] = {
            "protocol_version": 1,
            "lease_ms": 30_000,
            "heartbeat_ms": 10_000,
            "max_message_bytes": 1 << 20,
            "chunk_bytes": 64 << 10,
            "forgotten": [*self.hello.held, *(progress.message_id for progress in self.hello.partial)],
            "ended_runs": self.hello.runs,
        }
        self.say(pb.CoordinatorFrame(welcome=pb.Welcome(**(fields | changed))))

    def task(self, run_id: str, kind: str, content: bytes, **changed: Any) -> str:
        """Send a task in one frame and return its id."""
        fields: dict[str, Any] = {
            "message_id": message_id(run_id, 1, 1, kind, "victim", len(content)),
            "run_id": run_id,
            "round": 0 if kind == "offer" else 1,
            "kind": kind,
            "budget_ms": 60_000,
            "total_bytes": len(content),
            "sha256": hashlib.sha256(content).digest(),
            "data": content,
        } | changed
        self.say(pb.CoordinatorFrame(task=pb.Task(**fields)))
        return str(fields["message_id"])


class HostileCoordinator:
    """Serves nothing but training streams, each handed to who asks for it.

    Args:
        daemon: a coordinator that is not running; its keys are taken.
    """

    def __init__(self, daemon: Daemon) -> None:
        state, key = StateDir(daemon.home), MasterKey(daemon.key_file.read_bytes())
        settings = load_settings(state)
        self._address = settings.listen.address
        self._authority = Authority.open(settings.federation.name, state, key)
        self._certificate = ServerCertificate(self._authority, settings.certificates.lifetime, utc_now)
        self._calls: asyncio.Queue[HostileStream] = asyncio.Queue()
        self._server = new_server(Guard())

    async def start(self) -> None:
        """Serve where the honest coordinator was."""
        self.serve(self._address, server_credentials(self._certificate, self._authority.certificate_pem))
        await self._server.start()

    def serve(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """Say what is served where; return the port."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._exchange, request_deserializer=pb.NodeFrame.FromString, response_serializer=bytes
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Exchange": handler}),))
        return bind(self._server, address, credentials)

    async def stop(self) -> None:
        """Stop at once."""
        await self._server.stop(0)

    @asynccontextmanager
    async def stream(self, *, welcomed: bool = True) -> AsyncIterator[HostileStream]:
        """Return the next stream on which the node says Hello; ``welcomed``: and say Welcome."""
        stream = await self.greeted()
        try:
            if welcomed:
                stream.welcome()
            yield stream
        finally:
            stream.end()

    async def greeted(self) -> HostileStream:
        """Return the next stream with a Hello. A node that reconnects may have given one up before it said anything."""
        while True:
            async with asyncio.timeout(_PATIENCE):
                stream = await self._calls.get()
            try:
                await stream.greet()
            except (EndedError, aio.AbortError, aio.UsageError):
                stream.end()
            else:
                return stream

    async def _exchange(self, requests: AsyncIterator[pb.NodeFrame], _: Any) -> AsyncIterator[bytes]:
        stream = HostileStream(requests)
        self._calls.put_nowait(stream)
        async for raw in stream.frames():
            yield raw


def offer_of(run_id: str, **changed: Any) -> bytes:
    """Return the content of an offer that the node's policy lets through, or with other fields."""
    offer = RunOffer(
        run_id=run_id,
        task="probe",
        strategy="fedavg",
        rounds=3,
        run_seed=1,
        members=("friend", "other", "victim"),
        minimum_members=3,
        contract_version=0,
        code_version=code_version(),
        aggregation="plain",
    )
    return offer.model_copy(update=changed).model_dump_json().encode()
