"""The gRPC adapter of training streams: who calls, bytes to frames, errors to the audit log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from jointrisk.errors import DeadlineError, InvalidInputError, JointriskError, TooLargeError
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk_coordinator.runs.crowd import Crowd
from jointrisk_coordinator.runs.hub import Hub
from jointrisk_coordinator.runs.session import Session

_SERVICE = "jointrisk.v1.TrainingService"
_HELLO_SECONDS = 20.0
_LOOK_SECONDS = 1.0
_AROUND_A_CHUNK = 64 << 10

Received = pb.NodeFrame | JointriskError
"""A frame, or what is wrong with the bytes that came in its place."""


class Peer(Protocol):
    """Who is at the other end: the part of a certificate's identity that is needed here."""

    @property
    def member_id(self) -> str:
        """The member's name."""


class TrainingService:
    """Serves ``jointrisk.v1.TrainingService``.

    Args:
        hub: the streams.
        peer: returns who is calling, from the verified certificate; refuses who is no current member.
        crowd: counts members' streams.
    """

    def __init__(self, hub: Hub, peer: Callable[[Any], Peer], crowd: Crowd | None = None) -> None:
        self._hub = hub
        self._peer = peer
        self._crowd = crowd or Crowd()

    def add_to(self, server: aio.Server) -> None:
        """Serve on ``server``.

        The generated registration would let gRPC answer undecodable bytes by itself, without a word in the audit log.
        """
        handler = grpc.stream_stream_rpc_method_handler(
            self.Exchange,
            request_deserializer=self._received,
            response_serializer=pb.CoordinatorFrame.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Exchange": handler}),))

    async def Exchange(self, requests: AsyncIterator[Received], context: Any) -> AsyncIterator[pb.CoordinatorFrame]:
        """Serve one node's stream until one side ends it."""
        member_id = self._peer(context).member_id
        with ExitStack() as places:
            async with self._on_record(member_id):
                places.enter_context(self._crowd.place(member_id))
                hello = await _hello(requests)
                # It may have been removed while it was silent. From here to the open session nothing is awaited.
                session = self._hub.open(self._peer(context).member_id, hello)
            async for frame in self._converse(session, requests):
                yield frame

    async def _converse(
        self, session: Session, requests: AsyncIterator[Received]
    ) -> AsyncIterator[pb.CoordinatorFrame]:
        aside = [asyncio.create_task(self._read(session, requests)), asyncio.create_task(self._watch(session))]
        try:
            while (frame := await session.next_frame()) is not None:
                yield frame
            for task in aside:
                if task.done():
                    task.result()
        finally:
            self._hub.closed(session)
            for task in aside:
                task.cancel()
            await asyncio.gather(*aside, return_exceptions=True)

    async def _read(self, session: Session, requests: AsyncIterator[Received]) -> None:
        try:
            async with self._on_record(session.member_id):
                async for frame in requests:
                    if not await session.receive(_readable(frame)):
                        return
        finally:
            session.end()

    async def _watch(self, session: Session) -> None:
        """Let go of a node that does not take what it is sent: gRPC would wait for it for ever."""
        while not session.stuck():  # noqa: ASYNC110 - that nothing happens has no event
            await asyncio.sleep(_LOOK_SECONDS)
        self._hub.closed(session)
        session.end()
        raise DeadlineError(f"{session.member_id}: does not take what it is sent")

    @asynccontextmanager
    async def _on_record(self, member_id: str) -> AsyncIterator[None]:
        """Record broken rules when they are noticed: who does not read would never come to the end of its stream."""
        try:
            yield
        except JointriskError as error:
            if not isinstance(error, DeadlineError):
                await self._hub.refused(member_id, error)
            raise

    def _received(self, data: bytes) -> Received:
        limit = self._hub.chunk_bytes + _AROUND_A_CHUNK
        if len(data) > limit:
            return TooLargeError(f"frame: expected at most {limit} bytes, got {len(data)}")
        try:
            return pb.NodeFrame.FromString(data)
        except DecodeError:
            return InvalidInputError("frame: expected a node's frame, got nothing readable")


async def _hello(requests: AsyncIterator[Received]) -> pb.Hello:
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            frame = _readable(await anext(aiter(requests)))
    except TimeoutError:
        raise DeadlineError(f"frame: expected hello within {_HELLO_SECONDS:.0f} s") from None
    except StopAsyncIteration:
        raise InvalidInputError("frame: expected hello first, got the end of the stream") from None
    if frame.WhichOneof("frame") != "hello":
        raise InvalidInputError(f"frame: expected hello first, got {frame.WhichOneof('frame') or 'nothing readable'}")
    return frame.hello


def _readable(received: Received) -> pb.NodeFrame:
    if isinstance(received, JointriskError):
        raise received
    return received
