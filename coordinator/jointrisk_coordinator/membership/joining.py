"""Redeeming invitations: who may join under which name, once, and again only with the very same keys."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError, UnauthenticatedError
from jointrisk.federation.certificates import requested_key
from jointrisk.federation.history import History
from jointrisk.federation.invitation import ID_LENGTH, SECRET_LENGTH, hash_secret, verify_join
from jointrisk.federation.names import check_address, check_name
from jointrisk.federation.roster import Founded
from jointrisk.store import AuditLog, Session
from jointrisk_coordinator.membership.admissions import AdmissionDesk
from jointrisk_coordinator.membership.issuing import CertificateDesk
from jointrisk_coordinator.membership.ledger import Ledger
from jointrisk_coordinator.membership.tables import (
    Admission,
    AdmissionState,
    Invitation,
    InvitationState,
    invitations_of,
)

_NO_HASH = bytes(32)
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class JoinRequest:
    """What a joining node sends (``JoinRequest`` on the wire)."""

    invitation_id: str
    secret: bytes = field(repr=False)
    certificate_request: bytes
    identity_key: bytes
    proof: bytes
    address: str = ""


@dataclass(frozen=True)
class JoinResult:
    """How a joining node stands.

    Attributes:
        member_id: the name that the invitation gives.
        approvals: approvals it has.
        approvals_required: approvals it needs; 0 for founders.
        certificate: DER; None while the admission waits.
        replaced: earlier certificates of this member are refused from now on.
    """

    member_id: str
    approvals: int
    approvals_required: int
    certificate: bytes | None
    replaced: bool = False


class JoinRefused(Exception):  # noqa: N818 - it carries the error that is raised once the refusal is on record
    """A join that is refused.

    Attributes:
        error: what the caller is told.
        reason: what the audit log is told.
    """

    def __init__(self, error: RefusedError | UnauthenticatedError | ConflictError, reason: str) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason


class JoinDesk:
    """Makes invitations and redeems them.

    Args:
        ledger: knows who is a member.
        admissions: opened for those who need approvals.
        certificates: issued to those who are members.
        audit: is told of every step.
    """

    def __init__(
        self, ledger: Ledger, admissions: AdmissionDesk, certificates: CertificateDesk, audit: AuditLog
    ) -> None:
        self._ledger = ledger
        self._admissions = admissions
        self._certificates = certificates
        self._audit = audit

    def invite(
        self, session: Session, member_id: str, *, replace_key: bool, valid: timedelta, secret: bytes, now: datetime
    ) -> Invitation:
        """Make an invitation; earlier ones for the name that nobody has used are withdrawn.

        Raises:
            InvalidInputError: the name breaks the pattern.
            ConflictError: the name was given before, or its admission waits for approvals.
            NotFoundError: ``replace_key``, and there is no such member.
        """
        check_name(member_id, "member")
        self._require_invitable(session, member_id, replace_key=replace_key)
        self._withdraw(session, member_id)
        invitation = Invitation(
            invitation_id=secrets.token_hex(ID_LENGTH),
            member_id=member_id,
            secret_hash=hash_secret(secret),
            created_at=now,
            expires_at=now.replace(microsecond=0) + valid,
            replace_key=replace_key,
            state=InvitationState.OPEN,
        )
        session.add(invitation)
        self._audit.append_in(
            session,
            "membership.invited",
            member_id=member_id,
            invitation_id=invitation.invitation_id,
            returning=replace_key,
        )
        return invitation

    def withdraw(self, session: Session, member_id: str) -> None:
        """Withdraw every invitation of a name that has not made a member yet."""
        self._withdraw(session, member_id, InvitationState.OPEN, InvitationState.BOUND)

    def authenticate(self, session: Session, request: JoinRequest, now: datetime) -> None:
        """Check everything about a request that needs no change.

        Without the right secret every invitation, known or not, gets the same answer.

        Raises:
            JoinRefused: the invitation is not this caller's to use.
            InvalidInputError: a field breaks its form.
        """
        known_form = _ID.fullmatch(request.invitation_id)
        invitation = session.get(Invitation, request.invitation_id) if known_form else None
        expected = invitation.secret_hash if invitation else _NO_HASH
        right = hmac.compare_digest(expected, hash_secret(request.secret))
        if invitation is None or not right or len(request.secret) != SECRET_LENGTH:
            error = UnauthenticatedError(
                "the invitation is not known here, or its secret is wrong", remedy="Ask for a new invitation."
            )
            raise JoinRefused(error, "unknown" if invitation is None else "wrong secret")
        _check_form(request)
        _check_state(invitation, request, now)

    def redeem(self, session: Session, request: JoinRequest, now: datetime) -> JoinResult:
        """Let a node join that :meth:`authenticate` has let through in the same transaction.

        Raises:
            JoinRefused: the name or the key is not free any more, or the member was removed.
        """
        invitation = session.get_one(Invitation, request.invitation_id)
        changed = invitation.state == InvitationState.OPEN and self._begin(session, invitation, request, now)
        return self._result(session, invitation, request, now, changed=changed)

    def _begin(self, session: Session, invitation: Invitation, request: JoinRequest, now: datetime) -> bool:
        """Use an invitation for the first time; return whether the roster changed."""
        history = self._ledger.read(session).history
        _require_free(history, invitation, request)
        invitation.bound_to, invitation.identity_key = _binding(request), request.identity_key
        invitation.state = InvitationState.BOUND
        member = history.members.get(invitation.member_id)
        if member is None and history.joined < self._ledger.terms.founding_members:
            self._found(session, invitation, request, now)
            return True
        if member is not None and member.identity_key == request.identity_key:
            # It lost its certificate only: nothing that others would have to approve.
            self._certificates.refuse_all(session, member.member_id)
            self._ledger.reissue(session, now, forced=True)
            return True
        admission = self._open(session, invitation, request, now)
        invitation.admission_id = admission.admission_id
        session.flush()
        return self._admissions.settle(session, now)

    def _open(self, session: Session, invitation: Invitation, request: JoinRequest, now: datetime) -> Admission:
        try:
            return self._admissions.open(session, invitation.member_id, request.identity_key, request.address, now)
        except ConflictError as error:
            raise JoinRefused(error, "another admission is pending") from error

    def _found(self, session: Session, invitation: Invitation, request: JoinRequest, now: datetime) -> None:
        self._ledger.add(
            session,
            now,
            lambda version, history: Founded(
                version=version,
                at=now,
                member_id=invitation.member_id,
                number=history.joined + 1,
                identity_key=request.identity_key,
                address=request.address,
            ),
        )
        self._audit.append_in(session, "membership.founded", member_id=invitation.member_id)

    def _result(
        self, session: Session, invitation: Invitation, request: JoinRequest, now: datetime, *, changed: bool
    ) -> JoinResult:
        name, approvals, required = invitation.member_id, 0, 0
        if invitation.admission_id is not None:
            admission = session.get_one(Admission, invitation.admission_id)
            state = self._admissions.state(session, admission)
            approvals, required = state.approvals, state.approvals_required
            if admission.state == AdmissionState.PENDING:
                return JoinResult(name, approvals, required, certificate=None)
        member = self._ledger.read(session).history.members.get(name)
        if member is None or member.identity_key != invitation.identity_key:
            error = RefusedError(f"{name} was removed, or has another key by now", remedy="Ask for a new invitation.")
            raise JoinRefused(error, "no longer a member")
        row = self._certificates.fresh(session, invitation.serial, now) or self._certificates.issue(
            session, name, requested_key(request.certificate_request), now
        )
        invitation.state, invitation.serial = InvitationState.USED, row.serial
        return JoinResult(name, approvals, required, row.der, replaced=changed and invitation.replace_key)

    def _require_invitable(self, session: Session, member_id: str, *, replace_key: bool) -> None:
        history = self._ledger.read(session).history
        if any(pending.member_id == member_id for pending in self._admissions.pending(session)):
            raise ConflictError(
                f"an admission of {member_id} waits for approvals",
                remedy=f"Withdraw it first: jointrisk coordinator remove {member_id}.",
            )
        if replace_key and member_id not in history.members:
            raise NotFoundError(f"there is no member {member_id} whose key could be replaced")
        if not replace_key and member_id in history.members:
            raise ConflictError(f"{member_id} is a member", remedy="For new keys of a member: --replace-key.")
        if member_id in history.removed:
            raise ConflictError(f"the name {member_id} was a removed member's", remedy="Choose another name.")

    def _withdraw(self, session: Session, member_id: str, *states: InvitationState) -> None:
        for found in invitations_of(session, member_id, states or (InvitationState.OPEN,)):
            found.state = InvitationState.WITHDRAWN
            self._audit.append_in(
                session,
                "membership.invitation_withdrawn",
                member_id=member_id,
                invitation_id=found.invitation_id,
            )


def _check_form(request: JoinRequest) -> None:
    if not verify_join(request.proof, request.identity_key, request.invitation_id, request.certificate_request):
        raise InvalidInputError("identity key: its proof of possession is not valid for this request")
    requested_key(request.certificate_request)
    if request.address:
        check_address(request.address)


def _check_state(invitation: Invitation, request: JoinRequest, now: datetime) -> None:
    if invitation.state == InvitationState.WITHDRAWN:
        raise JoinRefused(RefusedError("the invitation was withdrawn", remedy="Ask for a new invitation."), "withdrawn")
    if invitation.state == InvitationState.OPEN:
        if now >= invitation.expires_at:
            error = RefusedError("the invitation has expired", remedy="Ask for a new invitation.")
            raise JoinRefused(error, "expired")
    elif not hmac.compare_digest(invitation.bound_to or b"", _binding(request)):
        error = RefusedError(
            "the invitation was used before, with other keys",
            remedy="If that was not this node, tell the coordinator's operator at once; then ask for a new invitation.",
        )
        raise JoinRefused(error, "reused")


def _require_free(history: History, invitation: Invitation, request: JoinRequest) -> None:
    member = history.members.get(invitation.member_id)
    if invitation.replace_key and member is None:
        error = RefusedError(f"{invitation.member_id} is no member any more", remedy="Ask for a new invitation.")
        raise JoinRefused(error, "no longer a member")
    if member is not None and not invitation.replace_key:
        error = RefusedError(f"the name {invitation.member_id} is taken", remedy="Ask for a new invitation.")
        raise JoinRefused(error, "name taken")
    own = member.identity_key if member else None
    if request.identity_key != own and history.knows_key(request.identity_key):
        error = RefusedError(
            "the identity key is or was another member's, or this member's before",
            remedy="Make a new node: each has an identity key of its own.",
        )
        raise JoinRefused(error, "key in use")


def _binding(request: JoinRequest) -> bytes:
    return hashlib.sha256(request.certificate_request + request.identity_key).digest()
