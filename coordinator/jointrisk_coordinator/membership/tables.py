"""Tables of membership.

==============  ==========================================================================================
step            what changes
==============  ==========================================================================================
invite          invitation (open); earlier open ones for the name become withdrawn
join, founder   invitation used, roster +1, certificate
join, later     invitation bound, admission pending
approve         approval; with the last one: admission admitted, roster +1
join again      the certificate is issued once the admission is admitted, invitation used
renew           certificate
remove          certificates refused, admissions of the name withdrawn, roster +1
==============  ==========================================================================================
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from jointrisk_coordinator.store import Base


class InvitationState(StrEnum):
    """Where an invitation stands."""

    OPEN = "open"
    BOUND = "bound"
    USED = "used"
    WITHDRAWN = "withdrawn"


class AdmissionState(StrEnum):
    """Where an admission stands."""

    PENDING = "pending"
    ADMITTED = "admitted"
    WITHDRAWN = "withdrawn"


class Invitation(Base):
    """A one-time invitation; of its secret only the SHA-256 is kept."""

    __tablename__ = "invitation"

    invitation_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    member_id: Mapped[str] = mapped_column(String(40), index=True)
    secret_hash: Mapped[bytes]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    replace_key: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16))
    bound_to: Mapped[bytes | None]
    """SHA-256 of certificate request and identity key of the first use."""
    identity_key: Mapped[bytes | None]
    admission_id: Mapped[str | None] = mapped_column(ForeignKey("admission.admission_id"))
    serial: Mapped[str | None] = mapped_column(String(40))
    """The certificate that the first use got."""


class Admission(Base):
    """A candidate that needs approvals: a later member, or a member with a changed key."""

    __tablename__ = "admission"

    admission_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    member_id: Mapped[str] = mapped_column(String(40), index=True)
    identity_key: Mapped[bytes]
    previous_identity_key: Mapped[bytes | None]
    address: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), index=True)
    opened_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]


class ApprovalGiven(Base):
    """One member's signed approval of one admission."""

    __tablename__ = "approval"

    admission_id: Mapped[str] = mapped_column(ForeignKey("admission.admission_id"), primary_key=True)
    approver: Mapped[str] = mapped_column(String(40), primary_key=True)
    approver_key: Mapped[bytes]
    signature: Mapped[bytes]
    given_at: Mapped[datetime]


class IssuedCertificate(Base):
    """A certificate that a member has. Rows go when it has expired."""

    __tablename__ = "certificate"

    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    member_id: Mapped[str] = mapped_column(String(40), index=True)
    der: Mapped[bytes]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    refused: Mapped[bool] = mapped_column(default=False)


class RosterIssued(Base):
    """The newest roster, which holds every change since the founding. One row."""

    __tablename__ = "roster"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    payload: Mapped[bytes]
    signature: Mapped[bytes]
    issued_at: Mapped[datetime]


def invitations_of(session: Session, member_id: str, states: Sequence[InvitationState]) -> Sequence[Invitation]:
    """Return a name's invitations in these states."""
    of_name = (Invitation.member_id == member_id, Invitation.state.in_(states))
    return session.scalars(select(Invitation).where(*of_name).order_by(Invitation.created_at)).all()


def pending_admissions(session: Session) -> Sequence[Admission]:
    """Return the admissions that wait, oldest first."""
    query = select(Admission).where(Admission.state == AdmissionState.PENDING)
    return session.scalars(query.order_by(Admission.opened_at, Admission.admission_id)).all()


def approvals_of(session: Session, admission_id: str) -> Sequence[ApprovalGiven]:
    """Return an admission's approvals, oldest first."""
    query = select(ApprovalGiven).where(ApprovalGiven.admission_id == admission_id)
    return session.scalars(query.order_by(ApprovalGiven.given_at, ApprovalGiven.approver)).all()


def newest_roster(session: Session) -> RosterIssued | None:
    """Return the newest roster, or None before the first."""
    return session.scalars(select(RosterIssued)).one_or_none()


def replace_roster(session: Session, roster: RosterIssued) -> None:
    """Put a newer roster in the place of the one that is there."""
    session.execute(delete(RosterIssued))
    session.add(roster)


def drop_expired_certificates(session: Session, now: datetime) -> None:
    """Forget certificates that have expired."""
    session.execute(delete(IssuedCertificate).where(IssuedCertificate.expires_at <= now))


def refuse_certificates(session: Session, member_id: str) -> None:
    """Mark every certificate that a member has as refused."""
    session.execute(update(IssuedCertificate).where(IssuedCertificate.member_id == member_id).values(refused=True))


def refused_serials(session: Session, now: datetime) -> list[str]:
    """Return the serials that are refused before their time, sorted."""
    refused = (IssuedCertificate.refused, IssuedCertificate.expires_at > now)
    return sorted(session.scalars(select(IssuedCertificate.serial).where(*refused)))


def live_certificates(session: Session) -> dict[str, str]:
    """Return serial -> member of every certificate that is not refused."""
    query = select(IssuedCertificate.serial, IssuedCertificate.member_id).where(~IssuedCertificate.refused)
    return {row.serial: row.member_id for row in session.execute(query)}


def certificate_ends(session: Session) -> dict[str, datetime]:
    """Return member -> end of its newest certificate that is not refused."""
    end = func.max(IssuedCertificate.expires_at).label("end")
    query = select(IssuedCertificate.member_id, end).where(~IssuedCertificate.refused)
    return {row.member_id: row.end for row in session.execute(query.group_by(IssuedCertificate.member_id))}
