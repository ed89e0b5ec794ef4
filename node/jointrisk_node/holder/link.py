"""Keeping up with the bulletin board over gRPC."""

import asyncio
from collections.abc import Iterable, Sized
from datetime import timedelta
from typing import Protocol

import structlog

from jointrisk.errors import (
    ConflictError,
    DeadlineError,
    JointriskError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from jointrisk.foreign_text import printable
from jointrisk.oprf.ceremony import SignedMessage, Terms
from jointrisk.rpc.documents import from_message, to_message
from jointrisk.rpc.v1 import ceremony_pb2 as pb
from jointrisk_node.attempts import attempt
from jointrisk_node.holder.participation import BoardView, CeremonyDesk
from jointrisk_node.holder.transcripts import Transcript

_PASSES = 5  # one for each step of a ceremony; a board that never shows what it was given is not asked on and on
_LONGEST_STATE = 16
_LONGEST_DETAIL = 500
_LONGEST_NAME = 40
_MOST_NAMES = 27  # new holders, dealers and present holders: 9 of each
_MOST_MESSAGES = 1000  # 18 parties with 4 slots, and what contradicts them: an honest board never has so many

log = structlog.get_logger()


class BoardCalls(Protocol):
    """Calls of the coordinator's CeremonyService. Each raises what a failed call stands for (JointriskError)."""

    async def read_board(self, request: pb.ReadBoardRequest) -> pb.ReadBoardResponse:
        """Read the board."""
        ...

    async def approve_ceremony(self, request: pb.ApproveCeremonyRequest) -> pb.ApproveCeremonyResponse:
        """Bring an approval."""
        ...

    async def post_message(self, request: pb.PostMessageRequest) -> pb.PostMessageResponse:
        """Post a message."""
        ...

    async def list_generations(self, request: pb.ListGenerationsRequest) -> pb.ListGenerationsResponse:
        """Read the transcripts of ceremonies that are done."""
        ...


class CeremonyLink:
    """Reads the board and posts what this node's party says.

    Args:
        desk: this node's part.
        calls: of the coordinator.

    Attributes:
        awaited: the ceremony that waits for a person at this node, its session as hex; empty for none.
    """

    def __init__(self, desk: CeremonyDesk, calls: BoardCalls) -> None:
        self._desk = desk
        self._calls = calls
        self._lock = asyncio.Lock()
        self.awaited = ""

    async def keep_up(self, changed: asyncio.Event, *, every: timedelta) -> None:
        """Read the board whenever something has happened on it, and now and then."""
        while True:
            changed.clear()
            await attempt("ceremony", self.step())
            try:
                async with asyncio.timeout(every.total_seconds()):
                    await changed.wait()
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Do everything that can be done now.

        Raises:
            JointriskError: the coordinator cannot be asked, or what it shows is refused.
        """
        async with self._lock:
            # What was made meanwhile comes first: a ceremony that it has overtaken is not voted in any more.
            await self._learn()
            # Then earlier ceremonies: whose end this node missed may have left it a share that the next one needs.
            for session in await asyncio.to_thread(self._desk.unfinished):
                await self._catch_up(session)
            await self._approve_where_nobody_is_asked()
            await self._take_part()
            await self._learn()

    async def view(self) -> BoardView:
        """Return the ceremony that goes on, or was the last.

        Raises:
            NotFoundError: there has been none.
            JointriskError: the coordinator cannot be asked.
        """
        view = await self._view()
        if view is None:
            raise NotFoundError("there has been no key ceremony")
        return view

    async def approve(self, ceremony_id: str, compared: str) -> BoardView:
        """Bring this member's approval to the board, and take part.

        Args:
            ceremony_id: the session's hexadecimal form, or the beginning of it.
            compared: the fingerprint of the terms that a person has read.

        Raises:
            NotFoundError: it is not the newest ceremony.
            ConflictError: it is over.
            InvalidInputError, RefusedError: see `CeremonyDesk.approve`.
        """
        await self._learn()
        view = await self.view()
        if not ceremony_id or not view.terms.session.hex().startswith(ceremony_id.lower()):
            raise NotFoundError("there is no such ceremony", remedy="See `jointrisk node ceremony status`.")
        if view.state in {"done", "aborted"}:
            raise ConflictError(f"the ceremony is over: {view.state}")
        approval = await asyncio.to_thread(self._desk.approve, view, compared)
        await self._calls.approve_ceremony(pb.ApproveCeremonyRequest(approval=to_message(approval)))
        await self.step()
        return await self.view()

    async def _approve_where_nobody_is_asked(self) -> None:
        """Look at the newest ceremony, and bring this member's approval to it if people need not be asked."""
        view = await self._view()
        approval = None if view is None else await asyncio.to_thread(self._desk.consider, view)
        if view is not None and approval is not None and approval not in view.approvals:
            await self._calls.approve_ceremony(pb.ApproveCeremonyRequest(approval=to_message(approval)))
        await self._tell_people(view)

    async def _tell_people(self, view: BoardView | None) -> None:
        """Note whether a ceremony waits for a person here, and say so once in the log."""
        awaited = ""
        if view is not None and view.state == "approving":
            undecided = await asyncio.to_thread(self._desk.ours, view.terms) == "not approved"
            awaited = view.terms.session.hex() if undecided else ""
        if awaited not in {"", self.awaited}:
            log.info("ceremony.approval_awaited", ceremony=awaited)
        self.awaited = awaited

    async def _catch_up(self, session: bytes) -> None:
        """Take part in an earlier ceremony. Whatever stops that does not stop this node for later ones."""
        try:
            await self._take_part(session)
        except (UnavailableError, DeadlineError):
            raise
        except NotFoundError:
            pass  # the board was restored from a copy that does not have it
        except JointriskError as error:
            log.warning("ceremony.stuck", ceremony=session.hex(), code=error.code, reason=error.message)

    async def _take_part(self, session: bytes = b"") -> None:
        """Read a ceremony and bring to the board what this node has to say, until that is nothing more."""
        for _ in range(_PASSES):
            view = await self._view(session)
            if view is None:
                return
            said = await asyncio.to_thread(self._desk.take_part, view)
            shown = set(view.messages)
            lacking = [message for message in said if message not in shown]
            if not lacking:
                return
            await self._post(lacking)

    async def _post(self, messages: Iterable[SignedMessage]) -> None:
        """Bring messages to the board. One that it refuses, say of a liar who fills it, does not hold back the others.

        Raises:
            JointriskError: what the board said to the first that it refused, or the coordinator cannot be reached.
        """
        refused: JointriskError | None = None
        for message in messages:
            try:
                await self._calls.post_message(pb.PostMessageRequest(session=message.session, message=message.encoded))
            except (UnavailableError, DeadlineError):
                raise
            except JointriskError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    async def _view(self, session: bytes = b"") -> BoardView | None:
        response = await self._calls.read_board(pb.ReadBoardRequest(session=session))
        if not response.HasField("ceremony"):
            return None
        shown = response.ceremony
        _require_few(shown.approvals, response.messages)
        return BoardView(
            terms=Terms.decode(shown.terms),
            state=printable(shown.state, _LONGEST_STATE),
            detail=printable(shown.detail, _LONGEST_DETAIL),
            approvals=tuple(from_message(one) for one in shown.approvals),
            waiting_for=tuple(printable(name, _LONGEST_NAME) for name in shown.waiting_for[:_MOST_NAMES]),
            abort_asked=shown.abort_asked,
            messages=tuple(SignedMessage.decode(one) for one in response.messages),
        )

    async def _learn(self) -> None:
        after = await asyncio.to_thread(self._desk.generations.learn_after)
        response = await self._calls.list_generations(pb.ListGenerationsRequest(after=after))
        for one in response.generations:
            _require_few(one.approvals, one.messages)
        found = [
            Transcript(
                Terms.decode(one.terms),
                tuple(SignedMessage.decode(message) for message in one.messages),
                tuple(from_message(signed) for signed in one.approvals),
            )
            for one in response.generations
        ]
        await asyncio.to_thread(self._desk.learn, found)


def _require_few(*many: Sized) -> None:
    """Refuse what takes long to verify for nothing, every time that a coordinator says that it has news."""
    if (most := max(map(len, many))) > _MOST_MESSAGES:
        raise TooLargeError(f"expected at most {_MOST_MESSAGES} messages and approvals of a ceremony, got {most}")
