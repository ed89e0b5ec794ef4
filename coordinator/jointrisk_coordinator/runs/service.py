"""The gRPC adapter of training streams: who calls, bytes to frames, errors to the audit log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from jointrisk.errors import DeadlineError, InvalidInputError, JointriskError
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk_coordinator.runs.hub import Hub
from jointrisk_coordinator.runs.session import Session

_SERVICE = "jointrisk.v1.TrainingService"
_HELLO_SECONDS = 20.0


class Peer(Protocol):
    """Who is at the other end: the part of a certificate's identity that is needed here."""

    @property
    def member_id(self) -> str:
        """The member's name."""


class TrainingService:
    """Serves ``jointrisk.v1.TrainingService``.

    Args:
        hub: the streams.
        peer: returns who is calling, from the verified certificate.
    """

    def __init__(self, hub: Hub, peer: Callable[[Any], Peer]) -> None:
        self._hub = hub
        self._peer = peer

    def add_to(self, server: aio.Server) -> None:
        """Serve on ``server``.

        The generated registration would let gRPC answer undecodable bytes by itself, without a word in the audit log.
        """
        handler = grpc.stream_stream_rpc_method_handler(
            self.Exchange,
            request_deserializer=_frame,
            response_serializer=pb.CoordinatorFrame.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Exchange": handler}),))

    async def Exchange(self, requests: AsyncIterator[pb.NodeFrame], context: Any) -> AsyncIterator[pb.CoordinatorFrame]:
        """Serve one node's stream until one side ends it."""
        member_id = self._peer(context).member_id
        try:
            session = self._hub.open(member_id, await _hello(requests))
            async for frame in self._converse(session, requests):
                yield frame
        except JointriskError as error:
            if not isinstance(error, DeadlineError):
                await self._hub.refused(member_id, error)
            raise

    async def _converse(
        self, session: Session, requests: AsyncIterator[pb.NodeFrame]
    ) -> AsyncIterator[pb.CoordinatorFrame]:
        reader = asyncio.create_task(_read(session, requests))
        try:
            while (frame := await session.next_frame()) is not None:
                yield frame
            if reader.done():
                reader.result()
        finally:
            self._hub.closed(session)
            reader.cancel()
            with suppress(asyncio.CancelledError, JointriskError):
                await reader


async def _read(session: Session, requests: AsyncIterator[pb.NodeFrame]) -> None:
    try:
        async for frame in requests:
            if not await session.receive(frame):
                return
    finally:
        session.end()


async def _hello(requests: AsyncIterator[pb.NodeFrame]) -> pb.Hello:
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            frame = await anext(aiter(requests))
    except TimeoutError:
        raise DeadlineError(f"frame: expected hello within {_HELLO_SECONDS:.0f} s") from None
    except StopAsyncIteration:
        raise InvalidInputError("frame: expected hello first, got the end of the stream") from None
    if frame.WhichOneof("frame") != "hello":
        raise InvalidInputError(f"frame: expected hello first, got {frame.WhichOneof('frame') or 'nothing readable'}")
    return frame.hello


def _frame(data: bytes) -> pb.NodeFrame:
    try:
        return pb.NodeFrame.FromString(data)
    except DecodeError:
        return pb.NodeFrame()  # an empty frame is refused, and recorded, by the session
