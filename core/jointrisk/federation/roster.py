"""The roster: who is a member, by the whole list of changes that made it so, signed by the coordinator.

A roster holds every change since the founding, oldest first, so that each node replays it and judges every admission
as it happened (:mod:`jointrisk.federation.history`), however many rosters it missed. Members and removed members are
what the replay gives.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from jointrisk.federation.approval import Endorsement
from jointrisk.federation.document import Count, Digest, Document, HexId, IdentityKey, Moment, Name, Serial
from jointrisk.federation.names import ADDRESS_LENGTH
from jointrisk.federation.signing import Signed, sign_document

ROSTER = "roster"
"""The kind of a signed roster."""

Version = Annotated[int, Field(ge=1, le=2**53 - 1)]
Address = Annotated[str, Field(max_length=ADDRESS_LENGTH)]


class Founded(Document):
    """One of the first members joined; nobody had to approve it.

    Attributes:
        version: the roster version that this change made.
        at: when.
        member_id: who.
        number: its place in the order of joining, from 1, never used again. Flower's node id.
        identity_key: its Ed25519 key.
        address: where other members reach it, "host:port"; empty when it does not listen.
    """

    change: Literal["founded"] = "founded"
    version: Version
    at: Moment
    member_id: Name
    number: Version
    identity_key: IdentityKey
    address: Address = ""


class Admitted(Document):
    """A later member joined, with the approvals of members of that time. Fields as in :class:`Founded`."""

    change: Literal["admitted"] = "admitted"
    version: Version
    at: Moment
    member_id: Name
    number: Version
    identity_key: IdentityKey
    address: Address = ""
    admission_id: HexId
    endorsements: tuple[Endorsement, ...]


class KeyChanged(Document):
    """A member came back with another identity key, with the approvals of members of that time."""

    change: Literal["key_changed"] = "key_changed"
    version: Version
    at: Moment
    member_id: Name
    identity_key: IdentityKey
    previous_identity_key: IdentityKey
    address: Address = ""
    admission_id: HexId
    endorsements: tuple[Endorsement, ...]


class Removed(Document):
    """A membership ended. The name and the number are not given again."""

    change: Literal["removed"] = "removed"
    version: Version
    at: Moment
    member_id: Name


Change = Annotated[Founded | Admitted | KeyChanged | Removed, Field(discriminator="change")]


class Terms(Document):
    """What stays the same in all rosters of a federation: nodes pin it when they join.

    Attributes:
        federation: its name.
        founding_members: so many members join without approvals.
        approvals_required: approvals that each later member and each changed key needs.
        coordinator_key: the coordinator's Ed25519 key, which signs rosters.
        ca_fingerprint: SHA-256 of the CA certificate.
    """

    federation: Name
    founding_members: Annotated[int, Field(ge=1, le=1000)]
    approvals_required: Annotated[int, Field(ge=1, le=1000)]
    coordinator_key: IdentityKey
    ca_fingerprint: Digest


class Roster(Document):
    """A roster.

    Attributes:
        format: of this document.
        terms: what never changes.
        version: one more with every change, and when it is issued again before it expires.
        issued_at: when.
        expires_at: a node without a newer roster then takes part in nothing.
        holder_generation: the newest generation of key shares; 0 before the first key ceremony. What is in it, nodes
            verify from the ceremony's transcript.
        changes: everything since the founding.
        refused_serials: certificates that are refused before their time, hex, sorted.
    """

    format: Literal[1] = 1
    terms: Terms
    version: Version
    issued_at: Moment
    expires_at: Moment
    holder_generation: Count = 0
    changes: tuple[Change, ...]
    refused_serials: tuple[Serial, ...]


def sign_roster(roster: Roster, key: Ed25519PrivateKey) -> Signed:
    """Sign a roster with the coordinator's identity key."""
    return sign_document(ROSTER, roster.payload(), key)


def renewal_due(roster: Roster, now: datetime) -> bool:
    """Tell whether half of the roster's time has passed, so that a new one is to be issued."""
    return now >= roster.issued_at + (roster.expires_at - roster.issued_at) / 2


def is_prefix(before: Sequence[Change], after: Sequence[Change]) -> bool:
    """Tell whether ``after`` goes on from ``before`` without rewriting it."""
    return len(before) <= len(after) and all(a == b for a, b in zip(before, after, strict=False))
