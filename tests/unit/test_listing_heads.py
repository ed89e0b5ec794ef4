"""Signed heads: whose log it is, and what proves that a coordinator has shown two."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import CorruptError, InvalidInputError, UnauthenticatedError
from jointrisk.federation.signing import Signed, public_bytes, sign_document
from jointrisk.listing.head import Fork, disagrees, has_diverged, proven_fork, read_head, sign_head
from jointrisk.listing.log import Entry, Point, extend

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = public_bytes(KEY)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = Point.start("test", 1)
ENTRIES = [Entry.append(bytes([number])) for number in range(6)]
FORKED = [*ENTRIES[:2], Entry.append(b"another"), *ENTRIES[3:]]


def signed(entries: list[Entry], *, minutes: int = 0, epoch: int = 1, federation: str = "test") -> Signed:
    """Return the signed head of a log, some minutes after noon."""
    return sign_head(federation, epoch, extend(START, entries), NOON + timedelta(minutes=minutes), KEY)


def test_a_head_says_how_the_log_stands() -> None:
    """Read back, it is the point that was signed, with its time."""
    head = read_head(signed(ENTRIES), PUBLIC, "test", 1)
    assert head.point == extend(START, ENTRIES)
    assert (head.size, head.signed_at) == (6, NOON)


def test_only_the_coordinators_key_signs_heads() -> None:
    """Another key, a changed size, and a document of another kind are refused."""
    good = signed(ENTRIES)
    with pytest.raises(UnauthenticatedError):
        read_head(good, public_bytes(OTHER_KEY), "test", 1)
    forged = Signed(good.kind, good.payload.replace(b'"size":6', b'"size":7'), good.signature, good.signer)
    with pytest.raises(UnauthenticatedError):
        read_head(forged, PUBLIC, "test", 1)
    with pytest.raises(UnauthenticatedError):
        read_head(sign_document("roster", good.payload, KEY), PUBLIC, "test", 1)


@pytest.mark.parametrize(("federation", "epoch"), [("test", 2), ("best", 1)])
def test_the_head_of_another_log_is_refused(federation: str, epoch: int) -> None:
    """It is signed by the right key, and is no head of this log."""
    with pytest.raises(CorruptError, match="another log"):
        read_head(signed(ENTRIES, federation=federation, epoch=epoch), PUBLIC, "test", 1)


def test_what_is_signed_as_a_head_and_is_none_is_told() -> None:
    """Whatever the coordinator signs."""
    with pytest.raises(CorruptError, match="expected a head"):
        read_head(sign_document("listing-head", b"{}", KEY), PUBLIC, "test", 1)


def test_two_hashes_at_one_size_are_a_fork() -> None:
    """In either order, at the same time or not; the evidence holds both as they were signed."""
    one, other = signed(ENTRIES), signed(FORKED, minutes=1)
    for first, second in ((one, other), (other, one)):
        evidence = proven_fork(first, second, PUBLIC)
        assert evidence is not None
        assert (evidence.reason, evidence.first, evidence.second) == (Fork.OTHER_HISTORY, first, second)


def test_a_log_that_shrinks_is_a_fork() -> None:
    """A later head over fewer entries contradicts the earlier one, whatever the entries are."""
    longer, shorter = signed(ENTRIES), signed(ENTRIES[:4], minutes=1)
    for pair in ((longer, shorter), (shorter, longer)):
        evidence = proven_fork(*pair, PUBLIC)
        assert evidence is not None
        assert evidence.reason is Fork.SHRUNK


@pytest.mark.parametrize(
    "other",
    [
        signed(ENTRIES),
        signed(ENTRIES, minutes=5),
        signed(ENTRIES[:4], minutes=-1),
        signed(ENTRIES[:4]),
        signed(FORKED, epoch=2),
        signed(FORKED, federation="best"),
    ],
)
def test_honest_heads_prove_nothing(other: Signed) -> None:
    """The same log, signed again or earlier, within one second, or the log of another epoch or federation."""
    assert proven_fork(signed(ENTRIES), other, PUBLIC) is None
    assert proven_fork(other, signed(ENTRIES), PUBLIC) is None


def test_heads_that_others_signed_prove_nothing() -> None:
    """Nobody can accuse a coordinator with a head of its own making."""
    forged = sign_head("test", 1, extend(START, FORKED), NOON, OTHER_KEY)
    with pytest.raises(UnauthenticatedError):
        proven_fork(signed(ENTRIES), forged, PUBLIC)


def test_a_head_of_another_size_is_compared_with_ones_own_log() -> None:
    """A member with six entries judges another's head over four by its own point at four."""
    own = extend(START, ENTRIES[:4])
    assert not disagrees(read_head(signed(ENTRIES[:4]), PUBLIC, "test", 1), own)
    assert disagrees(read_head(signed(FORKED[:4]), PUBLIC, "test", 1), own)
    with pytest.raises(InvalidInputError, match="at size 4, got it at size 6"):
        disagrees(read_head(signed(ENTRIES[:4]), PUBLIC, "test", 1), extend(START, ENTRIES))


def test_a_fork_at_different_sizes_is_judged_by_others() -> None:
    """Own point at the smaller size and the hashes from there to the larger head convince who has neither log."""
    smaller = read_head(signed(FORKED[:4]), PUBLIC, "test", 1)
    larger = read_head(signed(ENTRIES, minutes=1), PUBLIC, "test", 1)
    own = extend(START, ENTRIES[:4])
    assert proven_fork(signed(FORKED[:4]), signed(ENTRIES, minutes=1), PUBLIC) is None
    assert has_diverged(smaller, larger, own, ENTRIES[4:])


def test_nobody_can_be_accused_of_a_fork_that_is_none() -> None:
    """Made-up points, entries and sizes don't lead to the larger head."""
    smaller = read_head(signed(ENTRIES[:4]), PUBLIC, "test", 1)
    larger = read_head(signed(ENTRIES, minutes=1), PUBLIC, "test", 1)
    assert not has_diverged(smaller, larger, extend(START, ENTRIES[:4]), ENTRIES[4:])
    assert not has_diverged(smaller, larger, extend(START, FORKED[:4]), ENTRIES[4:])
    assert not has_diverged(smaller, larger, Point(4, bytes(32)), ENTRIES[4:])
    assert not has_diverged(smaller, larger, extend(START, ENTRIES[:3]), ENTRIES[3:])
    assert not has_diverged(smaller, larger, extend(START, ENTRIES[:4]), ENTRIES[3:])
