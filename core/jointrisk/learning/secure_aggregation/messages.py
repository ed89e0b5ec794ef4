"""Requests of the coordinator and replies of members: a frame, and a body for each step.

    frame    format 1 | kind (1), of a reply with 128 added | digest of the terms (32) | body

    kind        request                                        reply
    1 keys      terms                                          advert
    2 shares    list of keys                                   deal
    3 masked    cohort; deals of the others to this member     complaints; words
    4 sign      survivors                                      signature
    5 release   signatures                                     shares
    6 agree     list of keys                                   nothing
    7 sum       number (4), H(request) (32), layout            words

Members are named by their place in the terms.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

import numpy as np

from jointrisk.errors import InvalidInputError
from jointrisk.federation.signing import SIGNATURE_LENGTH
from jointrisk.learning.secure_aggregation import encoding
from jointrisk.learning.secure_aggregation.agreement import TAG_LENGTH
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.fixed_point import Layout
from jointrisk.learning.secure_aggregation.keys import KeyList
from jointrisk.learning.secure_aggregation.masks import Words
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.sharing import SHARE_LENGTH, is_share
from jointrisk.learning.secure_aggregation.terms import DIGEST_LENGTH, Terms

MOST_PLACES = 100
SEALED_LENGTH = 2 * SHARE_LENGTH + TAG_LENGTH

_FORMAT = 1
_REPLY = 128
_SURVIVORS = b"jointrisk/v1/secagg-survivors"


class Kind(IntEnum):
    """The step that a message belongs to; the number of the answer in a round's session."""

    KEYS = 1
    SHARES = 2
    MASKED = 3
    SIGN = 4
    RELEASE = 5
    AGREE = 6
    SUM = 7


@dataclass(frozen=True, slots=True)
class Dealt:
    """What a dealer has for one member.

    Attributes:
        key_commitment: to the share of the mask key.
        seed_commitment: to the share of the seed.
        sealed: the two shares, sealed; empty where the dealer is the member.
    """

    key_commitment: bytes
    seed_commitment: bytes
    sealed: bytes

    @property
    def commitments(self) -> bytes:
        """Both, one after the other."""
        return self.key_commitment + self.seed_commitment

    @property
    def encoded(self) -> bytes:
        """Its bytes."""
        return self.commitments + self.sealed

    @classmethod
    def read(cls, reader: Reader, *, own: bool) -> "Dealt":
        """Read what is for one member."""
        commitments = (reader.take(DIGEST_LENGTH), reader.take(DIGEST_LENGTH))
        return cls(*commitments, b"" if own else reader.take(SEALED_LENGTH))


@dataclass(frozen=True, slots=True)
class SumRequest:
    """What a series is asked for next.

    Attributes:
        number: of the sum, from 1.
        request: H(request), 32 bytes.
        layout: of the inputs.
    """

    number: int
    request: bytes
    layout: Layout

    @property
    def encoded(self) -> bytes:
        """Its bytes."""
        return encoding.number(self.number, 4) + self.request + self.layout.encoded()

    @classmethod
    def decode(cls, body: bytes) -> "SumRequest":
        """Read one.

        Raises:
            InvalidInputError: it is none.
        """
        reader = Reader(body, "a request for a sum")
        request = cls(reader.number(4), reader.take(DIGEST_LENGTH), Layout.read(reader))
        reader.end()
        return request


def request_frame(kind: Kind, terms: Terms, body: bytes) -> bytes:
    """Return a request with its frame."""
    return encoding.number(_FORMAT, 1) + encoding.number(kind, 1) + terms.digest + body


def reply_frame(kind: Kind, terms: Terms, body: bytes) -> bytes:
    """Return a reply with its frame."""
    return encoding.number(_FORMAT, 1) + encoding.number(kind + _REPLY, 1) + terms.digest + body


def read_request(data: bytes, terms: Terms) -> tuple[Kind, bytes]:
    """Return a request's kind and body.

    Raises:
        InvalidInputError: it is no request.
        RuleError: it is of another session.
    """
    reader = Reader(data, "a request for a secure sum")
    kind = _read_frame(reader, terms, 0)
    return kind, bytes(reader.rest())


def read_reply(data: bytes, terms: Terms, kind: Kind) -> Reader:
    """Return a reader of a reply's body.

    Raises:
        InvalidInputError: it is no reply to a request of this kind.
        RuleError: it is of another session.
    """
    reader = Reader(data, "a reply to a request for a secure sum")
    if _read_frame(reader, terms, _REPLY) is not kind:
        raise InvalidInputError("expected a reply to what was asked, got one to another step")
    return reader


