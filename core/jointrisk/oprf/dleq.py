"""Proof that many elements were multiplied with the same private key (RFC 9497 section 2.2), as one of 64 bytes.

The prover shows that the logarithm of its public key equals that of one weighted sum over another; the weights are
hashes over everything, so that no wrong element hides behind a right one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce as fold
from hashlib import sha512

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.bulk import Spread, in_chunks
from jointrisk.oprf.group import Element, Randomness, Scalar
from jointrisk.oprf.suite import VOPRF, Suite, length_prefixed

_MAX_PAIRS = 2**16 - 1  # The index in the transcript has two bytes.


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof as RFC 9497 serializes it: the challenge and the response.

    Raises:
        InvalidInputError: one of them is not a scalar below the group's order. libsodium would reduce it, and a proof
            would have many encodings.
    """

    challenge: Scalar
    response: Scalar

    def __post_init__(self) -> None:
        group.scalar(self.challenge)
        group.scalar(self.response)

    def to_bytes(self) -> bytes:
        """Return the 64 bytes of the wire."""
        return self.challenge + self.response

    @classmethod
    def from_bytes(cls, data: bytes) -> "Proof":
        """Read a proof.

        Raises:
            InvalidInputError: it is not 64 bytes, or one of its scalars is not below the group's order.
        """
        if len(data) != 2 * group.LENGTH:
            raise InvalidInputError(f"expected a proof of {2 * group.LENGTH} bytes, got {len(data)}")
        return cls(Scalar(data[: group.LENGTH]), Scalar(data[group.LENGTH :]))


def prove(
    private_key: Scalar,
    before: Sequence[Element],
    after: Sequence[Element],
    randomness: Randomness,
    suite: Suite = VOPRF,
    spread: Spread = in_chunks,
) -> Proof:
    """Prove that ``after`` is ``before`` multiplied with the private key, element for element (GenerateProof).

    Args:
        private_key: the key; its public key is computed here.
        before: the blinded elements.
        after: the evaluated elements, as many.
        randomness: a nonce is drawn. Two proofs with one nonce give away the key.
        suite: the mode.
        spread: how the work is spread.

    Raises:
        InvalidInputError: there are none, too many, not as many on both sides, or one of ``before`` is no element.
    """
    public_key = group.multiply_base(private_key)
    weigh = _weights(public_key, suite)
    _require_pairs(before, after)
    summed = _sum(spread(lambda chunk: _weighted_before(weigh, chunk), _numbered(before, after)))
    image = group.multiply(private_key, summed)  # ComputeCompositesFast: the key saves the second sum
    nonce = group.random_scalar(randomness)
    commitments = group.multiply_base(nonce), group.multiply(nonce, summed)
    challenge = _challenge(suite, public_key, summed, image, *commitments)
    return Proof(challenge, group.scalar_subtract(nonce, group.scalar_multiply(challenge, private_key)))


def verify(
    public_key: Element,
    before: Sequence[Element],
    after: Sequence[Element],
    proof: Proof,
    suite: Suite = VOPRF,
) -> bool:
    """Tell whether ``after`` is ``before`` multiplied with the private key of ``public_key`` (VerifyProof).

    Anything malformed makes it false: elements that are none, other numbers of them.
    """
    try:
        _require_pairs(before, after)
        weigh = _weights(group.element(public_key), suite)
        chunks = in_chunks(lambda chunk: _weighted_both(weigh, chunk), _numbered(before, after))
        summed, image = (_sum(side) for side in zip(*chunks, strict=True))
        expected = _challenge(suite, public_key, summed, image, *_commitments(public_key, summed, image, proof))
    except InvalidInputError:
        return False
    return expected == proof.challenge


_Pair = tuple[int, Element, Element]
_Weigh = Callable[[_Pair], Scalar]


def _weights(public_key: Element, suite: Suite) -> _Weigh:
    """Return the function that gives a pair's weight: the loop's first half in ComputeComposites."""
    tag = b"Seed-" + suite.context
    seed = length_prefixed(sha512(length_prefixed(public_key) + length_prefixed(tag)).digest())
    size = group.LENGTH.to_bytes(2)

    def weigh(pair: _Pair) -> Scalar:
        index, one, other = pair
        return suite.hash_to_scalar(b"".join((seed, index.to_bytes(2), size, one, size, other, b"Composite")))

    return weigh


def _weighted_before(weigh: _Weigh, pairs: Sequence[_Pair]) -> Element:
    return _sum([group.multiply(weigh(pair), pair[1]) for pair in pairs])


def _weighted_both(weigh: _Weigh, pairs: Sequence[_Pair]) -> tuple[Element, Element]:
    weighted = [(weigh(pair), pair[1], pair[2]) for pair in pairs]
    return (
        _sum([group.multiply(weight, one) for weight, one, _ in weighted]),
        _sum([group.multiply(weight, other) for weight, _, other in weighted]),
    )


def _sum(elements: Sequence[Element]) -> Element:
    return fold(group.add, elements)


def _commitments(public_key: Element, summed: Element, image: Element, proof: Proof) -> tuple[Element, Element]:
    """Return what the prover's commitments were if the proof is right (t2 and t3 of VerifyProof)."""
    return (
        group.add(group.multiply_base(proof.response), group.multiply(proof.challenge, public_key)),
        group.add(group.multiply(proof.response, summed), group.multiply(proof.challenge, image)),
    )


def _challenge(suite: Suite, *elements: Element) -> Scalar:
    return suite.hash_to_scalar(b"".join(length_prefixed(element) for element in elements) + b"Challenge")


def _numbered(before: Sequence[Element], after: Sequence[Element]) -> list[_Pair]:
    return [(index, one, other) for index, (one, other) in enumerate(zip(before, after, strict=True))]


def _require_pairs(before: Sequence[Element], after: Sequence[Element]) -> None:
    if not 1 <= len(before) <= _MAX_PAIRS or len(before) != len(after):
        raise InvalidInputError(f"expected as many elements on both sides, 1 to {_MAX_PAIRS}, got another number")
