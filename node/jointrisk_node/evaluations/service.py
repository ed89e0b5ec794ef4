"""gRPC adapter of evaluations for other members."""

from collections.abc import Callable

from jointrisk.federation.certificates import Identity
from jointrisk.rpc.documents import to_message
from jointrisk.rpc.evaluations import purpose_to_message, request_from_message
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk.rpc.v1.evaluation_pb2_grpc import EvaluationServiceServicer
from jointrisk_node.evaluations.desk import EvaluationDesk, QuotaLeft


class EvaluationServicer(EvaluationServiceServicer):
    """Serves members.

    Args:
        desk: answers.
        caller: whose certificate a call came with.
    """

    def __init__(self, desk: EvaluationDesk, caller: Callable[[Context], Identity]) -> None:
        self._desk = desk
        self._caller = caller

    async def Evaluate(self, request: pb.EvaluateRequest, context: Context) -> pb.EvaluateResponse:
        """Answer a batch, or refuse it whole."""
        asker = self._caller(context).member_id
        asked = request_from_message(request, federation=self._desk.federation, asker=asker)
        answered = await self._desk.evaluate(asked, request.signature, context.time_remaining())
        return pb.EvaluateResponse(
            elements=answered.answer.elements,
            proof=answered.answer.proof,
            head=None if answered.head is None else to_message(answered.head),
            signature=answered.signature,
        )

    async def GetQuota(self, request: pb.GetQuotaRequest, context: Context) -> pb.Quota:
        """Say what the caller has left."""
        return _quota(self._desk.quota(self._caller(context).member_id, request.epoch))


def _quota(left: QuotaLeft) -> pb.Quota:
    return pb.Quota(
        epoch_left=left.epoch_left,
        epoch_ceiling=left.epoch_ceiling,
        purposes=[
            pb.PurposeQuota(
                purpose=purpose_to_message(purpose),
                left=one.left,
                capacity=one.capacity,
                period_seconds=int(one.period.total_seconds()),
            )
            for purpose, one in left.purposes.items()
        ],
    )
