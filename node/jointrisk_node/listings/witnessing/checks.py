"""The checks of one's own entries, pure: what was acknowledged against what the log shows under its tag."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from jointrisk.federation.signing import Signed
from jointrisk.listing.record import Record


class Found(Protocol):
    """An entry of the replica."""

    @property
    def record(self) -> Record:
        """The record."""
        ...

    @property
    def held(self) -> bool:
        """It is in dispute."""
        ...

    @property
    def position(self) -> int:
        """Its place in the log."""
        ...


class ReplicaState(Protocol):
    """How the replica of an epoch stands."""

    @property
    def size(self) -> int:
        """Entries of the verified log."""
        ...

    @property
    def signed_at(self) -> datetime | None:
        """When its head was signed; None before the first."""
        ...


class Replica(Protocol):
    """What is used of the replica."""

    def epochs(self) -> list[int]:
        """Epochs that it holds."""
        ...

    def lookup(self, epoch: int, tag: bytes) -> Sequence[Found]:
        """Live entries under a tag. Raises UnavailableError where it is too old."""
        ...

    def state(self, epoch: int) -> ReplicaState:
        """Size, and time of the head."""
        ...

    def newest(self, epoch: int) -> Signed | None:
        """Newest verified head."""
        ...


class Check(StrEnum):
    """What can be wrong. The value names the alarm, and with "listings." before it the audit record."""

    MISSING = "own_entry_missing"
    """Acknowledged, and not there: never appended, or ended though its lister didn't ask for it."""
    REPEATED = "own_entry_repeated"
    CHANGED = "own_entry_changed"
    """There under its id, and not what was sealed."""
    HOLD_MISSING = "own_hold_missing"
    HOLD_UNASKED = "own_hold_unasked"
    BACK = "withdrawn_entry_served"
    """Its end was acknowledged, and it is there, or there again."""
    STAMPS = "own_stamps_differ"
    """Under one tag the coordinator counts this lender as several."""


@dataclass(frozen=True, slots=True)
class OwnState:
    """An entry as the coordinator has acknowledged it.

    Attributes:
        entry_id: its id.
        tag: what it is found under.
        ciphertext: what was sealed.
        ended: it has been withdrawn or corrected.
        held: it is in dispute.
    """

    entry_id: bytes = field(repr=False)
    tag: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    ended: bool
    held: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with an entry, and where in the log it stands; no position for one that isn't there."""

    check: Check
    position: int | None = None


def judge(own: OwnState, found: Iterable[Found]) -> Verdict | None:
    """Judge one entry.

    Args:
        own: as it was acknowledged, long enough ago.
        found: all live entries under its tag.
    """
    mine = [one for one in found if one.record.sealed.entry_id == own.entry_id]
    if own.ended:
        return Verdict(Check.BACK, mine[0].position) if mine else None
    if not mine:
        return Verdict(Check.MISSING)
    if len(mine) > 1:
        return Verdict(Check.REPEATED, mine[1].position)
    there = mine[0]
    if there.record.sealed.ciphertext != own.ciphertext or there.record.sealed.tag != own.tag:
        return Verdict(Check.CHANGED, there.position)
    if there.held != own.held:
        return Verdict(Check.HOLD_MISSING if own.held else Check.HOLD_UNASKED, there.position)
    return None


def judge_stamps(own: Iterable[bytes], found: Sequence[Found]) -> Verdict | None:
    """Judge the stamps under one tag.

    Args:
        own: ids of this lender's entries.
        found: all live entries under the tag.
    """
    ids = set(own)
    mine = [one for one in found if one.record.sealed.entry_id in ids]
    if len({one.record.stamp for one in mine}) > 1:
        return Verdict(Check.STAMPS, mine[-1].position)
    return None
