"""gRPC adapter of key ceremonies for the coordinator's operator."""

import asyncio
from collections.abc import Callable, Collection

from jointrisk.clock import rfc3339
from jointrisk.errors import NotFoundError
from jointrisk.rpc.ceremonies import ceremony_status
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import CeremonyOperatorServicer
from jointrisk_coordinator.ceremonies.board import BulletinBoard, CeremonyView
from jointrisk_coordinator.ceremonies.proposing import Wish


class CeremonyOperatorService(CeremonyOperatorServicer):
    """Serves the operator socket.

    Args:
        board: the bulletin board.
        online: returns who is connected now.
    """

    def __init__(self, board: BulletinBoard, online: Callable[[], Collection[str]]) -> None:
        self._board = board
        self._online = online

    async def StartCeremony(self, request: pb.StartCeremonyRequest, context: Context) -> pb.CeremonyStatus:
        """Propose a ceremony."""
        wish = Wish(request.what, request.threshold, tuple(request.holders), tuple(request.dealers))
        return _status(await asyncio.to_thread(self._board.propose, wish, frozenset(self._online())))

    async def GetCeremony(self, request: pb.GetCeremonyRequest, context: Context) -> pb.CeremonyStatus:
        """Return the ceremony that goes on, or was the last."""
        view = await asyncio.to_thread(self._board.newest)
        if view is None:
            raise NotFoundError("there has been no key ceremony", remedy="`ceremony start` proposes the first.")
        return _status(view)

    async def AbortCeremony(self, request: pb.AbortCeremonyRequest, context: Context) -> pb.CeremonyStatus:
        """Ask the parties to give up."""
        return _status(await asyncio.to_thread(self._board.abort))


def _status(view: CeremonyView) -> pb.CeremonyStatus:
    status = ceremony_status(
        view.terms,
        state=view.state,
        detail=view.detail,
        approved_by=view.approvals,
        waiting_for=view.waiting_for,
        missing=view.missing,
        messages=view.messages,
        key=view.key,
    )
    status.started_at = rfc3339(view.started_at)
    return status
