"""One stream to a holder that stays open: questions about single persons, without what a call of its own costs."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
from grpc import aio

from jointrisk.errors import DeadlineError, InvalidInputError, JointriskError, UnavailableError, by_code
from jointrisk.foreign_text import printable
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import evaluation_pb2 as pb

_LONGEST_TEXT = 300


class Conversation:
    """A stream ``EvaluateEach``. For the event loop's thread.

    Replies come in the order of requests. Where one takes too long, the stream is given up: whoever waits for a later
    one asks somebody else. After any error a new one has to be made.

    Args:
        stub: of the holder.
        member: the holder, for errors.
    """

    def __init__(self, stub: Any, member: str) -> None:
        self._member = member
        self._waiting: deque[asyncio.Future[pb.EvaluateReply]] = deque()
        self._requests: asyncio.Queue[pb.EvaluateRequest | None] = asyncio.Queue()
        # gRPC takes requests from here on its own: a write of ours that is cancelled would end the stream for all.
        self._call = stub.EvaluateEach(self._taken())
        self._reading = asyncio.create_task(self._read(), name=f"conversation with {member}")

    @property
    def ended(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._reading.done()

    async def ask(self, request: pb.EvaluateRequest, within: timedelta) -> pb.EvaluateResponse:
        """Return the holder's answer.

        Raises:
            JointriskError: its refusal, or what ended the stream.
            DeadlineError: it took too long; the stream has ended.
        """
        reply: asyncio.Future[pb.EvaluateReply] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within.total_seconds()):
                self._waiting.append(reply)
                self._requests.put_nowait(request)
                said = await reply
        except TimeoutError:
            self.drop()
            raise DeadlineError(f"{self._member}: no answer within {within.total_seconds():g} s") from None
        if said.HasField("refusal"):
            raise shown(by_code(said.refusal.code)(said.refusal.message, remedy=said.refusal.remedy))
        return said.answer

    def leave(self) -> None:
        """Ask nothing more; the stream ends when everything has been answered."""
        self._requests.put_nowait(None)

    def drop(self) -> None:
        """End the stream here and now."""
        self._call.cancel()

    async def _taken(self) -> AsyncIterator[pb.EvaluateRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self) -> None:
        failure: JointriskError = UnavailableError(f"{self._member}: it ended the stream")
        try:
            while (reply := await self._call.read()) is not aio.EOF:
                self._deliver(reply)
        except grpc.RpcError as error:
            failure = shown(from_rpc(error, peer=self._member))
        except asyncio.CancelledError:
            failure = UnavailableError(f"{self._member}: its stream was closed meanwhile")
        except InvalidInputError as error:
            self.drop()
            failure = error
        self._fail(failure)

    def _deliver(self, reply: pb.EvaluateReply) -> None:
        if not self._waiting:
            raise InvalidInputError(f"{self._member}: expected one reply to each request, got another one")
        waiting = self._waiting.popleft()
        if not waiting.done():  # who waited may have been cancelled
            waiting.set_result(reply)

    def _fail(self, failure: JointriskError) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(type(failure)(failure.message, remedy=failure.remedy))


def shown(error: JointriskError) -> JointriskError:
    """Return an error whose texts are a holder's own, as it may be shown and recorded."""
    return type(error)(printable(error.message, _LONGEST_TEXT), remedy=printable(error.remedy, _LONGEST_TEXT))
