"""The keys that members make for one session, signed, and the list of them to which every mask is bound.

    advert     mask key (32) | sealing key (32) | seed commitment (32) | signature (64)
    signature  Ed25519 over domain | digest of the terms (32) | member | mask key | sealing key | seed commitment
    list       how many (1), for each: place (1), advert

The terms hold run, round, attempt and contract version, so a signature is worth nothing anywhere else.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from jointrisk.federation.signing import SIGNATURE_LENGTH, verify_signature
from jointrisk.learning.secure_aggregation import agreement, encoding
from jointrisk.learning.secure_aggregation.agreement import KEY_LENGTH
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.terms import DIGEST_LENGTH, Terms

Sign = Callable[[bytes], bytes]
"""Signs with a member's identity key: Ed25519, 64 bytes; the same message gives the same signature (RFC 8032)."""

_ADVERT = b"jointrisk/v1/secagg-keys"
_LIST = b"jointrisk/v1/secagg-key-list"
_COHORT = b"jointrisk/v1/secagg-cohort"


@dataclass(frozen=True, slots=True)
class Advert:
    """One member's public keys for one session.

    Attributes:
        mask_key: X25519, with which masks are agreed on.
        seal_key: X25519, with which shares are sealed.
        seed_commitment: to the seed of the member's own mask; without use in a series, which has no own masks.
        signature: by the member's identity key.
    """

    mask_key: bytes
    seal_key: bytes
    seed_commitment: bytes
    signature: bytes

    @property
    def encoded(self) -> bytes:
        """Its bytes."""
        return self.mask_key + self.seal_key + self.seed_commitment + self.signature

    @classmethod
    def read(cls, reader: Reader) -> "Advert":
        """Read an advert. Nothing is verified yet."""
        keys = (reader.take(KEY_LENGTH), reader.take(KEY_LENGTH), reader.take(DIGEST_LENGTH))
        return cls(*keys, reader.take(SIGNATURE_LENGTH))

    def check(self, terms: Terms, name: str) -> None:
        """Refuse keys that the member did not sign for this session, or with which nothing can be agreed on.

        Raises:
            RuleError: so it is.
        """
        signed = _signed_bytes(terms, name, self.mask_key, self.seal_key, self.seed_commitment)
        if not verify_signature(signed, self.signature, dict(terms.members)[name]):
            raise RuleError(Rule.SIGNED_KEYS, "expected keys signed by their member for this session", about=name)
        if not (agreement.is_usable(self.mask_key) and agreement.is_usable(self.seal_key)):
            raise RuleError(Rule.SIGNED_KEYS, "expected usable keys, got a point of small order", about=name)


def sign_advert(terms: Terms, name: str, mask_key: bytes, seal_key: bytes, commitment: bytes, sign: Sign) -> Advert:
    """Return a member's signed keys.

    Args:
        terms: of the session.
        name: of the member.
        mask_key: public.
        seal_key: public.
        commitment: to the seed, 32 bytes.
        sign: with the member's identity key.
    """
    signature = sign(_signed_bytes(terms, name, mask_key, seal_key, commitment))
    return Advert(mask_key, seal_key, commitment, signature)


@dataclass(frozen=True)
class KeyList:
    """The keys of all members that gave some.

    Attributes:
        terms: of the session.
        adverts: by place, ascending.
    """

    terms: Terms
    adverts: dict[int, Advert]

    @cached_property
    def encoded(self) -> bytes:
        """Its bytes."""
        entries = (encoding.number(place, 1) + advert.encoded for place, advert in self.adverts.items())
        return encoding.number(len(self.adverts), 1) + b"".join(entries)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256, 32 bytes: the list as everybody must have seen it."""
        return hashlib.sha256(encoding.block(_LIST) + self.terms.digest + self.encoded).digest()

    def cohort_digest(self, cohort: tuple[int, ...]) -> bytes:
        """Return the digest of those of the list that mask with each other, 32 bytes."""
        return hashlib.sha256(encoding.block(_COHORT) + self.digest + encoding.places(cohort)).digest()

    @classmethod
    def decode(cls, terms: Terms, data: bytes) -> "KeyList":
        """Read a list. Nothing is verified yet.

        Raises:
            InvalidInputError: it is not the one byte form of a list.
            RuleError: members are there twice or not in order.
        """
        reader = Reader(data, "a list of keys")
        entries = [(reader.number(1), Advert.read(reader)) for _ in range(reader.number(1))]
        reader.end()
        places = [place for place, _ in entries]
        if places != sorted(set(places)) or not set(places) <= set(terms.places.values()):
            raise RuleError(Rule.SIGNED_KEYS, "expected keys of members, each once and in order, got others")
        return cls(terms, dict(entries))

    def check(self, place: int, own: Advert) -> None:
        """Refuse a list that this member does not build on.

        Args:
            place: this member's.
            own: the keys that it made.

        Raises:
            RuleError: says which rule is broken.
        """
        require_enough(self.terms, len(self.adverts))
        if self.adverts.get(place) != own:
            raise RuleError(Rule.SIGNED_KEYS, "expected a list with the keys that this node made, got another")
        for other, advert in self.adverts.items():
            if other != place:
                advert.check(self.terms, self.terms.name(other))


def require_enough(terms: Terms, members: int) -> None:
    """Refuse to go on with too few members.

    Raises:
        RuleError: they are fewer than threshold and minimum say.
    """
    if members < terms.parameters.needed:
        raise RuleError(Rule.MINIMUM, f"expected at least {terms.parameters.needed} members, got {members}")


def _signed_bytes(terms: Terms, name: str, mask_key: bytes, seal_key: bytes, commitment: bytes) -> bytes:
    return encoding.block(_ADVERT) + terms.digest + encoding.name(name) + mask_key + seal_key + commitment
