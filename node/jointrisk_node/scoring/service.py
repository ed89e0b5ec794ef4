"""gRPC adapter of scoring: single applicants, on the operator socket."""

from jointrisk.errors import TooLargeError
from jointrisk.learning.reasons import MOST_REASONS
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import score_pb2 as pb
from jointrisk.rpc.v1.score_pb2_grpc import ScoreServiceServicer
from jointrisk_node.scoring.applicant import Value
from jointrisk_node.scoring.warm import ApplicantScore, ScoringDesk

MOST_APPLICANTS = 1000


class ScoreServicer(ScoreServiceServicer):
    """Serves systems on the node's own machine.

    Args:
        desk: scores.
    """

    def __init__(self, desk: ScoringDesk) -> None:
        self._desk = desk

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Score applicants with the active model."""
        if len(request.applicants) > MOST_APPLICANTS:
            raise TooLargeError(
                f"expected at most {MOST_APPLICANTS} applicants, got {len(request.applicants)}",
                remedy="Score files with `jointrisk node score FILE`.",
            )
        if request.reasons > MOST_REASONS:
            raise TooLargeError(f"expected at most {MOST_REASONS} reasons, got {request.reasons}")
        applicants = [{name: _value(value) for name, value in one.features.items()} for one in request.applicants]
        model, scores = await self._desk.score(applicants, request.reasons)
        return pb.ScoreResponse(
            model_id=model.model_id, contract_version=model.contract_version, scores=map(_score, scores)
        )


def _value(value: pb.Value) -> Value:
    match value.WhichOneof("value"):
        case "number":
            return value.number
        case "text":
            return value.text
        case "flag":
            return value.flag
        case _:
            return None


def _score(score: ApplicantScore) -> pb.Score:
    return pb.Score(
        pd=score.pd,
        points=score.points,
        band=score.band,
        breaches=[
            pb.FeatureBreach(column=breach.column, rule=breach.rule, expected=breach.expected)
            for breach in score.breaches
        ],
        reasons=[
            pb.ReasonCode(group=code.group, en=code.text.en, zh=code.text.zh, contribution=code.contribution)
            for code in score.reasons
        ],
    )
