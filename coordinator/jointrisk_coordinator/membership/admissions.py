"""Admissions: candidates that need the approval of members, and the approvals given so far."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError
from jointrisk.federation.approval import Endorsement, read_approval
from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.history import History
from jointrisk.federation.invitation import ID_LENGTH
from jointrisk.federation.roster import Admitted, Change, KeyChanged
from jointrisk.federation.signing import Signed
from jointrisk.store import AuditLog, Session
from jointrisk_coordinator.membership.issuing import CertificateDesk
from jointrisk_coordinator.membership.ledger import Ledger
from jointrisk_coordinator.membership.tables import (
    Admission,
    AdmissionState,
    ApprovalGiven,
    approvals_of,
    pending_admissions,
)


@dataclass(frozen=True)
class PendingAdmission:
    """An admission as members see it.

    Attributes:
        admission_id: what approvals are bound to.
        member_id: the candidate.
        identity_key: its key.
        previous_identity_key: the key that it replaces, or None.
        approved_by: members whose approvals count now.
        approvals_required: how many are needed now.
        opened_at: since when it waits.
    """

    admission_id: str
    member_id: str
    identity_key: bytes
    previous_identity_key: bytes | None
    approved_by: tuple[str, ...]
    approvals_required: int
    opened_at: datetime


@dataclass(frozen=True)
class ApprovalState:
    """How an admission stands after an approval."""

    approvals: int
    approvals_required: int
    admitted: bool


class AdmissionDesk:
    """Opens admissions, takes approvals, and admits when there are enough.

    Args:
        ledger: takes the change.
        certificates: refuses the certificates of a key that was replaced.
        audit: is told of every step.
    """

    def __init__(self, ledger: Ledger, certificates: CertificateDesk, audit: AuditLog) -> None:
        self._ledger = ledger
        self._certificates = certificates
        self._audit = audit

    def open(self, session: Session, member_id: str, key: bytes, address: str, now: datetime) -> Admission:
        """Open an admission; a current member's is one of a changed key.

        Raises:
            ConflictError: one for this name or this key is pending.
        """
        for other in pending_admissions(session):
            if member_id == other.member_id or key == other.identity_key:
                raise ConflictError(
                    f"an admission of {other.member_id} waits for approvals already",
                    remedy="Withdraw it first: jointrisk coordinator remove NAME.",
                )
        member = self._ledger.read(session).history.members.get(member_id)
        admission = Admission(
            admission_id=secrets.token_hex(ID_LENGTH),
            member_id=member_id,
            identity_key=key,
            previous_identity_key=member.identity_key if member else None,
            address=address,
            state=AdmissionState.PENDING,
            opened_at=now,
        )
        session.add(admission)
        session.flush()
        self._audit.append_in(
            session,
            "membership.admission_opened",
            member_id=member_id,
            admission_id=admission.admission_id,
            fingerprint=fingerprint(key),
            returning=member is not None,
        )
        return admission

    def approve(self, session: Session, approver: str, signed: Signed, now: datetime) -> ApprovalState:
        """Take a member's approval; the last one that is needed admits the candidate. Idempotent.

        Args:
            session: of the transaction.
            approver: the member that calls, by its certificate.
            signed: its signed approval.
            now: the present time.

        Raises:
            RefusedError: the caller is no current member, or the candidate itself.
            UnauthenticatedError: it is not signed with the caller's identity key.
            InvalidInputError: it says something else than what is pending.
            NotFoundError: there is no such admission.
            ConflictError: it was withdrawn.
        """
        member = self._ledger.read(session).history.members.get(approver)
        if member is None:
            raise RefusedError(f"{approver} is no member, so it cannot approve")
        approval = read_approval(signed, member.identity_key)
        admission = self._find(session, approval.admission_id)
        said = (approval.federation, approval.member_id, approval.identity_key, approval.previous_identity_key)
        asked = (
            self._ledger.terms.federation,
            admission.member_id,
            admission.identity_key,
            admission.previous_identity_key,
        )
        if said != asked or approval.approver != approver:
            raise InvalidInputError("the approval says something else than the admission that it names")
        if approver == admission.member_id:
            raise RefusedError(f"{approver} cannot approve itself", remedy="Other members approve.")
        if admission.state == AdmissionState.PENDING:
            self._keep(session, approver, member.identity_key, signed, admission, now)
            self.settle(session, now)
        return self.state(session, admission)

    def settle(self, session: Session, now: datetime) -> bool:
        """Admit every candidate that has enough approvals now; return whether there was one."""
        admitted = False
        for admission in pending_admissions(session):
            history = self._ledger.read(session).history
            endorsements = _counting(session, admission, history)
            if len(endorsements) >= history.needed(admission.member_id):
                self._admit(session, admission, endorsements, now)
                admitted = True
        return admitted

    def withdraw(self, session: Session, member_id: str, now: datetime) -> bool:
        """End the pending admission of a name; return whether there was one."""
        found = [admission for admission in pending_admissions(session) if admission.member_id == member_id]
        for admission in found:
            admission.state, admission.decided_at = AdmissionState.WITHDRAWN, now
            self._audit.append_in(
                session,
                "membership.admission_withdrawn",
                member_id=member_id,
                admission_id=admission.admission_id,
            )
        session.flush()
        return bool(found)

    def state(self, session: Session, admission: Admission) -> ApprovalState:
        """Return how many approvals an admission has and needs."""
        history = self._ledger.read(session).history
        if admission.state == AdmissionState.ADMITTED:
            count = len(approvals_of(session, admission.admission_id))
            return ApprovalState(count, count, admitted=True)
        have = len(_counting(session, admission, history))
        return ApprovalState(have, history.needed(admission.member_id), admitted=False)

    def pending(self, session: Session) -> list[PendingAdmission]:
        """Return the admissions that wait, oldest first."""
        history = self._ledger.read(session).history
        return [
            PendingAdmission(
                admission_id=admission.admission_id,
                member_id=admission.member_id,
                identity_key=admission.identity_key,
                previous_identity_key=admission.previous_identity_key,
                approved_by=tuple(given.approver for given in _counting(session, admission, history)),
                approvals_required=history.needed(admission.member_id),
                opened_at=admission.opened_at,
            )
            for admission in pending_admissions(session)
        ]

    def _find(self, session: Session, admission_id: str) -> Admission:
        admission = session.get(Admission, admission_id)
        if admission is None:
            raise NotFoundError("there is no such admission", remedy="See `jointrisk node members list`.")
        if admission.state == AdmissionState.WITHDRAWN:
            raise ConflictError(f"the admission of {admission.member_id} was withdrawn")
        return admission

    def _keep(
        self, session: Session, approver: str, key: bytes, signed: Signed, admission: Admission, now: datetime
    ) -> None:
        # merge: an approval given under an earlier key of the approver no longer counts and is replaced
        session.merge(
            ApprovalGiven(
                admission_id=admission.admission_id,
                approver=approver,
                approver_key=key,
                signature=signed.signature,
                given_at=now,
            )
        )
        session.flush()
        self._audit.append_in(
            session,
            "membership.approved",
            member_id=admission.member_id,
            admission_id=admission.admission_id,
            approver=approver,
        )

    def _admit(
        self, session: Session, admission: Admission, endorsements: tuple[Endorsement, ...], now: datetime
    ) -> None:
        admission.state, admission.decided_at = AdmissionState.ADMITTED, now
        session.flush()
        if admission.previous_identity_key is not None:
            self._certificates.refuse_all(session, admission.member_id)
        self._ledger.add(session, now, lambda *at: _change(admission, endorsements, now, *at))
        self._audit.append_in(
            session, "membership.admitted", member_id=admission.member_id, admission_id=admission.admission_id
        )


def _change(
    admission: Admission, endorsements: tuple[Endorsement, ...], now: datetime, version: int, history: History
) -> Change:
    if admission.previous_identity_key is not None:
        return KeyChanged(
            version=version,
            at=now,
            member_id=admission.member_id,
            identity_key=admission.identity_key,
            previous_identity_key=admission.previous_identity_key,
            address=admission.address,
            admission_id=admission.admission_id,
            endorsements=endorsements,
        )
    return Admitted(
        version=version,
        at=now,
        member_id=admission.member_id,
        number=history.joined + 1,
        identity_key=admission.identity_key,
        address=admission.address,
        admission_id=admission.admission_id,
        endorsements=endorsements,
    )


def _counting(session: Session, admission: Admission, history: History) -> tuple[Endorsement, ...]:
    """Return the approvals of members that are current, made with their present keys."""
    return tuple(
        Endorsement(approver=given.approver, signature=given.signature)
        for given in approvals_of(session, admission.admission_id)
        if given.approver in history.members and history.members[given.approver].identity_key == given.approver_key
    )
