"""The bodies of messages other than aborts. In the light of the terms each has one byte form.

Their fields, with lengths in bytes:

    keys     for each dealer: X25519 public key (32)
    deal     for each holder: body of its keys, signature (64) | threshold commitments (32) | proof R (32), z (32) |
             for each holder: sealed share (80)
    echo     for each dealer: digest of its deal (32), signature (64)
    confirm  transcript digest (32)
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from jointrisk.oprf import group
from jointrisk.oprf.ceremony import encoding
from jointrisk.oprf.ceremony.encoding import Reader
from jointrisk.oprf.ceremony.messages import DIGEST_LENGTH, SIGNATURE_LENGTH, Header, MessageKind
from jointrisk.oprf.ceremony.suite import SEALED_LENGTH
from jointrisk.oprf.ceremony.terms import KEY_LENGTH, Terms
from jointrisk.oprf.group import Element, Scalar

_TRANSCRIPT_DOMAIN = b"jointrisk/v1/ceremony-transcript"


@dataclass(frozen=True, slots=True)
class Keys:
    """A holder's fresh recipient keys, one for each dealer, in the order of the terms.

    Attributes:
        public_keys: X25519, 32 bytes each.
    """

    public_keys: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the body."""
        return b"".join(self.public_keys)

    @classmethod
    def decode(cls, terms: Terms, body: bytes) -> "Keys":
        """Read the body.

        Raises:
            InvalidInputError: it does not have one key for each dealer.
        """
        reader = Reader(body, "recipient keys")
        keys = cls(tuple(reader.take(KEY_LENGTH) for _ in terms.dealers))
        reader.end()
        return keys


@dataclass(frozen=True, slots=True)
class Deal:
    """What a dealer deals.

    Attributes:
        keys: of each holder the body of its keys and its signature, so that a deal proves what it was sealed to.
        commitments: to the polynomial, as many as the threshold (Feldman).
        proof: R and z, the Schnorr proof of possession of the first commitment's logarithm.
        sealed: for each holder its share, sealed.
    """

    keys: tuple[tuple[bytes, bytes], ...]
    commitments: tuple[Element, ...]
    proof: tuple[Element, Scalar]
    sealed: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the body."""
        keys = b"".join(body + signature for body, signature in self.keys)
        return keys + b"".join((*self.commitments, *self.proof, *self.sealed))

    @classmethod
    def decode(cls, terms: Terms, body: bytes) -> "Deal":
        """Read the body.

        Raises:
            InvalidInputError: it has other parts, a commitment is no element or the identity, or z is no scalar.
        """
        reader = Reader(body, "a deal")
        keys_length = KEY_LENGTH * len(terms.dealers)
        deal = cls(
            keys=tuple((reader.take(keys_length), reader.take(SIGNATURE_LENGTH)) for _ in terms.holders),
            commitments=tuple(group.element(reader.take(group.LENGTH)) for _ in range(terms.threshold)),
            proof=(group.element(reader.take(group.LENGTH)), group.scalar(reader.take(group.LENGTH))),
            sealed=tuple(reader.take(SEALED_LENGTH) for _ in terms.holders),
        )
        reader.end()
        return deal

    def headers(self, terms: Terms) -> dict[str, Header]:
        """Return the headers of the keys in it, by holder."""
        return {
            holder.name: Header(MessageKind.KEYS, hashlib.sha256(body).digest(), signature)
            for holder, (body, signature) in zip(terms.holders, self.keys, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Echo:
    """A party has all deals, found nothing wrong, has its share, and is bound by it.

    Attributes:
        deals: for each dealer the digest of its deal and its signature.
    """

    deals: tuple[tuple[bytes, bytes], ...]

    def encode(self) -> bytes:
        """Return the body."""
        return b"".join(digest + signature for digest, signature in self.deals)

    @classmethod
    def decode(cls, terms: Terms, body: bytes) -> "Echo":
        """Read the body.

        Raises:
            InvalidInputError: it does not have one header for each dealer.
        """
        reader = Reader(body, "an echo")
        echo = cls(tuple((reader.take(DIGEST_LENGTH), reader.take(SIGNATURE_LENGTH)) for _ in terms.dealers))
        reader.end()
        return echo

    def headers(self, terms: Terms) -> dict[str, Header]:
        """Return the headers of the deals in it, by dealer."""
        return {
            dealer.name: Header(MessageKind.DEAL, digest, signature)
            for dealer, (digest, signature) in zip(terms.dealers, self.deals, strict=True)
        }

    def transcript(self, terms: Terms) -> bytes:
        """Return the digest of all deals (32 bytes), without their signatures: one deal can be signed twice."""
        return transcript_digest(terms, (digest for digest, _ in self.deals))


def transcript_digest(terms: Terms, digests: Iterable[bytes]) -> bytes:
    """Return the digest of all deals of a ceremony, given each one's digest in the order of the dealers."""
    return hashlib.sha256(encoding.block(_TRANSCRIPT_DOMAIN) + terms.digest + b"".join(digests)).digest()


@dataclass(frozen=True, slots=True)
class Confirm:
    """A holder has stored its new share.

    Attributes:
        transcript: the digest of the deals that the share comes from.
    """

    transcript: bytes

    def encode(self) -> bytes:
        """Return the body."""
        return self.transcript

    @classmethod
    def decode(cls, body: bytes) -> "Confirm":
        """Read the body.

        Raises:
            InvalidInputError: it is not 32 bytes.
        """
        reader = Reader(body, "a confirmation")
        confirm = cls(reader.take(DIGEST_LENGTH))
        reader.end()
        return confirm