def cohort_body(place: int, cohort: tuple[int, ...], deals: Mapping[int, Mapping[int, Dealt]]) -> bytes:
    """Return who masks with each other, and what the others dealt to one of them.

    Args:
        place: of the receiver.
        cohort: places of those that dealt.
        deals: by dealer and receiver.
    """
    others = (deals[dealer][place].encoded for dealer in cohort if dealer != place)
    return encoding.places(cohort) + b"".join(others)


def read_cohort(place: int, body: bytes) -> tuple[tuple[int, ...], dict[int, Dealt]]:
    """Return what :func:`cohort_body` wrote: the cohort, and what each other dealer dealt."""
    reader = Reader(body, "a cohort with its deals")
    cohort = reader.places(MOST_PLACES)
    deals = {dealer: Dealt.read(reader, own=False) for dealer in cohort if dealer != place}
    reader.end()
    return cohort, deals


def read_deal(reader: Reader, dealer: int, receivers: Iterable[int]) -> dict[int, Dealt]:
    """Return a member's deal: what it has for each member of the list of keys, in their order."""
    deal = {place: Dealt.read(reader, own=place == dealer) for place in receivers}
    reader.end()
    return deal


def read_words(reader: Reader, into: Words) -> Words:
    """Return masked words without copying them.

    Args:
        reader: at their beginning.
        into: what they are to be added to: says how many they are, and how wide.

    Raises:
        RuleError: they are not as many, or not as wide.
    """
    rest = reader.rest()
    if rest.nbytes != into.nbytes:
        raise RuleError(Rule.INPUT, f"expected masked words of {into.nbytes} bytes, got {rest.nbytes}")
    return cast("Words", np.frombuffer(rest, dtype=into.dtype))


def survivors_signed(keys: KeyList, cohort: tuple[int, ...], survivors: tuple[int, ...]) -> bytes:
    """Return what survivors sign: the session, the keys, the cohort and the set."""
    bound = keys.terms.digest + keys.cohort_digest(cohort)
    return encoding.block(_SURVIVORS) + bound + encoding.places(survivors)


def signatures_body(signatures: Mapping[int, bytes]) -> bytes:
    """Return signatures with their signers' places."""
    entries = (encoding.number(place, 1) + signatures[place] for place in sorted(signatures))
    return encoding.number(len(signatures), 1) + b"".join(entries)


def read_signatures(body: bytes) -> dict[int, bytes]:
    """Return what :func:`signatures_body` wrote.

    Raises:
        InvalidInputError: it is something else, or somebody is there twice.
    """
    reader = Reader(body, "signatures of survivors")
    entries = [(reader.number(1), reader.take(SIGNATURE_LENGTH)) for _ in range(reader.number(1))]
    reader.end()
    places = [place for place, _ in entries]
    if places != sorted(set(places)):
        raise InvalidInputError("expected signatures of different members in order, got others")
    return dict(entries)


def released_body(cohort: Iterable[int], shares: Mapping[int, bytes]) -> bytes:
    """Return released shares, one for each dealer of the cohort; where there is none, a zero and nothing."""
    return b"".join(b"\1" + shares[dealer] if dealer in shares else b"\0" for dealer in cohort)


def read_released(reader: Reader, cohort: Iterable[int]) -> dict[int, bytes]:
    """Return released shares by dealer.

    Raises:
        InvalidInputError: they are not the one byte form of shares.
    """
    shares = {dealer: reader.take(SHARE_LENGTH) for dealer in cohort if reader.flag()}
    reader.end()
    if not all(map(is_share, shares.values())):
        raise InvalidInputError("expected shares, got numbers outside of their field")
    return shares


def hashed(request: bytes) -> bytes:
    """Return H(request): SHA-256 of its bytes."""
    return hashlib.sha256(request).digest()


def _read_frame(reader: Reader, terms: Terms, added: int) -> Kind:
    if (found := reader.number(1)) != _FORMAT:
        raise InvalidInputError(f"expected a message of format {_FORMAT}, got {found}", remedy="Update this program.")
    try:
        kind = Kind(reader.number(1) - added)
    except ValueError:
        raise InvalidInputError(f"expected {reader.what}, got a message of another kind") from None
    if reader.take(DIGEST_LENGTH) != terms.digest:
        raise RuleError(Rule.SESSION, "expected a message of this session, got one of another")
    return kind
