"""gRPC adapter of evaluations for other members."""

import asyncio
from collections.abc import AsyncIterator, Callable

from jointrisk.errors import JointriskError
from jointrisk.federation.certificates import Identity
from jointrisk.rpc.documents import to_message
from jointrisk.rpc.evaluations import purpose_to_message, request_from_message
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk.rpc.v1.evaluation_pb2_grpc import EvaluationServiceServicer
from jointrisk_node.evaluations.computing import Places
from jointrisk_node.evaluations.desk import Answered, EvaluationDesk, QuotaLeft

_STREAMS = 1024
_STREAMS_OF_ONE = 8  # a node has one, and for moments the one before it


class EvaluationServicer(EvaluationServiceServicer):
    """Serves members.

    Args:
        desk: answers.
        caller: whose certificate a call came with.
    """

    def __init__(self, desk: EvaluationDesk, caller: Callable[[Context], Identity]) -> None:
        self._desk = desk
        self._caller = caller
        self._streams = Places(_STREAMS, _STREAMS_OF_ONE)
        self._idle: set[asyncio.Task[object]] = set()
        self._closing = False

    async def Evaluate(self, request: pb.EvaluateRequest, context: Context) -> pb.EvaluateResponse:
        """Answer a batch, or refuse it whole."""
        return await self._evaluated(request, self._caller(context), context.time_remaining())

    async def EvaluateEach(
        self, requests: AsyncIterator[pb.EvaluateRequest], context: Context
    ) -> AsyncIterator[pb.EvaluateReply]:
        """Answer requests in the order in which they come, each judged by the roster as it is then."""
        caller = self._caller(context)
        with self._streams.place(caller.member_id):
            async for request in self._until_closed(requests):
                self._desk.require(caller)
                yield await self._reply(request, caller)

    async def GetQuota(self, request: pb.GetQuotaRequest, context: Context) -> pb.Quota:
        """Say what the caller has left."""
        return _quota(self._desk.quota(self._caller(context).member_id, request.epoch))

    def close(self) -> None:
        """End all streams: at once where nothing is being answered, after the answer otherwise."""
        self._closing = True
        for task in self._idle:
            task.cancel()

    async def _until_closed(self, requests: AsyncIterator[pb.EvaluateRequest]) -> AsyncIterator[pb.EvaluateRequest]:
        stream, task = aiter(requests), asyncio.current_task()
        while task is not None and not self._closing:
            self._idle.add(task)
            try:
                request = await anext(stream, None)
            finally:
                self._idle.discard(task)
            if request is None:
                return
            yield request

    async def _reply(self, request: pb.EvaluateRequest, caller: Identity) -> pb.EvaluateReply:
        try:
            return pb.EvaluateReply(answer=await self._evaluated(request, caller, None))
        except JointriskError as error:
            refusal = pb.EvaluateRefusal(code=error.code, message=error.message, remedy=error.remedy)
            return pb.EvaluateReply(refusal=refusal)

    async def _evaluated(
        self, request: pb.EvaluateRequest, caller: Identity, time_left: float | None
    ) -> pb.EvaluateResponse:
        asked = request_from_message(request, federation=self._desk.federation, asker=caller.member_id)
        return _response(await self._desk.evaluate(asked, request.signature, time_left))


def _response(answered: Answered) -> pb.EvaluateResponse:
    return pb.EvaluateResponse(
        elements=answered.answer.elements,
        proof=answered.answer.proof,
        head=None if answered.head is None else to_message(answered.head),
        signature=answered.signature,
    )


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
