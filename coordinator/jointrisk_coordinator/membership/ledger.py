"""The roster as the coordinator keeps it: every change is checked by the nodes' own rules, added, and signed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jointrisk.errors import ConflictError, CorruptError, UnauthenticatedError
from jointrisk.federation.history import History, check_history
from jointrisk.federation.roster import ROSTER, Change, Roster, Terms, renewal_due, sign_roster
from jointrisk.federation.signing import Signed, verify_document
from jointrisk.store import AuditLog, Session
from jointrisk_coordinator.authority import Authority
from jointrisk_coordinator.membership.tables import RosterIssued, newest_roster, refused_serials, replace_roster


@dataclass(frozen=True)
class MembershipRules:
    """The federation's settings for membership.

    Attributes:
        founding_members: so many join without approvals. Members pin it.
        approvals_required: approvals of later members and changed keys. Members pin it.
        certificate_lifetime: of members' and the coordinator's certificates; renewed at two thirds.
        roster_lifetime: a roster is issued again at half of it.
    """

    founding_members: int = 3
    approvals_required: int = 2
    certificate_lifetime: timedelta = timedelta(days=30)
    roster_lifetime: timedelta = timedelta(hours=24)


@dataclass(frozen=True)
class Page:
    """The roster at one version."""

    signed: Signed
    roster: Roster
    history: History


class Ledger:
    """Issues rosters.

    Args:
        authority: signs them.
        rules: the federation's settings.
        audit: is told of every version.
    """

    def __init__(self, authority: Authority, rules: MembershipRules, audit: AuditLog) -> None:
        self._authority = authority
        self._rules = rules
        self._audit = audit

    @property
    def terms(self) -> Terms:
        """What the members pin, by the present settings."""
        return Terms(
            federation=self._authority.federation,
            founding_members=self._rules.founding_members,
            approvals_required=self._rules.approvals_required,
            coordinator_key=self._authority.public_key,
            ca_fingerprint=self._authority.fingerprint,
        )

    def open(self, session: Session, now: datetime) -> Page:
        """Return the newest roster, or make the first.

        Raises:
            ConflictError: the settings contradict what members have pinned.
            CorruptError: the stored roster is not what was signed.
        """
        if newest_roster(session) is None:
            return self._issue(session, now, version=1, changes=())
        page = self.read(session)
        if page.roster.terms != self.terms:
            raise ConflictError(
                "the settings of the federation differ from what its members have agreed on and pinned",
                remedy="Put name, founding_members and approvals_required back to what they were at the founding.",
            )
        return page

    def read(self, session: Session) -> Page:
        """Return the newest roster.

        Raises:
            CorruptError: it is not what was signed.
        """
        row = newest_roster(session)
        if row is None:
            raise CorruptError("the database holds no roster", remedy="Restore it from a backup.")
        signed = Signed(ROSTER, row.payload, row.signature, self._authority.public_key)
        try:
            roster = Roster.parse(verify_document(signed, ROSTER, self._authority.public_key))
        except UnauthenticatedError as error:
            raise CorruptError("the stored roster is not signed by this coordinator") from error
        return Page(signed, roster, check_history(roster))

    def add(self, session: Session, now: datetime, make: Callable[[int, History], Change]) -> Page:
        """Issue a roster with one more change.

        Args:
            session: of the transaction.
            now: the present time.
            make: returns the change, given its version and how the federation stands before it.

        Raises:
            RosterRuleError: the change breaks a rule that every node would hold against it.
        """
        before = self.read(session)
        version = before.roster.version + 1
        change = make(version, before.history)
        changes, generation = (*before.roster.changes, change), before.roster.holder_generation
        return self._issue(session, now, version=version, changes=changes, holder_generation=generation)

    def reissue(self, session: Session, now: datetime, *, forced: bool = False, holder_generation: int = 0) -> Page:
        """Issue the same changes again if half of the roster's time has passed, if ``forced``, or for a new generation.

        Args:
            session: of the transaction.
            now: the present time.
            forced: issue it whatever its age.
            holder_generation: the newest generation of key shares; an older one than the roster's changes nothing.
        """
        before = self.read(session)
        newest = max(before.roster.holder_generation, holder_generation)
        if not forced and newest == before.roster.holder_generation and not renewal_due(before.roster, now):
            return before
        version, changes = before.roster.version + 1, before.roster.changes
        return self._issue(session, now, version=version, changes=changes, holder_generation=newest)

    def _issue(
        self, session: Session, now: datetime, *, version: int, changes: tuple[Change, ...], holder_generation: int = 0
    ) -> Page:
        roster = Roster(
            terms=self.terms,
            version=version,
            issued_at=now,
            expires_at=now + self._rules.roster_lifetime,
            holder_generation=holder_generation,
            changes=changes,
            refused_serials=tuple(refused_serials(session, now)),
        )
        history = check_history(roster)
        signed = sign_roster(roster, self._authority.identity_key)
        replace_roster(
            session,
            RosterIssued(version=version, payload=signed.payload, signature=signed.signature, issued_at=now),
        )
        self._audit.append_in(session, "membership.roster_issued", version=version, changes=len(changes))
        return Page(signed, roster, history)
