"""One node's stream: what it may say, what it is told, in which order.

Everything that the peer sends is checked against what the coordinator has asked of that very member; the first frame
that breaks a rule ends the stream. Pure asyncio and files: the gRPC adapter is ``service``.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from jointrisk import __version__, transfer
from jointrisk.errors import DeadlineError, InvalidInputError, RefusedError
from jointrisk.foreign_text import printable
from jointrisk.protocol import negotiate
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.settings import Duration, Settings
from jointrisk.transfer import Outgoing
from jointrisk_coordinator.runs.intake import Intake
from jointrisk_coordinator.runs.quorum import Monotonic
from jointrisk_coordinator.runs.tickets import Ticket, TicketBook

_UNREAD_AT_MOST = 1000


class StreamSettings(Settings):
    """How the coordinator speaks with nodes."""

    lease: Duration = Field(
        timedelta(seconds=30), description="A node is taken for lost when nothing was heard of it for this long."
    )
    heartbeat: Duration = Field(timedelta(seconds=10), description="How often both sides say that they are there.")
    window: int = Field(4, ge=1, le=100, description="Tasks that a node may have without having answered.")
    chunk_bytes: int = Field(
        1 << 20, ge=1024, le=8 << 20, description="Largest piece of a message in one frame, bytes."
    )
    max_message_bytes: int = Field(
        1_500_000_000, ge=1024, lt=1 << 31, description="Largest model or other message, bytes."
    )

    @model_validator(mode="after")
    def _beats_within_the_lease(self) -> Self:
        if self.heartbeat * 2 > self.lease:
            raise ValueError("expected a lease of at least two heartbeats")
        return self


@dataclass(frozen=True)
class Versions:
    """What is current, for nodes to fetch; 0 for none.

    Attributes:
        roster: version of the roster.
        contract: version of the feature contract.
        model: number of the model that was published last.
        board: number that grows with all that happens on the board of key ceremonies.
    """

    roster: int
    contract: int
    model: int = 0
    board: int = 0

    def beat(self) -> pb.Heartbeat:
        """Return the heartbeat that says so."""
        return pb.Heartbeat(
            roster_version=self.roster,
            contract_version=self.contract,
            model_number=self.model,
            board_number=self.board,
        )


class Session:
    """A stream after its Hello.

    Args:
        member_id: the certificate's.
        book: the open tickets.
        settings: limits.
        versions: what is current now.
        monotonic: the clock of leases.
    """

    def __init__(
        self,
        member_id: str,
        book: TicketBook,
        settings: StreamSettings,
        versions: Callable[[], Versions],
        monotonic: Monotonic,
    ) -> None:
        self.member_id = member_id
        self.software_version = ""
        self._book = book
        self._settings = settings
        self._versions = versions
        self._monotonic = monotonic
        self._control: deque[pb.CoordinatorFrame] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._outgoing: Outgoing | None = None
        self._intake = Intake(member_id, book, settings.chunk_bytes, settings.max_message_bytes, self.say)
        self._partial: dict[str, int] = {}
        self._last_heard = self._last_beat = monotonic()
        self._handed_over: float | None = None

    def greet(self, hello: pb.Hello) -> None:
        """Answer the node's first frame.

        Raises:
            VersionMismatchError: there is no common protocol version.
            RefusedError: the node says that it is somebody else.
        """
        version = negotiate(hello.protocol_min, hello.protocol_max, peer=self.member_id)
        self._intake.check_name(hello.member_id)
        for identity in (*hello.held, *(progress.message_id for progress in hello.partial)):
            transfer.check_message_id(identity)
        for run_id in hello.runs:
            transfer.check_run_id(run_id)
        self.software_version = printable(hello.software_version, 40)
        forgotten = self._book.reconcile(
            self.member_id, hello.held, [progress.message_id for progress in hello.partial]
        )
        self._partial = {progress.message_id: progress.received_bytes for progress in hello.partial}
        now = self._versions()
        welcome = pb.Welcome(
            protocol_version=version,
            software_version=__version__,
            lease_ms=_milliseconds(self._settings.lease),
            heartbeat_ms=_milliseconds(self._settings.heartbeat),
            max_message_bytes=self._settings.max_message_bytes,
            chunk_bytes=self._settings.chunk_bytes,
            roster_version=now.roster,
            contract_version=now.contract,
            model_number=now.model,
            board_number=now.board,
            partial=[
                pb.Progress(message_id=m, received_bytes=n) for m, n in self._book.partial_replies(self.member_id)
            ],
            forgotten=forgotten,
            ended_runs=sorted(set(hello.runs) - self._book.runs),
        )
        self.say(pb.CoordinatorFrame(welcome=welcome))

    def say(self, frame: pb.CoordinatorFrame) -> None:
        """Send a small frame as soon as the present chunk is out."""
        self._control.append(frame)
        self._wake.set()

    def nudge(self) -> None:
        """Look again whether there is a task to send."""
        self._wake.set()

    def close(self, reason: str) -> None:
        """Say goodbye and end the stream."""
        if not self._closing:
            self.say(pb.CoordinatorFrame(goodbye=pb.Goodbye(reason=reason)))
            self._closing = True

    def end(self) -> None:
        """End the stream without a word: the peer has ended it, or is not there any more."""
        self._control.clear()
        self._closing = True
        self._wake.set()

    def release(self) -> None:
        """Let go of files; what has arrived of replies stays for the next stream."""
        self._intake.release()
        if self._outgoing is not None:
            self._outgoing.close()
            self._outgoing = None

    async def next_frame(self) -> pb.CoordinatorFrame | None:
        """Return what to send next, waiting for it; None when the stream has been closed.

        Raises:
            DeadlineError: the node's lease has run out.
        """
        self._handed_over = None
        while True:
            frame = self._control.popleft() if self._control else None
            if frame is None and self._closing:
                return None
            frame = frame or self._task_frame() or self._heartbeat()
            if frame is not None:
                self._handed_over = self._monotonic()
                return frame
            await self._wait()

    def stuck(self) -> bool:
        """Tell whether the peer has not taken the last frame for as long as a lease."""
        lease = self._settings.lease.total_seconds()
        return self._handed_over is not None and self._monotonic() - self._handed_over > lease

    async def receive(self, frame: pb.NodeFrame) -> bool:
        """Take one frame of the node; return False when it was its goodbye.

        Raises:
            JointriskError: the frame breaks a rule; the stream has to end.
        """
        if self._closing:
            return False
        if len(self._control) > _UNREAD_AT_MOST:
            raise RefusedError(f"{self.member_id} sends without reading what it is answered")
        self._last_heard = self._monotonic()
        match frame.WhichOneof("frame"):
            case "reply":
                await self._intake.reply(frame.reply)
            case "chunk":
                await self._intake.chunk(frame.chunk)
            case "receipt":
                self._receipt(frame.receipt)
            case "failure":
                self._intake.failure(frame.failure)
            case "heartbeat":
                pass
            case "goodbye":
                return False
            case other:
                raise InvalidInputError(f"frame: expected a node's frame, got {other or 'nothing readable'}")
        return True

    def _receipt(self, receipt: pb.Receipt) -> None:
        ticket = self._book.find(self.member_id, transfer.check_message_id(receipt.message_id))
        if ticket is not None:
            ticket.at_node = True
            self._wake.set()

    def _task_frame(self) -> pb.CoordinatorFrame | None:
        if self._outgoing is not None and self._outgoing.finished:
            self._outgoing.close()
            self._outgoing = None
        if self._outgoing is not None:
            return self._chunk_frame(self._outgoing)
        ticket = self._book.next_for(self.member_id, self._settings.window)
        return None if ticket is None else self._open_task(ticket)

    def _chunk_frame(self, outgoing: Outgoing) -> pb.CoordinatorFrame | None:
        if not self._book.is_open(outgoing.header.message_id):  # withdrawn meanwhile: its file may be gone
            outgoing.close()
            self._outgoing = None
            return self._task_frame()
        offset, data = outgoing.next_chunk()
        return pb.CoordinatorFrame(chunk=pb.Chunk(message_id=outgoing.header.message_id, offset=offset, data=data))

    def _open_task(self, ticket: Ticket) -> pb.CoordinatorFrame | None:
        order = ticket.order
        if order is None:
            return None
        ticket.at_node = True
        start = self._partial.pop(ticket.message_id, 0)
        self._outgoing = Outgoing(order.header, order.content, start, self._settings.chunk_bytes)
        offset, data = self._outgoing.next_chunk()
        return pb.CoordinatorFrame(
            task=pb.Task(
                message_id=ticket.message_id,
                run_id=order.run_id,
                round=order.round,
                base_round=order.base_round,
                kind=order.kind,
                budget_ms=order.budget_ms,
                total_bytes=order.header.total_bytes,
                sha256=order.header.sha256,
                offset=offset,
                data=data,
            )
        )

    def _heartbeat(self) -> pb.CoordinatorFrame | None:
        now = self._monotonic()
        if now - self._last_heard > self._settings.lease.total_seconds():
            raise DeadlineError(f"{self.member_id}: nothing heard for {now - self._last_heard:.0f} s")
        if now - self._last_beat < self._settings.heartbeat.total_seconds():
            return None
        self._last_beat = now
        return pb.CoordinatorFrame(heartbeat=self._versions().beat())

    async def _wait(self) -> None:
        heartbeat = self._settings.heartbeat.total_seconds()
        left = max(0.0, self._last_beat + heartbeat - self._monotonic())
        self._wake.clear()
        try:
            async with asyncio.timeout(min(left, heartbeat) + 0.001):
                await self._wake.wait()
        except TimeoutError:
            return


def _milliseconds(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
