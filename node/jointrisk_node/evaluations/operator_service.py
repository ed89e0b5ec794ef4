"""gRPC adapter of a holder's status for the node's operator."""

import asyncio

from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import holder_operator_pb2 as pb
from jointrisk.rpc.v1.holder_operator_pb2_grpc import NodeHolderOperatorServicer
from jointrisk_node.evaluations.computing import Evaluator
from jointrisk_node.evaluations.desk import EvaluationDesk
from jointrisk_node.evaluations.quota import Account
from jointrisk_node.evaluations.shares import Held


class HolderOperatorService(NodeHolderOperatorServicer):
    """Serves the operator socket.

    Args:
        desk: what answers members.
        evaluator: what computes for it.
        address: where it listens; empty when it does not.
    """

    def __init__(self, desk: EvaluationDesk, evaluator: Evaluator, address: str) -> None:
        self._desk = desk
        self._evaluator = evaluator
        self._address = address

    async def GetHolder(self, request: pb.GetHolderRequest, context: Context) -> pb.HolderStatus:
        """Say what this node answers, and what members have used."""
        return await asyncio.to_thread(self._status)

    def _status(self) -> pb.HolderStatus:
        return pb.HolderStatus(
            address=self._address,
            generations=[_generation(held) for held in self._desk.shares.all()],
            members=[self._use(*one) for one in self._desk.book.accounts()],
            batches_waiting=self._evaluator.bulk_places.taken,
        )

    def _use(self, member: str, epoch: int, account: Account) -> pb.MemberUse:
        left = self._desk.quota(member, epoch)
        return pb.MemberUse(
            member_id=member,
            epoch=epoch,
            charged=str(account.charged),
            published=str(account.published),
            tags_seen=str(account.tags),
            epoch_left=str(left.epoch_left),
            epoch_ceiling=str(left.epoch_ceiling),
            purposes=[
                pb.PurposeUse(
                    purpose=purpose.value, left=str(one.left), capacity=str(one.capacity), days=one.period.days
                )
                for purpose, one in left.purposes.items()
            ],
        )


def _generation(held: Held) -> pb.HeldGeneration:
    key = held.key
    return pb.HeldGeneration(
        epoch=key.epoch,
        generation=key.generation,
        threshold=key.threshold,
        holders=[name for name, _ in key.holders],
    )
