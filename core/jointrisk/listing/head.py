"""Signed heads of the log, and what proves that a coordinator shows different logs to different members.

A head is a signed document of kind ``listing-head``. A coordinator signs one when it has released entries, and again
from time to time when there are none, so that readers see how fresh their replica is. Its sizes never go down, and its
times never go back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.document import Count, Digest, Document, Moment, Name
from jointrisk.federation.signing import SIGNATURE_LENGTH, Signed, sign_document, verify_document
from jointrisk.listing.log import Entry, Point, extend

LISTING_HEAD = "listing-head"
"""The kind of a signed head."""

_LONGEST_PAYLOAD = 4096


class Head(Document):
    """How the log of an epoch stands, as the coordinator says.

    Attributes:
        federation: the federation's name.
        epoch: the epoch of the log.
        size: how many entries it has.
        hash: the chain's hash there (`jointrisk.listing.log`).
        signed_at: when the coordinator said so.
    """

    federation: Name
    epoch: Count
    size: Count
    hash: Digest
    signed_at: Moment

    @property
    def point(self) -> Point:
        """The point of the log that it signs."""
        return Point(self.size, self.hash)


def is_possible_head(signed: Signed) -> bool:
    """Tell whether a document from somebody else is worth keeping until it is verified: by kind and sizes."""
    return (
        signed.kind == LISTING_HEAD
        and len(signed.payload) <= _LONGEST_PAYLOAD
        and len(signed.signature) == SIGNATURE_LENGTH
        and len(signed.signer) <= SIGNATURE_LENGTH
    )


class Fork(StrEnum):
    """How two heads contradict each other."""

    OTHER_HISTORY = "other_history"
    """One size, two hashes."""
    SHRUNK = "shrunk"
    """The later one has fewer entries."""


@dataclass(frozen=True, slots=True)
class ForkEvidence:
    """Two heads of one signer that cannot both be true; anybody can judge them with the coordinator's public key.

    Attributes:
        reason: how they contradict each other.
        first: a signed head.
        second: the other.
    """

    reason: Fork
    first: Signed
    second: Signed


def sign_head(federation: str, epoch: int, point: Point, now: datetime, key: Ed25519PrivateKey) -> Signed:
    """Sign how a log stands.

    Args:
        federation: the federation's name.
        epoch: the epoch of the log.
        point: its size and hash.
        now: the time; not before that of the last head, even where the clock has been set back.
        key: the coordinator's identity key.
    """
    head = Head(federation=federation, epoch=epoch, size=point.size, hash=point.hash, signed_at=now)
    return sign_document(LISTING_HEAD, head.payload(), key)


def read_head(signed: Signed, coordinator_key: bytes, federation: str, epoch: int) -> Head:
    """Verify and read a head.

    Args:
        signed: the head as it came, from the coordinator or from another member.
        coordinator_key: the pinned key.
        federation: the federation that the reader is in.
        epoch: the epoch whose log it wants.

    Raises:
        UnauthenticatedError: it is not signed as a head with that key.
        CorruptError: it is no head, or that of another log.
    """
    head = Head.parse(verify_document(signed, LISTING_HEAD, coordinator_key))
    if (head.federation, head.epoch) != (federation, epoch):
        raise CorruptError(f"expected the head of the log of epoch {epoch} of this federation, got another log's")
    return head


def proven_fork(first: Signed, second: Signed, coordinator_key: bytes) -> ForkEvidence | None:
    """Return the evidence when two signed heads contradict each other by themselves, whoever brought them.

    Heads of different sizes that agree in time can still be of different logs: compare the smaller one's hash with
    one's own at that size (`disagrees`), where the larger one has been verified.

    Raises:
        UnauthenticatedError: one is not signed as a head with that key, so it proves nothing.
        CorruptError: one is signed, and no head.
    """
    one, other = (Head.parse(verify_document(each, LISTING_HEAD, coordinator_key)) for each in (first, second))
    if (one.federation, one.epoch) != (other.federation, other.epoch):
        return None
    if one.size == other.size:
        return ForkEvidence(Fork.OTHER_HISTORY, first, second) if one.hash != other.hash else None
    smaller, larger = sorted((one, other), key=lambda head: head.size)
    return ForkEvidence(Fork.SHRUNK, first, second) if smaller.signed_at > larger.signed_at else None


def disagrees(head: Head, own: Point) -> bool:
    """Tell whether somebody's head is of another log than one's own, which is verified at the same size.

    Args:
        head: a verified head, from another member.
        own: the point of one's own log at the head's size: from the last kept point before it with
            `jointrisk.listing.log.extend`. A head beyond one's own log is fetched up to first.

    Raises:
        InvalidInputError: the sizes are different.
    """
    if head.size != own.size:
        raise InvalidInputError(f"expected the own log at size {head.size}, got it at size {own.size}")
    return head.hash != own.hash


def has_diverged(smaller: Head, larger: Head, own: Point, between: Iterable[Entry]) -> bool:
    """Judge a fork for somebody who has neither log: whether the larger head's log was another at the smaller's size.

    Args:
        smaller: a verified head.
        larger: a verified head of the same log.
        own: what the accuser has at the smaller head's size.
        between: the accuser's entries from there on to the larger head, records by their hashes.

    Returns:
        Whether the entries lead from ``own`` to the larger head, so that ``own`` is its past, and the smaller head
        is not that.
    """
    is_past = own.size == smaller.size and extend(own, between) == larger.point
    return is_past and own.hash != smaller.hash
