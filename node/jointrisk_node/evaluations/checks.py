"""What a holder checks of a request before it charges it. Pure.

=============  =======================================================================================
shape          1 to 4,096 elements of 32 bytes, a request id, a commitment to a consent reference
generation     this node holds a share of it, and it is of that epoch
quorum         as many holders of the generation as its threshold says, sorted, each once, this node one of
               them (*with fewer, an answer would be worth nothing; with others, it would be a false one*)
signature      the asker's pinned identity key has signed all of it (*a certificate alone authorises nothing*)
=============  =======================================================================================

That each element is valid shows when it is multiplied: a batch with one that is not is charged, and not answered.
"""

from jointrisk.errors import ConflictError, InvalidInputError, TooLargeError, UnauthenticatedError
from jointrisk.evaluation import CONSENT_LENGTH, REQUEST_ID_LENGTH, EvaluationRequest
from jointrisk.federation.signing import SIGNATURE_LENGTH, verify_signature
from jointrisk.oprf.bulk import MAX_BATCH
from jointrisk.oprf.group import LENGTH
from jointrisk_node.evaluations.shares import Held


def check_shape(request: EvaluationRequest, signature: bytes) -> int:
    """Return how many elements a request has.

    Raises:
        InvalidInputError: a field has another length, or the quorum is not sorted.
        TooLargeError: there are too many elements.
    """
    for data, length, what in (
        (request.request_id, REQUEST_ID_LENGTH, "a request id"),
        (request.consent, CONSENT_LENGTH, "a commitment to a consent reference"),
        (signature, SIGNATURE_LENGTH, "a signature"),
    ):
        if len(data) != length:
            raise InvalidInputError(f"expected {what} of {length} bytes, got {len(data)}")
    number, rest = divmod(len(request.elements), LENGTH)
    if not number or rest:
        raise InvalidInputError(f"expected at least one element of {LENGTH} bytes, got {len(request.elements)} bytes")
    if number > MAX_BATCH:
        raise TooLargeError(f"expected at most {MAX_BATCH} elements, got {number}")
    return number


def check_quorum(request: EvaluationRequest, held: Held, holder: str) -> list[int]:
    """Return the indices of the quorum.

    Args:
        request: the request.
        held: the generation that it names.
        holder: this node's name.

    Raises:
        InvalidInputError: the quorum is not sorted, holds a name twice, another number of names, or one that holds no
            share; or this node is not in it.
    """
    quorum = request.quorum
    if list(quorum) != sorted(set(quorum)):
        raise InvalidInputError("expected a quorum that is sorted, each holder once")
    if len(quorum) != held.key.threshold:
        raise InvalidInputError(f"expected a quorum of {held.key.threshold} holders, got {len(quorum)}")
    if holder not in quorum or not held.indices.keys() >= set(quorum):
        raise InvalidInputError(
            f"expected a quorum of holders of generation {held.key.generation}, {holder} among them"
        )
    return [held.indices[name] for name in quorum]


def check_signature(signed_bytes: bytes, signature: bytes, identity_key: bytes) -> None:
    """Refuse a request that the asker has not signed.

    Args:
        signed_bytes: of the request.
        signature: as it came.
        identity_key: the asker's, pinned.

    Raises:
        UnauthenticatedError: it is not signed with that key.
    """
    if not verify_signature(signed_bytes, signature, identity_key):
        raise UnauthenticatedError("the request is not signed with the identity key that is pinned for the asker")


def no_share(epoch: int, generation: int) -> ConflictError:
    """Return what an asker is told that names a generation of which this node holds no share."""
    return ConflictError(
        f"this node holds no share of generation {generation} of epoch {epoch}",
        remedy="Use the newest generation of an epoch that is served, and ask its holders.",
    )
