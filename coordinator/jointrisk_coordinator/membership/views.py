"""Invitations and members as people at the coordinator see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.history import History, RosterMember
from jointrisk_coordinator.membership.admissions import PendingAdmission


@dataclass(frozen=True)
class IssuedInvitation:
    """An invitation as it is shown, once."""

    invitation_id: str
    member_id: str
    token: str
    expires_at: datetime


@dataclass(frozen=True)
class MemberView:
    """A member or candidate as people see it.

    Attributes:
        member_id: its name.
        state: "member", "pending" or "removed".
        fingerprint: of its identity key.
        joined_at: None while pending.
        certificate_expires_at: of its newest certificate; None when it has none.
        approved_by: who approved it.
        approvals_required: how many it needs, for a pending one; else 0.
    """

    member_id: str
    state: str
    fingerprint: str
    joined_at: datetime | None = None
    certificate_expires_at: datetime | None = None
    approved_by: tuple[str, ...] = ()
    approvals_required: int = 0


def members_seen(
    history: History, certificate_ends: Mapping[str, datetime], pending: Sequence[PendingAdmission]
) -> list[MemberView]:
    """Return current members in order of joining, then candidates, then removed members."""
    current = sorted(history.members.values(), key=_number)
    removed = sorted(history.removed.values(), key=_number)
    return [
        *(_member(member, "member", certificate_ends.get(member.member_id)) for member in current),
        *map(_candidate, pending),
        *(_member(member, "removed", None) for member in removed),
    ]


def _number(member: RosterMember) -> int:
    return member.number


def _member(member: RosterMember, state: str, certificate_end: datetime | None) -> MemberView:
    return MemberView(
        member_id=member.member_id,
        state=state,
        fingerprint=fingerprint(member.identity_key),
        joined_at=member.joined_at,
        certificate_expires_at=certificate_end,
        approved_by=member.approved_by,
    )


def _candidate(pending: PendingAdmission) -> MemberView:
    return MemberView(
        member_id=pending.member_id,
        state="pending",
        fingerprint=fingerprint(pending.identity_key),
        approved_by=pending.approved_by,
        approvals_required=pending.approvals_required,
    )
