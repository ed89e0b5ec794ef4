"""Requests for evaluations and their answers between the wire and their own form."""

from jointrisk.errors import InvalidInputError
from jointrisk.evaluation import EvaluationRequest, Purpose
from jointrisk.federation.signing import Signed
from jointrisk.rpc.documents import from_message, to_message
from jointrisk.rpc.v1 import evaluation_pb2 as pb

PURPOSES = {
    pb.ADMISSION: Purpose.ADMISSION,
    pb.PORTFOLIO: Purpose.PORTFOLIO,
    pb.INVESTIGATION: Purpose.INVESTIGATION,
    pb.PUBLISHING: Purpose.PUBLISHING,
}
"""What stands on the wire for each purpose."""

_ON_THE_WIRE = {purpose: code for code, purpose in PURPOSES.items()}


def request_to_message(request: EvaluationRequest, signature: bytes) -> pb.EvaluateRequest:
    """Return a signed request as it is sent. Federation and asker are not in it: the holder knows them."""
    return pb.EvaluateRequest(
        epoch=request.epoch,
        generation=request.generation,
        request_id=request.request_id,
        purpose=purpose_to_message(request.purpose),
        quorum=request.quorum,
        consent=request.consent,
        elements=request.elements,
        head=None if request.head is None else to_message(request.head),
        signature=signature,
    )


def request_from_message(message: pb.EvaluateRequest, *, federation: str, asker: str) -> EvaluationRequest:
    """Return a request as it came; nothing about it is verified yet.

    Args:
        message: the request.
        federation: the holder's own.
        asker: the member in the caller's certificate.

    Raises:
        InvalidInputError: the purpose is not known.
    """
    return EvaluationRequest(
        federation=federation,
        asker=asker,
        epoch=message.epoch,
        generation=message.generation,
        request_id=message.request_id,
        purpose=purpose_from_message(message.purpose),
        quorum=tuple(message.quorum),
        consent=message.consent,
        elements=message.elements,
        head=head_from_message(message),
    )


def head_from_message(message: pb.EvaluateRequest | pb.EvaluateResponse) -> Signed | None:
    """Return the head that came with a request or an answer, not verified yet; None where there is none."""
    return from_message(message.head) if message.HasField("head") else None


def purpose_from_message(code: int) -> Purpose:
    """Return a purpose.

    Raises:
        InvalidInputError: the code is not known.
    """
    purpose = next((known for value, known in PURPOSES.items() if value == code), None)
    if purpose is None:
        raise InvalidInputError(f"expected a purpose of this version, got {code}")
    return purpose


def purpose_to_message(purpose: Purpose) -> "pb.Purpose.ValueType":
    """Return what stands for a purpose on the wire."""
    return _ON_THE_WIRE[purpose]
