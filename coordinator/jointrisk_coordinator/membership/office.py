"""Everything that a coordinator does about membership, each operation one transaction."""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import InvalidInputError, JointriskError, NotFoundError, RefusedError
from jointrisk.federation.certificates import Identity, requested_key
from jointrisk.federation.history import History
from jointrisk.federation.invitation import ID_LENGTH, SECRET_LENGTH, InvitationToken, encode_token
from jointrisk.federation.names import check_address
from jointrisk.federation.roster import Removed, Roster, renewal_due
from jointrisk.federation.signing import Signed
from jointrisk.store import AuditLog, Session, Store
from jointrisk.throttle import Throttle
from jointrisk_coordinator.authority import Authority
from jointrisk_coordinator.membership.admissions import AdmissionDesk, ApprovalState, PendingAdmission
from jointrisk_coordinator.membership.issuing import CertificateDesk
from jointrisk_coordinator.membership.joining import JoinDesk, JoinRefused, JoinRequest, JoinResult
from jointrisk_coordinator.membership.ledger import Ledger, MembershipRules, Page
from jointrisk_coordinator.membership.tables import certificate_ends, live_certificates
from jointrisk_coordinator.membership.views import IssuedInvitation, MemberView, members_seen

INVITATION_VALID = timedelta(days=3)
_LONGEST_REASON = 500
_LONGEST_CALLER = 100


@dataclass(frozen=True)
class _Snapshot:
    """What every call is checked against, as of the last commit."""

    page: Page
    live: Mapping[str, str]


