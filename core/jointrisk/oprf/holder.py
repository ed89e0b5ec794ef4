"""A holder's side: multiplies an asker's blinded elements with its share of the key, and proves it.

The whole batch is answered, or nothing: one bad element makes an error before anything is returned.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import dleq, group
from jointrisk.oprf.bulk import Spread, in_chunks, map_items, require_batch
from jointrisk.oprf.dleq import Proof
from jointrisk.oprf.group import Element, Randomness, Scalar
from jointrisk.oprf.sharing import lagrange
from jointrisk.oprf.suite import VOPRF, Suite


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A holder's answer to a batch.

    Attributes:
        elements: the evaluated elements, in the batch's order.
        proof: that all of them were multiplied with the holder's key.
    """

    elements: tuple[Element, ...]
    proof: Proof


def evaluate_share(
    share: Scalar,
    index: int,
    quorum: Collection[int],
    blinded: Sequence[bytes],
    randomness: Randomness,
    spread: Spread = in_chunks,
) -> Evaluation:
    """Answer a batch with a share of the key, weighted for the quorum that was asked.

    The holder applies its own Lagrange coefficient, so that the asker only adds the answers; it is public, and the
    proof is against the share's public key multiplied with it.

    Args:
        share: the holder's share.
        index: the holder's index.
        quorum: the indices of all that are asked, this holder's among them.
        blinded: the elements as they came, checked here.
        randomness: the proof's nonce is drawn.
        spread: how the work is spread.

    Raises:
        InvalidInputError: the holder is not in the quorum, an index is there twice or is none, the batch is empty, or
            one of its elements is not the canonical encoding of one or the identity.
        TooLargeError: the batch has too many elements.
    """
    coefficients = lagrange(quorum)
    if index not in coefficients:
        raise InvalidInputError("expected a quorum with this holder in it, got one without")
    return evaluate(group.scalar_multiply(coefficients[index], share), blinded, randomness, spread=spread)


def evaluate(
    private_key: Scalar,
    blinded: Sequence[bytes],
    randomness: Randomness,
    suite: Suite = VOPRF,
    spread: Spread = in_chunks,
) -> Evaluation:
    """Answer a batch with a whole key and a proof (RFC 9497 section 3.3.2, BlindEvaluate).

    Raises:
        InvalidInputError: the batch is empty, or one of its elements is not valid.
        TooLargeError: the batch has too many elements.
    """
    elements = evaluate_unproven(private_key, blinded, spread)
    before = [Element(one) for one in blinded]
    return Evaluation(elements, dleq.prove(private_key, before, elements, randomness, suite, spread))


def evaluate_unproven(private_key: Scalar, blinded: Sequence[bytes], spread: Spread = in_chunks) -> tuple[Element, ...]:
    """Multiply each element with the key (RFC 9497 section 3.3.1, BlindEvaluate), without a proof.

    Raises:
        InvalidInputError: the batch is empty, or one of its elements is not valid.
        TooLargeError: the batch has too many elements.
    """
    require_batch(blinded)
    # The multiplication refuses what is no element in canonical form, and the identity: its product is the identity.
    return tuple(map_items(partial(group.multiply, private_key), [Element(one) for one in blinded], spread))
