"""What a dealer keeps secret while it deals, and the deal that follows from it.

All randomness is drawn at once and kept: a dealer that is restarted before it sent its deal makes the same deal, and so
never signs two.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from jointrisk.errors import ConflictError, InvalidInputError
from jointrisk.oprf import group, sharing
from jointrisk.oprf.ceremony import encoding
from jointrisk.oprf.ceremony.bodies import Deal, Keys
from jointrisk.oprf.ceremony.encoding import Reader
from jointrisk.oprf.ceremony.messages import SignedMessage
from jointrisk.oprf.ceremony.suite import PRIVATE_KEY_LENGTH, Suite, share_context
from jointrisk.oprf.ceremony.terms import Dealer, Terms
from jointrisk.oprf.group import Element, Randomness, Scalar
from jointrisk.oprf.sharing import Polynomial

_POSSESSION_DOMAIN = b"jointrisk/v1/ceremony-possession"


@dataclass(frozen=True, slots=True)
class Dealing:
    """A dealer's secrets.

    Attributes:
        polynomial: shares a random secret, or in a refresh or a resharing the dealer's part of the group key.
        nonce: of the proof of possession; the proof is always over the same statement.
        ephemerals: for each holder the X25519 key that its share is sealed with.
    """

    polynomial: Polynomial = field(repr=False)
    nonce: Scalar = field(repr=False)
    ephemerals: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def begin(cls, terms: Terms, dealer: Dealer, old_share: Scalar | None, randomness: Randomness) -> "Dealing":
        """Draw a dealer's secrets.

        Args:
            terms: of the ceremony.
            dealer: who deals.
            old_share: its share of the old generation; None in a generation.
            randomness: drawn from here and nowhere else.

        Raises:
            ConflictError: the share is not the one of the old generation.
        """
        secret = _secret(terms, dealer, old_share, randomness)
        return cls(
            Polynomial.random(secret, terms.threshold, randomness),
            group.random_scalar(randomness),
            tuple(randomness(PRIVATE_KEY_LENGTH) for _ in terms.holders),
        )

    def deal(self, terms: Terms, dealer: Dealer, keys: Sequence[SignedMessage], suite: Suite) -> Deal:
        """Make the deal.

        Args:
            terms: of the ceremony.
            dealer: who deals.
            keys: for each holder the message with its recipient keys, which keeps the rules.
            suite: seals the shares.
        """
        commitments = sharing.commit(self.polynomial)
        return Deal(
            keys=tuple((message.body, message.signature) for message in keys),
            commitments=commitments,
            proof=_prove(terms, dealer, self.polynomial.coefficients[0], commitments[0], self.nonce),
            sealed=tuple(
                self._sealed(terms, dealer, message, ephemeral, suite)
                for message, ephemeral in zip(keys, self.ephemerals, strict=True)
            ),
        )

    def encode(self) -> bytes:
        """Return the secrets as bytes, to be sealed before they are written anywhere."""
        return b"".join((*self.polynomial.coefficients, self.nonce, *self.ephemerals))

    @classmethod
    def read(cls, terms: Terms, reader: Reader) -> "Dealing":
        """Read what `encode` wrote.

        Raises:
            InvalidInputError: it is something else.
        """
        coefficients = tuple(group.scalar(reader.take(group.LENGTH)) for _ in range(terms.threshold))
        nonce = group.nonzero_scalar(reader.take(group.LENGTH))
        return cls(Polynomial(coefficients), nonce, tuple(reader.take(PRIVATE_KEY_LENGTH) for _ in terms.holders))

    def _sealed(self, terms: Terms, dealer: Dealer, keys: SignedMessage, ephemeral: bytes, suite: Suite) -> bytes:
        recipient = Keys.decode(terms, keys.body).public_keys[terms.dealers.index(dealer)]
        share = self.polynomial.share(terms.indices[keys.sender])
        return suite.seal(ephemeral, recipient, share_context(terms, dealer.name, keys.sender), share)


def proves_possession(terms: Terms, dealer: Dealer, commitment: Element, proof: tuple[Element, Scalar]) -> bool:
    """Tell whether a dealer knows the logarithm of its first commitment.

    Without it the last dealer could choose its commitment so that the sum is a key of its own (*rogue key*). Schnorr's
    proof as in FROST (Komlo and Goldberg 2020, figure 1, round 1), bound to terms, session and index.
    """
    point, answer = proof
    challenge = _challenge(terms, dealer, commitment, point)
    try:
        return group.multiply_base(answer) == group.add(point, group.multiply(challenge, commitment))
    except InvalidInputError:  # the answer or the challenge is zero
        return False


def _secret(terms: Terms, dealer: Dealer, old_share: Scalar | None, randomness: Randomness) -> Scalar:
    """Return what is shared: anything at random, or the old share times its Lagrange coefficient."""
    if dealer.public_key is None:
        return group.random_scalar(randomness)
    if old_share is None or group.multiply_base(old_share) != dealer.public_key:
        raise ConflictError(
            f"expected the share of generation {terms.old_generation} that the terms name, got another or none",
            remedy="Start the ceremony with dealers that hold that generation.",
        )
    return group.scalar_multiply(terms.coefficients[dealer.name], old_share)


def _prove(terms: Terms, dealer: Dealer, secret: Scalar, commitment: Element, nonce: Scalar) -> tuple[Element, Scalar]:
    point = group.multiply_base(nonce)
    challenge = _challenge(terms, dealer, commitment, point)
    return point, group.scalar_add(nonce, group.scalar_multiply(challenge, secret))


def _challenge(terms: Terms, dealer: Dealer, commitment: Element, point: Element) -> Scalar:
    bound = terms.session + terms.digest + encoding.name(dealer.name) + encoding.number(dealer.index, 1)
    return group.reduce(hashlib.sha512(encoding.block(_POSSESSION_DOMAIN) + bound + commitment + point).digest())
