"""gRPC adapter of key ceremonies for the node's operator."""

import asyncio

from jointrisk.ceremony_suite import CeremonySuite
from jointrisk.oprf.ceremony import Board, GroupKey
from jointrisk.rpc.ceremonies import ceremony_status
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import NodeCeremonyOperatorServicer
from jointrisk_node.holder.link import CeremonyLink
from jointrisk_node.holder.participation import BoardView, CeremonyDesk


class CeremonyOperatorService(NodeCeremonyOperatorServicer):
    """Serves the operator socket.

    Args:
        desk: this node's part.
        link: reads the board.
    """

    def __init__(self, desk: CeremonyDesk, link: CeremonyLink) -> None:
        self._desk = desk
        self._link = link

    async def GetCeremony(self, request: pb.GetCeremonyRequest, context: Context) -> pb.NodeCeremony:
        """Return the ceremony that goes on, or was the last, judged from its messages."""
        return await asyncio.to_thread(self._seen, await self._link.view())

    async def ApproveCeremony(self, request: pb.ApproveNodeCeremonyRequest, context: Context) -> pb.NodeCeremony:
        """Approve a ceremony whose terms a person has read."""
        view = await self._link.approve(request.ceremony_id, request.terms_fingerprint)
        return await asyncio.to_thread(self._seen, view)

    async def ListGenerations(self, request: pb.ListNodeGenerationsRequest, context: Context) -> pb.NodeGenerationList:
        """List the generations that this node has verified."""
        return await asyncio.to_thread(self._generations)

    def _seen(self, view: BoardView) -> pb.NodeCeremony:
        board = Board(view.terms, CeremonySuite(), view.messages)
        status = ceremony_status(
            view.terms,
            state=view.state,
            detail=view.detail,
            approved_by=self._desk.approvers(view),
            waiting_for=view.waiting_for,
            missing=board.missing() if view.state == "running" else (),
            messages=view.messages,
            key=board.outcome.key if board.outcome else None,
        )
        return pb.NodeCeremony(status=status, ours=self._desk.ours(view.terms))

    def _generations(self) -> pb.NodeGenerationList:
        ledger = self._desk.generations
        return pb.NodeGenerationList(
            generations=[_generation(key, ledger.ours(key.generation)) for key in ledger.all()]
        )


def _generation(key: GroupKey, ours: str) -> pb.NodeGeneration:
    return pb.NodeGeneration(
        generation=key.generation,
        epoch=key.epoch,
        threshold=key.threshold,
        holders=[name for name, _ in key.holders],
        group_key=key.public_key.hex(),
        ours=ours,
    )
