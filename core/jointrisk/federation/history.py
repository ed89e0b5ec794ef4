"""Replaying a federation's changes, with every rule that a single change must keep.

The coordinator replays before it signs, every node before it believes. The rules and the attacks that they end
(PROTOCOL.md section 0):

==============  =====================================================================================
order           versions of changes grow and end at the roster's (*changes slipped in later*)
numbers         members are numbered 1, 2, 3, ... as they join (*a founder invented afterwards*)
founders        the first ``founding_members`` numbers and no other join without approvals
names           a name is given once, also after a removal (*approvals of one used for another*)
keys            an identity key is one member's, once (*one party standing as two; going back to a lost key*)
approvals       later members and changed keys carry the approvals of enough members of that time, under
                their keys of that time, the candidate not counted, each admission used once (*sybils*)
==============  =====================================================================================

A coordinator can always remove, so removing down to few members lowers what an admission needs; as long as a node is
a member, its own person is among the last who must agree.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn

from jointrisk.errors import RefusedError, UnauthenticatedError
from jointrisk.federation.approval import APPROVAL, Approval, Endorsement, required_approvals
from jointrisk.federation.roster import Admitted, Change, Founded, KeyChanged, Removed, Roster, Terms
from jointrisk.federation.signing import Signed, verify_document


class RosterRuleError(RefusedError):
    """A roster breaks a rule.

    Attributes:
        rule: its name, for the audit log and tests.
    """

    def __init__(self, rule: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"the roster breaks the rule {rule!r}: {message}", remedy=remedy)
        self.rule = rule


def refuse(rule: str, message: str, remedy: str = "") -> NoReturn:
    """Raise :class:`RosterRuleError`."""
    advice = remedy or "Ask the coordinator's operator and other members before going on: this is not normal."
    raise RosterRuleError(rule, message, remedy=advice)


@dataclass(frozen=True)
class RosterMember:
    """A member as the changes so far make it.

    Attributes:
        member_id: its name.
        number: its place in the order of joining, from 1.
        founding: it was there before approvals were needed.
        identity_key: its present key.
        address: where it listens, or empty.
        joined_at: when it joined.
        approved_by: who approved the member, or its present key.
    """

    member_id: str
    number: int
    founding: bool
    identity_key: bytes
    address: str
    joined_at: datetime
    approved_by: tuple[str, ...] = ()


@dataclass
class History:
    """How a federation stands after the changes applied so far.

    Attributes:
        terms: the federation's terms.
        members: current members by name.
        removed: former members by name.
        version: of the last change; 0 before the first.
    """

    terms: Terms
    members: dict[str, RosterMember] = field(default_factory=dict)
    removed: dict[str, RosterMember] = field(default_factory=dict)
    version: int = 0
    _keys: set[bytes] = field(default_factory=set)
    _admissions: set[str] = field(default_factory=set)

    @property
    def joined(self) -> int:
        """How many members ever joined."""
        return len(self.members) + len(self.removed)

    def apply(self, change: Change) -> None:
        """Add one change.

        Raises:
            RosterRuleError: it breaks a rule; nothing is changed.
        """
        if change.version <= self.version:
            refuse("order", f"change {change.version} follows change {self.version}")
        match change:
            case Founded():
                self._join(change, founding=True)
            case Admitted():
                self._join(change, founding=False)
            case KeyChanged():
                self._change_key(change)
            case Removed():
                self.removed[change.member_id] = self._current(change.member_id)
                del self.members[change.member_id]
        self.version = change.version

    def needed(self, candidate: str) -> int:
        """Return how many approvals a candidate needs now."""
        others = len(self.members) - (candidate in self.members)
        return required_approvals(self.terms.approvals_required, others)

    def knows_key(self, identity_key: bytes) -> bool:
        """Tell whether a key is or was any member's."""
        return identity_key in self._keys

    def _join(self, change: Founded | Admitted, *, founding: bool) -> None:
        name = change.member_id
        if change.number != self.joined + 1:
            refuse("numbers", f"expected member number {self.joined + 1}, got {change.number}")
        if founding != (change.number <= self.terms.founding_members):
            refuse("founders", f"member number {change.number} of {self.terms.founding_members} founding members")
        if name in self.members or name in self.removed:
            refuse("names", f"the name {name} was given before")
        self._require_new_key(change.identity_key)
        if isinstance(change, Admitted):
            self._require_approvals(change, previous=None)
        self._keys.add(change.identity_key)
        self.members[name] = RosterMember(
            member_id=name,
            number=change.number,
            founding=founding,
            identity_key=change.identity_key,
            address=change.address,
            joined_at=change.at,
            approved_by=approvers(change),
        )

    def _change_key(self, change: KeyChanged) -> None:
        member = self._current(change.member_id)
        if change.previous_identity_key != member.identity_key:
            refuse("keys", f"the key that {change.member_id} is said to replace is not its present one")
        self._require_new_key(change.identity_key)
        self._require_approvals(change, previous=member.identity_key)
        self._keys.add(change.identity_key)
        self.members[change.member_id] = replace(
            member, identity_key=change.identity_key, address=change.address, approved_by=approvers(change)
        )

    def _current(self, name: str) -> RosterMember:
        if name not in self.members:
            refuse("names", f"{name} is no member at that time")
        return self.members[name]

    def _require_new_key(self, key: bytes) -> None:
        if self.knows_key(key):
            refuse("keys", "an identity key stands for a second time")

    def _require_approvals(self, change: Admitted | KeyChanged, previous: bytes | None) -> None:
        if change.admission_id in self._admissions:
            refuse("approvals", "an admission is used for a second time")
        for endorsement in change.endorsements:
            self._require_valid(endorsement, change, previous)
        have, needed = len(set(approvers(change))), self.needed(change.member_id)
        if have < needed:
            refuse("approvals", f"{change.member_id} needs {needed} approvals, got {have}")
        self._admissions.add(change.admission_id)

    def _require_valid(self, given: Endorsement, change: Admitted | KeyChanged, previous: bytes | None) -> None:
        name, approver = change.member_id, self.members.get(given.approver)
        if approver is None or given.approver == name:
            refuse("approvals", f"{given.approver} may not approve {name}: it was no other member at that time")
        approval = Approval(
            federation=self.terms.federation,
            admission_id=change.admission_id,
            member_id=name,
            identity_key=change.identity_key,
            previous_identity_key=previous,
            approver=given.approver,
        )
        signed = Signed(APPROVAL, approval.payload(), given.signature, approver.identity_key)
        try:
            verify_document(signed, APPROVAL, approver.identity_key)
        except UnauthenticatedError:
            refuse("approvals", f"the approval of {name} by {given.approver} is not signed by {given.approver}")


def approvers(change: Founded | Admitted | KeyChanged) -> tuple[str, ...]:
    """Return who approved a change."""
    if isinstance(change, Founded):
        return ()
    return tuple(endorsement.approver for endorsement in change.endorsements)


def replay(terms: Terms, changes: Iterable[Change]) -> History:
    """Return how a federation stands after ``changes``.

    Raises:
        RosterRuleError: one of them breaks a rule.
    """
    history = History(terms)
    for change in changes:
        history.apply(change)
    return history


def check_history(roster: Roster) -> History:
    """Replay a roster's changes, which end at its version at the latest.

    Raises:
        RosterRuleError: they break a rule.
    """
    history = replay(roster.terms, roster.changes)
    if history.version > roster.version:
        refuse("order", f"change {history.version} is newer than roster {roster.version}")
    return history
