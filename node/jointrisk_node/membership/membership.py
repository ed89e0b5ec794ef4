"""What this node knows of its federation, and what its people decide about it."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from jointrisk.clock import Clock, rfc3339, utc_now
from jointrisk.errors import CorruptError, InvalidInputError, NotFoundError, RefusedError, UnavailableError
from jointrisk.federation.approval import Approval, sign_approval
from jointrisk.federation.certificates import (
    KeyPair,
    certificate_from_der,
    certificate_from_pem,
    certificate_to_pem,
    renewal_time,
)
from jointrisk.federation.fingerprint import authentication_string, fingerprint, same_fingerprint
from jointrisk.federation.history import RosterMember, RosterRuleError
from jointrisk.federation.roster import Removed, Roster
from jointrisk.federation.roster_view import Trust, View, accept_roster
from jointrisk.federation.signing import Signed, public_bytes
from jointrisk.store import AuditLog, Store
from jointrisk_node.membership.belief import Belief, load_belief, record_view
from jointrisk_node.membership.keys import NodeKeys
from jointrisk_node.membership.tables import AcceptedKey, OwnMembership
from jointrisk_node.membership.views import Candidate, Fingerprints, MemberView, members_seen


class Membership:
    """This node's membership. Methods that change something block on the database; safe from any thread.

    Args:
        store: the node's database.
        keys: the node's private keys.
        audit: the audit log in the same store.
        clock: the time.

    Raises:
        NotFoundError: the node has joined nothing yet.
        CorruptError: what is stored is not what was believed.
    """

    def __init__(self, store: Store, keys: NodeKeys, audit: AuditLog, clock: Clock = utc_now) -> None:
        self.keys = keys
        self._store = store
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._last_refusal = ("", "")
        self._belief = self._load()
        if self._belief.own.identity_key != public_bytes(keys.identity()):
            raise CorruptError("the identity key is not the one that this node joined with")

    # -- what is pinned --------------------------------------------------------------------------------------------

    @property
    def member_id(self) -> str:
        """This node's name."""
        return self._belief.own.member_id

    @property
    def federation(self) -> str:
        """The federation's name."""
        return self._belief.own.federation

    @property
    def coordinator_address(self) -> str:
        """The coordinator's mutual-TLS address, "host:port"."""
        return self._belief.own.coordinator_address

    @property
    def coordinator_key(self) -> bytes:
        """The coordinator's pinned Ed25519 key, which signs rosters and contracts."""
        return self._belief.own.coordinator_key

    @property
    def ca_pem(self) -> bytes:
        """The CA certificate, PEM: the only root that is trusted."""
        return certificate_to_pem(certificate_from_der(self._belief.own.ca_certificate))

    @property
    def view(self) -> View:
        """The believed roster as this node takes it. It may have expired: see :meth:`require_fresh`."""
        return self._belief.view

    @property
    def roster(self) -> Roster:
        """The believed roster."""
        return self._belief.view.roster

    # -- what follows from it --------------------------------------------------------------------------------------

    def trusted(self) -> dict[str, RosterMember]:
        """Return the members that this node works with, by name. Aggregation minima count only these."""
        return self._belief.view.trusted()

    def identity_keys(self) -> dict[str, frozenset[bytes]]:
        """Return every identity key that a member has or had, by name: what older signatures are verified with."""
        keys: dict[str, set[bytes]] = {}
        for change in self.roster.changes:
            if not isinstance(change, Removed):
                keys.setdefault(change.member_id, set()).add(change.identity_key)
        return {name: frozenset(known) for name, known in keys.items()}

    def require_fresh(self) -> None:
        """Refuse to take part in anything with an expired roster, or as a removed member.

        Raises:
            UnavailableError: the roster has expired.
            RefusedError: this node was removed.
        """
        if self._belief.view.removed:
            raise RefusedError(f"{self.member_id}, this node, was removed from {self.federation}")
        if self.roster.expires_at <= self._clock():
            raise UnavailableError(
                f"the roster expired at {rfc3339(self.roster.expires_at)}",
                remedy="Is the coordinator reachable, and is this machine's clock right?",
            )

    def transport(self) -> KeyPair:
        """Return the transport key and its certificate, as renewed last."""
        return self.keys.transport()

    def certificate_expires_at(self) -> datetime:
        """Return when the certificate expires."""
        return certificate_from_pem(self.transport().chain).not_valid_after_utc

    def until_renewal(self) -> timedelta:
        """Return the time until two thirds of the certificate's lifetime have passed; negative after that."""
        return renewal_time(certificate_from_pem(self.transport().chain)) - self._clock()

    def fingerprints(self) -> Fingerprints:
        """Return what founding members compare: the same at every member that has decided the same."""
        own, pinned = self._belief.own, self._belief.view.pinned
        ca = self._belief.anchor.ca_fingerprint
        return Fingerprints(
            federation=authentication_string(own.federation, ca, own.coordinator_key, pinned),
            coordinator=fingerprint(own.coordinator_key),
            members={name: fingerprint(pinned[name]) for name in sorted(pinned)},
        )

    def members(self, candidates: Sequence[Candidate] = ()) -> list[MemberView]:
        """Return current members in order of joining, then candidates, then removed members."""
        return members_seen(self._belief.view, candidates)

    # -- what changes it -------------------------------------------------------------------------------------------

    def apply_roster(self, signed: Signed) -> bool:
        """Believe a newer roster; return whether it is another than the one before.

        Raises:
            RosterRuleError: it breaks a rule; that is on record, and the roster before stays.
            CorruptError: it is signed by the coordinator, yet no roster.
        """
        with self._lock:
            belief = self._belief
            try:
                view = accept_roster(belief.anchor, belief.known, signed, self._clock())
            except (RosterRuleError, CorruptError) as error:
                self._record_refusal(error)
                raise
            if view.roster.version == belief.view.roster.version:
                return False
            with self._store.transaction() as session:
                own = session.get_one(OwnMembership, belief.own.id)
                own.roster_version = view.roster.version
                own.roster_payload, own.roster_signature = signed.payload, signed.signature
                record_view(self._audit, session, view)
            self._belief = self._load()
            return True

    def approval_of(self, candidate: Candidate, compared: str) -> Signed:
        """Return this member's signed approval of a candidate.

        Args:
            candidate: as the coordinator tells it.
            compared: the fingerprint that a person has compared with the candidate's own people.

        Raises:
            InvalidInputError: it is not the fingerprint of the candidate's key.
            RefusedError: what the coordinator says of the candidate contradicts what is pinned here.
        """
        _require_compared(candidate.member_id, compared, candidate.identity_key)
        self._require_consistent(candidate)
        approval = Approval(
            federation=self.federation,
            admission_id=candidate.admission_id,
            member_id=candidate.member_id,
            identity_key=candidate.identity_key,
            previous_identity_key=candidate.previous_identity_key,
            approver=self.member_id,
        )
        signed = sign_approval(approval, self.keys.identity())
        self._audit.append(
            "membership.approval_signed",
            member_id=candidate.member_id,
            admission_id=candidate.admission_id,
            fingerprint=fingerprint(candidate.identity_key),
        )
        return signed

    def accept(self, member_id: str, compared: str, candidate: Candidate | None = None) -> bool:
        """Accept a member's identity key that this node does not trust yet; return whether it is pinned now.

        Args:
            member_id: the member.
            compared: the fingerprint that a person has compared with that member's people.
            candidate: its pending admission, when the roster does not hold the key yet: it is pinned when it does.

        Raises:
            NotFoundError: there is nothing to accept.
            InvalidInputError: the fingerprint is not that of the key.
        """
        key = self._acceptable(member_id, candidate)
        _require_compared(member_id, compared, key)
        with self._lock:
            with self._store.transaction() as session:
                session.merge(AcceptedKey(member_id=member_id, identity_key=key, accepted_at=self._clock()))
                self._audit.append_in(
                    session, "membership.key_accepted", member_id=member_id, fingerprint=fingerprint(key)
                )
            self._belief = self._load()
        return self._belief.view.pinned.get(member_id) == key

    # -- inside ----------------------------------------------------------------------------------------------------

    def _acceptable(self, member_id: str, candidate: Candidate | None) -> bytes:
        view = self._belief.view
        if member_id in view.history.members and view.trust(member_id) is not Trust.MEMBER:
            return view.history.members[member_id].identity_key
        if candidate is not None and candidate.member_id == member_id and candidate.previous_identity_key is not None:
            return candidate.identity_key
        raise NotFoundError(f"{member_id} has no changed key to accept", remedy="See `jointrisk node members list`.")

    def _require_consistent(self, candidate: Candidate) -> None:
        view, name = self._belief.view, candidate.member_id
        if name == self.member_id:
            raise RefusedError("a member cannot approve itself", remedy="Other members approve.")
        known = name in view.history.members or name in view.history.removed
        if (candidate.previous_identity_key is not None) != known or candidate.previous_identity_key != (
            view.pinned.get(name)
        ):
            raise RefusedError(
                f"what the coordinator says of {name}'s earlier key is not what this node has pinned",
                remedy=f"See `jointrisk node members list`; accept {name}'s present key first if it has changed.",
            )

    def _record_refusal(self, error: RosterRuleError | CorruptError) -> None:
        rule = error.rule if isinstance(error, RosterRuleError) else error.code
        # The same roster comes again with every poll; it is on record once.
        if self._last_refusal != (rule, error.message):
            self._last_refusal = (rule, error.message)
            self._audit.append("membership.roster_refused", rule=rule, reason=error.message[:500])

    def _load(self) -> Belief:
        with self._store.reading() as session:
            return load_belief(session)


def _require_compared(member_id: str, compared: str, key: bytes) -> None:
    if not same_fingerprint(compared, key):
        raise InvalidInputError(
            f"the fingerprint is not that of {member_id}'s key",
            remedy="Compare it again with that institution's people. If it differs, do not go on: tell the others.",
        )
