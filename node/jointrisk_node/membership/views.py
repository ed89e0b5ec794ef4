"""The federation as people at this node see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.history import RosterMember
from jointrisk.federation.roster_view import Trust, View

REMOVED = "removed"


@dataclass(frozen=True)
class Candidate:
    """An admission that waits for approvals, as the coordinator tells it.

    Attributes:
        admission_id: what an approval is bound to.
        member_id: the candidate.
        identity_key: its Ed25519 key.
        previous_identity_key: the key that it replaces, for a member with a changed key; else None.
        approved_by: who has approved so far.
        approvals_required: how many are needed.
    """

    admission_id: str
    member_id: str
    identity_key: bytes
    previous_identity_key: bytes | None
    approved_by: tuple[str, ...] = ()
    approvals_required: int = 0


@dataclass(frozen=True)
class MemberView:
    """A member or candidate.

    Attributes:
        member_id: its name.
        state: "member", "pending", "key changed" or "removed".
        fingerprint: of the identity key that it has, or wants to have.
        joined_at: None for a candidate.
        approved_by: who approved it.
        approvals_required: how many it needs, for a candidate; else 0.
    """

    member_id: str
    state: str
    fingerprint: str
    joined_at: datetime | None = None
    approved_by: tuple[str, ...] = ()
    approvals_required: int = 0


@dataclass(frozen=True)
class Fingerprints:
    """What founding members compare out of band.

    Attributes:
        federation: one string over the CA, the coordinator's key and all members' keys as pinned here.
        coordinator: of the coordinator's identity key.
        members: member -> fingerprint of the key that is pinned here.
    """

    federation: str
    coordinator: str
    members: dict[str, str]


def members_seen(view: View, candidates: Sequence[Candidate]) -> list[MemberView]:
    """Return current members in order of joining, then candidates, then removed members."""
    current = sorted(view.history.members.values(), key=_number)
    removed = sorted(view.history.removed.values(), key=_number)
    return [
        *(_member(member, view.trust(member.member_id)) for member in current),
        *(_candidate(candidate) for candidate in candidates),
        *(_member(member, REMOVED) for member in removed),
    ]


def _number(member: RosterMember) -> int:
    return member.number


def _member(member: RosterMember, state: str) -> MemberView:
    return MemberView(
        member_id=member.member_id,
        state=str(state),
        fingerprint=fingerprint(member.identity_key),
        joined_at=member.joined_at,
        approved_by=member.approved_by,
    )


def _candidate(candidate: Candidate) -> MemberView:
    return MemberView(
        member_id=candidate.member_id,
        state=str(Trust.PENDING),
        fingerprint=fingerprint(candidate.identity_key),
        approved_by=candidate.approved_by,
        approvals_required=candidate.approvals_required,
    )
