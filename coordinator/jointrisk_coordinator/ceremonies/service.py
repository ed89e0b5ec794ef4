"""gRPC adapter of the bulletin board: members read it and post."""

import asyncio
from collections.abc import Callable

from jointrisk.federation.certificates import Identity
from jointrisk.rpc.documents import from_message, to_message
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import ceremony_pb2 as pb
from jointrisk.rpc.v1.ceremony_pb2_grpc import CeremonyServiceServicer
from jointrisk_coordinator.ceremonies.board import BulletinBoard, CeremonyView


class CeremonyServicer(CeremonyServiceServicer):
    """Serves members. Errors are raised as they are; the server's guard maps them.

    Args:
        board: the bulletin board.
        peer: who calls, by its certificate.
    """

    def __init__(self, board: BulletinBoard, peer: Callable[[Context], Identity]) -> None:
        self._board = board
        self._peer = peer

    async def ReadBoard(self, request: pb.ReadBoardRequest, context: Context) -> pb.ReadBoardResponse:
        """Return a ceremony with all its messages."""
        if request.session:
            view: CeremonyView | None = await asyncio.to_thread(self._board.get, request.session)
        else:
            view = await asyncio.to_thread(self._board.newest)
        if view is None:
            return pb.ReadBoardResponse()
        return pb.ReadBoardResponse(ceremony=_ceremony(view), messages=[message.encoded for message in view.messages])

    async def ApproveCeremony(self, request: pb.ApproveCeremonyRequest, context: Context) -> pb.ApproveCeremonyResponse:
        """Take the caller's approval."""
        member = self._peer(context).member_id
        waiting = await asyncio.to_thread(self._board.approve, member, from_message(request.approval))
        return pb.ApproveCeremonyResponse(waiting_for=waiting)

    async def PostMessage(self, request: pb.PostMessageRequest, context: Context) -> pb.PostMessageResponse:
        """Put a message on the board; whoever brings it, its sender has signed it."""
        await asyncio.to_thread(self._board.post, request.session, request.message)
        return pb.PostMessageResponse()

    async def ListGenerations(self, request: pb.ListGenerationsRequest, context: Context) -> pb.ListGenerationsResponse:
        """Return the transcripts of ceremonies that made generations."""
        views = await asyncio.to_thread(self._board.generations, request.after)
        return pb.ListGenerationsResponse(
            generations=[
                pb.Transcript(
                    terms=view.terms.encoded,
                    messages=[message.encoded for message in view.messages],
                    approvals=[to_message(signed) for signed in view.approvals.values()],
                )
                for view in views
            ]
        )


def _ceremony(view: CeremonyView) -> pb.Ceremony:
    return pb.Ceremony(
        session=view.terms.session,
        terms=view.terms.encoded,
        state=view.state,
        detail=view.detail,
        approvals=[to_message(signed) for signed in view.approvals.values()],
        waiting_for=view.waiting_for,
        abort_asked=view.abort_asked,
    )
