"""One stream to the coordinator, from its Welcome on: what the node tells, and what it does with what it is told.

The mirror of the coordinator's session. Pure asyncio and files: the gRPC adapter is ``link``.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from jointrisk import PROTOCOL_MAX, PROTOCOL_MIN, __version__, transfer
from jointrisk.errors import ConflictError, InvalidInputError, JointriskError, RefusedError, TooLargeError
from jointrisk.foreign_text import printable
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.transfer import Incoming, Outgoing
from jointrisk_node.training.limits import Limits, require_wanted
from jointrisk_node.training.record import TrainingRecord
from jointrisk_node.training.spool import Answer, HeldTask, TaskSpool
from jointrisk_node.training.workers import Workers

_WELCOME_SECONDS = 20.0
_LONGEST_REASON = 500
_UNREAD_AT_MOST = 1000

VersionsSeen = Callable[["pb.Welcome | pb.Heartbeat"], None]
"""Told what the coordinator calls current: both messages name the versions alike."""


@dataclass(frozen=True)
class Known:
    """The versions of roster and contract that this node has."""

    roster: int
    contract: int


class NodeStream:
    """The node's side of one stream.

    Args:
        member_id: this node.
        spool: tasks and answers.
        workers: does tasks.
        known: versions that this node has.
        seen: told which versions are current.
        record: told what is refused.
    """

    def __init__(
        self,
        member_id: str,
        spool: TaskSpool,
        workers: Workers,
        known: Callable[[], Known],
        seen: VersionsSeen,
        record: TrainingRecord,
    ) -> None:
        self._member_id = member_id
        self._spool = spool
        self._workers = workers
        self._known = known
        self._seen = seen
        self._record = record
        self._control: deque[pb.NodeFrame] = deque([pb.NodeFrame(hello=self._hello())])
        self._answers: deque[HeldTask] = deque()
        self._outgoing: Outgoing | None = None
        self._incoming: dict[str, tuple[HeldTask, Incoming]] = {}
        self._partial: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._welcome: Limits | None = None

    @property
    def lease_seconds(self) -> float:
        """How long the coordinator may be silent; before its Welcome, how long that may take."""
        return self._welcome.lease_seconds if self._welcome else _WELCOME_SECONDS

    def answered(self, task: HeldTask) -> None:
        """Send an answer as soon as those before it are out."""
        self._answers.append(task)
        self._wake.set()

    def say_goodbye(self, handed_back: list[str]) -> None:
        """End the stream with a word: this node stops."""
        self._say(pb.NodeFrame(goodbye=pb.Goodbye(reason="stopping", handed_back=handed_back)))
        self._closing = True

    def release(self) -> None:
        """End the stream and let go of files; what has arrived stays for the next stream."""
        self._closing = True
        self._wake.set()
        for _, incoming in self._incoming.values():
            incoming.close()
        self._incoming.clear()
        if self._outgoing is not None:
            self._outgoing.close()
            self._outgoing = None

    async def next_frame(self) -> pb.NodeFrame | None:
        """Return what to send next, waiting for it; None when the stream has been closed."""
        while True:
            if self._control:
                return self._control.popleft()
            if self._closing:
                return None
            frame = self._answer_frame()
            if frame is not None:
                return frame
            if not await self._woken():
                return pb.NodeFrame(heartbeat=pb.Heartbeat())

    async def receive(self, frame: pb.CoordinatorFrame) -> str | None:
        """Take one frame of the coordinator; return its reason when it was its goodbye.

        Raises:
            JointriskError: the frame breaks a rule; the stream has to end.
        """
        if len(self._control) > _UNREAD_AT_MOST:
            raise RefusedError("the coordinator sends without reading what it is answered")
        kind = frame.WhichOneof("frame")
        if (self._welcome is None) != (kind == "welcome") and kind != "goodbye":
            raise InvalidInputError(f"frame: expected one welcome, first; got {kind or 'nothing readable'}")
        match kind:
            case "welcome":
                await self._welcomed(frame.welcome)
            case "task":
                await self._task(frame.task)
            case "chunk":
                await self._chunk(frame.chunk)
            case "receipt":
                await asyncio.to_thread(self._spool.forget, frame.receipt.message_id)
            case "cancel":
                await self._cancel(frame.cancel)
            case "heartbeat":
                self._seen(frame.heartbeat)
            case "goodbye":
                return printable(frame.goodbye.reason, _LONGEST_REASON) or "the coordinator ends the stream"
            case _:
                raise InvalidInputError("frame: expected a frame of a coordinator's stream, got nothing readable")
        return None

    def _hello(self) -> pb.Hello:
        known = self._known()
        return pb.Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            software_version=__version__,
            member_id=self._member_id,
            roster_version=known.roster,
            contract_version=known.contract,
            partial=[pb.Progress(message_id=m, received_bytes=n) for m, n in self._spool.partials()],
            held=[task.message_id for task in self._spool.held()],
            runs=self._spool.runs(),
        )

    async def _welcomed(self, welcome: pb.Welcome) -> None:
        self._welcome = Limits.of(welcome)
        for message_id in welcome.forgotten:
            await self._forget(message_id)
        for run_id in welcome.ended_runs:
            await self._workers.end_run(transfer.check_run_id(run_id))
        self._partial = {progress.message_id: progress.received_bytes for progress in welcome.partial}
        self._seen(welcome)
        for task in self._spool.held():
            self._do(task)
        # From here on there are heartbeats to send: whoever waits in next_frame does not know their time yet.
        self._wake.set()

    def _do(self, task: HeldTask) -> None:
        if task.answer is None:
            self._workers.submit(task)
        else:
            self.answered(task)

    async def _task(self, frame: pb.Task) -> None:
        header = self._limits.header(frame)
        task = HeldTask(
            run_id=frame.run_id,
            round=frame.round,
            base_round=frame.base_round,
            kind=frame.kind,
            budget_ms=frame.budget_ms,
            header=header,
            folder=self._spool.run_folder(frame.run_id) / "messages",
        )
        try:
            held = self._spool.pending(task.run_id, header)
            if held is not None:
                self._held(held)
                return
            begun = dict(self._spool.partials())
            if task.message_id not in begun:
                require_wanted(self._spool, task.run_id, task.kind, begun=len(begun))
            self._drop_incoming(task.message_id)
            incoming = await asyncio.to_thread(self._spool.begin, task)
        except (ConflictError, RefusedError) as error:
            await self._refuse(task, error)
            return
        self._incoming[task.message_id] = (task, incoming)
        await self._write(task, incoming, frame.offset, frame.data)

    def _held(self, task: HeldTask) -> None:
        self._say(pb.NodeFrame(receipt=pb.Receipt(message_id=task.message_id)))
        self._do(task)

    async def _refuse(self, task: HeldTask, error: JointriskError) -> None:
        await self._record.refused(task.run_id, task.kind, error.code, error.message)
        failure = pb.Failure(
            message_id=task.message_id, member_id=self._member_id, code=error.code, reason=error.message
        )
        self._say(pb.NodeFrame(failure=failure))

    async def _chunk(self, chunk: pb.Chunk) -> None:
        if chunk.message_id not in self._incoming:
            return  # of a task that was refused or cancelled while it was under way
        task, incoming = self._incoming[chunk.message_id]
        await self._write(task, incoming, chunk.offset, chunk.data)

    async def _write(self, task: HeldTask, incoming: Incoming, offset: int, data: bytes) -> None:
        if len(data) > self._limits.chunk_bytes:
            raise TooLargeError(f"chunk: expected at most {self._limits.chunk_bytes} bytes, got {len(data)}")
        incoming.write(offset, data)
        if incoming.complete:
            del self._incoming[task.message_id]
            await asyncio.to_thread(self._spool.hold, task, incoming)
            self._say(pb.NodeFrame(receipt=pb.Receipt(message_id=task.message_id)))
            self._workers.submit(task)

    async def _cancel(self, cancel: pb.Cancel) -> None:
        if cancel.message_id:
            await self._forget(cancel.message_id)
            return
        for message_id in [m for m, (task, _) in self._incoming.items() if task.run_id == cancel.run_id]:
            self._drop_incoming(message_id)
        await self._workers.end_run(transfer.check_run_id(cancel.run_id))

    async def _forget(self, message_id: str) -> None:
        self._drop_incoming(message_id)
        task = self._spool.find(message_id)
        if task is not None:
            await self._workers.cancel(task)
        await asyncio.to_thread(self._spool.forget, message_id)

    def _drop_incoming(self, message_id: str) -> None:
        dropped = self._incoming.pop(message_id, None)
        if dropped is not None:
            dropped[1].close()

    def _answer_frame(self) -> pb.NodeFrame | None:
        if self._outgoing is not None and self._outgoing.finished:
            self._outgoing.close()
            self._outgoing = None
        if self._outgoing is not None:
            offset, data = self._outgoing.next_chunk()
            return pb.NodeFrame(chunk=pb.Chunk(message_id=self._outgoing.header.message_id, offset=offset, data=data))
        while self._welcome is not None and self._answers:
            task = self._answers.popleft()
            if task.answer is not None and self._spool.find(task.message_id) is task:
                return self._open_answer(task, task.answer)
        return None

    def _open_answer(self, task: HeldTask, answer: Answer) -> pb.NodeFrame:
        if answer.reply is None:
            return pb.NodeFrame(
                failure=pb.Failure(
                    message_id=task.message_id,
                    member_id=self._member_id,
                    code=answer.code,
                    reason=answer.reason,
                )
            )
        start = self._partial.pop(task.message_id, 0)
        self._outgoing = Outgoing(answer.reply, task.reply, start, self._limits.chunk_bytes)
        offset, data = self._outgoing.next_chunk()
        return pb.NodeFrame(
            reply=pb.Reply(
                message_id=task.message_id,
                member_id=self._member_id,
                total_bytes=answer.reply.total_bytes,
                sha256=answer.reply.sha256,
                offset=offset,
                data=data,
            )
        )

    @property
    def _limits(self) -> Limits:
        if self._welcome is None:
            raise InvalidInputError("frame: expected welcome first")
        return self._welcome

    def _say(self, frame: pb.NodeFrame) -> None:
        self._control.append(frame)
        self._wake.set()

    async def _woken(self) -> bool:
        """Wait until there may be something to send; False when it is time for a heartbeat."""
        self._wake.clear()
        heartbeat = self._welcome.heartbeat_seconds if self._welcome else None
        try:
            async with asyncio.timeout(heartbeat):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True
