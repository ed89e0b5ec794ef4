"""The node's standing connection to the coordinator: opened by the node, opened again whenever it breaks."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog
from google.protobuf.message import DecodeError
from grpc import aio

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import (
    DeadlineError,
    InvalidInputError,
    JointriskError,
    RefusedError,
    UnauthenticatedError,
    VersionMismatchError,
)
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.worker_process import where
from jointrisk_node.training.gate import Gate
from jointrisk_node.training.record import Audit, TrainingRecord
from jointrisk_node.training.spool import HeldTask, TaskSpool
from jointrisk_node.training.stream import Known, NodeStream, VersionsSeen
from jointrisk_node.training.workers import Workers

if TYPE_CHECKING:
    from jointrisk_node.sums import SumDesk

log = structlog.get_logger()

Received = pb.CoordinatorFrame | JointriskError
"""A frame, or what is wrong with the bytes that came in its place."""

_EXCHANGE = "/jointrisk.v1.TrainingService/Exchange"
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_PAUSE_WHEN_REFUSED = 30.0


class Link:
    """Keeps a stream to the coordinator open and does what comes over it.

    Args:
        member_id: this node.
        connect: returns a new channel to the coordinator, with the certificate as it is now.
        spool: tasks and answers.
        gate: decides about offers.
        data: the data settings, for workers.
        known: versions of roster and contract that this node has.
        seen: told which versions the coordinator calls current.
        sums: the node's part in secure sums.
        audit: told of runs, and of rules that the coordinator breaks.
        clock: time of day, for people.
        rng: spreads reconnections.
    """

    def __init__(
        self,
        member_id: str,
        connect: Callable[[], aio.Channel],
        spool: TaskSpool,
        gate: Gate,
        data: dict[str, object],
        *,
        known: Callable[[], Known],
        seen: VersionsSeen,
        sums: "SumDesk",
        audit: Audit,
        clock: Clock = utc_now,
        rng: random.Random | None = None,
    ) -> None:
        self._member_id = member_id
        self._connect = connect
        self._spool = spool
        self._known = known
        self._seen = seen
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._stream: NodeStream | None = None
        self._record = TrainingRecord(audit, clock)
        self._workers = Workers(spool, gate, data, self._answered, self._record, sums)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.connected = False
        self.detail = "not started"
        self.since: datetime = clock()

    @property
    def runs_active(self) -> int:
        """How many runs have a worker here."""
        return self._workers.active

    async def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._keep(), name="link")

    async def stop(self, grace: float = 5.0) -> None:
        """Let tasks in work end within ``grace`` seconds, hand the others back, and close the stream."""
        self._stopping = True
        undone = await self._workers.stop(grace)
        if self._stream is not None:
            self._stream.say_goodbye(undone)
        if self._task is not None:
            await asyncio.wait([self._task], timeout=1.0 if self.connected else 0.0)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def reconnect(self) -> None:
        """Break the present stream, so that the next one uses the certificate as it is now."""
        if self._stream is not None:
            self._stream.release()

    def _answered(self, task: HeldTask) -> None:
        if self._stream is not None:
            self._stream.answered(task)

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                reason = await self._converse()
            except JointriskError as error:
                reason = error.message
                log.warning("training.stream_broke", code=error.code, reason=reason)
                pause = self._next_pause(pause, error)
            except Exception as error:  # noqa: BLE001 - a full disk, whatever: the node has to come back
                reason = f"{type(error).__name__} at {where(error)}"
                log.error("training.stream_failed", reason=reason)  # noqa: TRY400 - the text could hold anything
                pause = _LONGEST_PAUSE
            if self.connected:
                pause = _FIRST_PAUSE
            self._is(connected=False, detail=reason)
            if self._stopping:
                return
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))

    @staticmethod
    def _next_pause(pause: float, error: JointriskError) -> float:
        # Who is refused stays refused until a person acts: do not knock every second.
        refused = isinstance(error, RefusedError | UnauthenticatedError | VersionMismatchError)
        return _PAUSE_WHEN_REFUSED if refused else min(pause * 2, _LONGEST_PAUSE)

    async def _converse(self) -> str:
        """Hold one stream; return why the coordinator ended it.

        Raises:
            JointriskError: the stream broke, or was refused.
        """
        stream = self._stream = NodeStream(
            self._member_id, self._spool, self._workers, self._known, self._seen, self._record
        )
        channel = self._connect()
        method = channel.stream_stream(
            _EXCHANGE, request_serializer=pb.NodeFrame.SerializeToString, response_deserializer=_received
        )
        call = method(_frames(stream))
        try:
            return await self._listen(stream, call)
        except aio.AioRpcError as error:
            raise from_rpc(error, peer="the coordinator") from None
        finally:
            self._stream = None
            stream.release()
            call.cancel()
            await channel.close()

    async def _listen(self, stream: NodeStream, call: "aio.StreamStreamCall[Any, Received]") -> str:
        while True:
            try:
                async with asyncio.timeout(stream.lease_seconds):
                    frame = await call.read()
            except TimeoutError:
                raise DeadlineError("the coordinator has been silent for longer than its lease") from None
            if not isinstance(frame, pb.CoordinatorFrame | JointriskError):
                return "the coordinator ended the stream"
            reason = await self._take(stream, frame)
            if reason is not None:
                return reason
            if not self.connected:
                self._is(connected=True, detail="")
                log.info("training.connected")

    async def _take(self, stream: NodeStream, frame: "Received") -> str | None:
        try:
            if isinstance(frame, JointriskError):
                raise frame
            return await stream.receive(frame)
        except JointriskError as error:
            await self._record.rule_broken(error)
            raise

    def _is(self, *, connected: bool, detail: str) -> None:
        if self.connected != connected:
            self.since = self._clock()
        self.connected, self.detail = connected, detail


def _received(data: bytes) -> Received:
    try:
        return pb.CoordinatorFrame.FromString(data)
    except DecodeError:
        return InvalidInputError("frame: expected a coordinator's frame, got nothing readable")


async def _frames(stream: NodeStream) -> AsyncIterator[pb.NodeFrame]:
    while (frame := await stream.next_frame()) is not None:
        yield frame