class MembershipOffice:
    """Membership at the coordinator. Methods block on the database; they are safe from any thread.

    Args:
        store: the coordinator's database.
        authority: CA and identity key.
        rules: the federation's settings.
        audit: the audit log in the same store.
        clock: the time.

    Attributes:
        on_removed: called with a member's name, after the commit, when its certificates are refused from now on
            (a removal, a replaced key), to close its streams. In whatever thread the change was made; it may be
            called more than once.

    Raises:
        ConflictError: the settings contradict what members have pinned.
    """

    def __init__(
        self, store: Store, authority: Authority, rules: MembershipRules, audit: AuditLog, clock: Clock = utc_now
    ) -> None:
        self.authority = authority
        self.on_removed: list[Callable[[str], None]] = []
        self._store = store
        self._audit = audit
        self._clock = clock
        self._ledger = Ledger(authority, rules, audit)
        self._certificates = CertificateDesk(authority, rules, audit)
        self._admissions = AdmissionDesk(self._ledger, self._certificates, audit)
        self._joining = JoinDesk(self._ledger, self._admissions, self._certificates, audit)
        self._refusals = Throttle(limit=60, period=timedelta(minutes=1))
        self._lock = threading.Lock()
        with self._store.transaction() as session:
            self._ledger.open(session, clock())
            self._snapshot = self._taken(session)

    # -- who is who, from memory -----------------------------------------------------------------------------------

    def is_current(self, identity: Identity) -> bool:
        """Tell whether a certificate is one that a current member has and that is not refused."""
        if identity.federation != self.authority.federation:
            return False
        snapshot = self._snapshot
        current = identity.member_id in snapshot.page.history.members
        return current and snapshot.live.get(identity.serial) == identity.member_id

    @property
    def roster(self) -> Roster:
        """The newest roster."""
        return self._snapshot.page.roster

    @property
    def history(self) -> History:
        """Current and removed members. Not to be changed."""
        return self._snapshot.page.history

    # -- operations of the coordinator's operator ------------------------------------------------------------------

    def invite(
        self,
        member_id: str,
        join_address: str,
        *,
        valid: timedelta = INVITATION_VALID,
        replace_key: bool = False,
    ) -> IssuedInvitation:
        """Make a one-time invitation. Earlier ones for the same name that nobody has used are void.

        Args:
            member_id: the name that the member will have.
            join_address: "host:port" of the join port, as the institution reaches it.
            valid: until when it can be used first.
            replace_key: the member exists and comes back with new keys.

        Raises:
            InvalidInputError: name, address or validity break their rules.
            ConflictError: the name was given before, or its admission is pending.
            NotFoundError: ``replace_key`` for a name that is no member's.
        """
        check_address(join_address, "join address")
        if valid < timedelta(seconds=1):
            raise InvalidInputError("expected an invitation to be valid for at least a second")
        secret = secrets.token_bytes(SECRET_LENGTH)
        with self._store.transaction() as session:
            made = self._joining.invite(
                session, member_id, replace_key=replace_key, valid=valid, secret=secret, now=self._clock()
            )
            token = InvitationToken(
                address=join_address,
                ca_fingerprint=self.authority.fingerprint,
                invitation_id=made.invitation_id,
                secret=secret,
                expires_at=made.expires_at,
                member_id=member_id,
            )
            return IssuedInvitation(made.invitation_id, member_id, encode_token(token), made.expires_at)

    def remove(self, member_id: str, reason: str) -> int:
        """End a membership, or withdraw a candidate's admission; return the roster's version.

        Its certificates are refused from the commit on, and listed in the new roster.

        Raises:
            NotFoundError: there is no such member or candidate.
            InvalidInputError: the reason is too long.
        """
        if len(reason) > _LONGEST_REASON:
            raise InvalidInputError(f"reason: expected at most {_LONGEST_REASON} characters, got {len(reason)}")
        with self._change() as session:
            self._remove(session, member_id, reason, self._clock())
        return self.roster.version

    def list_members(self) -> list[MemberView]:
        """Return current members in order of joining, then candidates, then removed members."""
        with self._store.reading() as session:
            history = self._ledger.read(session).history
            expiries = certificate_ends(session)
            pending = self._admissions.pending(session)
        return members_seen(history, expiries, pending)

    # -- what nodes ask --------------------------------------------------------------------------------------------

    def join(self, request: JoinRequest, *, caller: str = "") -> JoinResult:
        """Redeem an invitation, or ask again how a pending admission stands.

        Args:
            request: what the node sent.
            caller: where it came from, for the audit log.

        Raises:
            UnauthenticatedError: the invitation is unknown or its secret wrong; one answer for both.
            RefusedError: it has expired, was used with other keys, or was withdrawn; the member was removed.
            ConflictError: another admission with this name or key is pending.
            InvalidInputError: a field breaks its form.
        """
        try:
            result = self._join(request)
        except JoinRefused as refused:
            self._record_refusal(request, refused.reason, caller)
            raise refused.error from None
        except JointriskError as error:
            self._record_refusal(request, error.code, caller)
            raise
        if result.replaced:
            self._tell_removed(result.member_id)
        return result

    def renew(self, certificate_request: bytes, identity: Identity) -> bytes:
        """Return a certificate (DER) for a member's new transport key.

        Raises:
            RefusedError: the caller is no current member, its certificate is refused, or it has too many.
            InvalidInputError: the request breaks its form.
        """
        key = requested_key(certificate_request)
        with self._change() as session:
            self.require_current(identity)
            return self._certificates.issue(session, identity.member_id, key, self._clock()).der

    def approve(self, signed: Signed, identity: Identity) -> ApprovalState:
        """Take a member's signed approval of an admission; idempotent.

        Raises:
            RefusedError: the caller is no current member, or the candidate itself.
            UnauthenticatedError: it is not signed with the caller's identity key.
            InvalidInputError, CorruptError: it says something else than what is pending.
            NotFoundError, ConflictError: there is no such admission, or it was withdrawn.
        """
        with self._change() as session:
            self.require_current(identity)
            return self._admissions.approve(session, identity.member_id, signed, self._clock())

    def admissions(self) -> list[PendingAdmission]:
        """Return the admissions that wait for approvals, oldest first."""
        with self._store.reading() as session:
            return self._admissions.pending(session)

    def current_roster(self) -> Signed:
        """Return the signed roster, issued again when half of its time has passed."""
        if not renewal_due(self.roster, self._clock()):
            return self._snapshot.page.signed
        with self._change() as session:
            self._ledger.reissue(session, self._clock())
        return self._snapshot.page.signed

    def note_generation(self, generation: int) -> None:
        """Say in the roster that a key ceremony has made this generation of shares, unless it says so already."""
        if generation > self.roster.holder_generation:
            with self._change() as session:
                self._ledger.reissue(session, self._clock(), holder_generation=generation)

    def require_current(self, identity: Identity) -> None:
        """Refuse a caller whose certificate is not a current member's.

        Raises:
            RefusedError: it is not, or it is refused.
        """
        if not self.is_current(identity):
            raise RefusedError(
                "the certificate is not one of a current member: removed, replaced, or never a member",
                remedy="Ask the coordinator's operator for a new invitation.",
            )

    # -- inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[Session]:
        """Open a transaction; after its commit the snapshot is that of the commit, and removals are told."""
        with self._lock:
            before = self._snapshot.page.history
            with self._store.transaction() as session:
                yield session
                taken = self._taken(session)
            self._snapshot = taken
        for member_id in _cut_off(before, taken.page.history):
            self._tell_removed(member_id)

    def _taken(self, session: Session) -> _Snapshot:
        return _Snapshot(self._ledger.read(session), live_certificates(session))

    def _tell_removed(self, member_id: str) -> None:
        for told in self.on_removed:
            told(member_id)

    def _join(self, request: JoinRequest) -> JoinResult:
        # Whoever holds no secret costs a read, never a write.
        with self._store.reading() as session:
            self._joining.authenticate(session, request, self._clock())
        with self._change() as session:
            now = self._clock()
            self._joining.authenticate(session, request, now)
            return self._joining.redeem(session, request, now)

    def _record_refusal(self, request: JoinRequest, reason: str, caller: str) -> None:
        held_back = self._refusals.passes(self._clock())
        if held_back is None:
            return
        self._audit.append(
            "membership.join_refused",
            reason=reason,
            invitation_id=request.invitation_id[: 2 * ID_LENGTH],
            caller=caller[:_LONGEST_CALLER],
            unrecorded=held_back,
        )

    def _remove(self, session: Session, member_id: str, reason: str, now: datetime) -> None:
        withdrawn = self._admissions.withdraw(session, member_id, now)
        self._joining.withdraw(session, member_id)
        member = member_id in self._ledger.read(session).history.members
        if not member and not withdrawn:
            raise NotFoundError(f"there is no member or candidate {member_id}", remedy="See `... coordinator members`.")
        if member:
            self._certificates.refuse_all(session, member_id)
            self._ledger.add(session, now, lambda at, _: Removed(version=at, at=now, member_id=member_id))
            self._admissions.settle(session, now)
        self._audit.append_in(session, "membership.removed", member_id=member_id, reason=reason, was_member=member)


def _cut_off(before: History, after: History) -> list[str]:
    """Return the members that are gone or have another key."""
    keys = {name: member.identity_key for name, member in after.members.items()}
    return [name for name, member in before.members.items() if keys.get(name) != member.identity_key]
