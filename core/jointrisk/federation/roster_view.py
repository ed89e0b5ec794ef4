"""What one node believes of a roster: the coordinator's word, checked against what the node has pinned.

Beyond the rules of :mod:`jointrisk.federation.history`, a roster must be signed with the pinned coordinator key, keep
the pinned terms, be neither older than the known one nor expired, and go on from the known one's changes. At first
sight everything is pinned (people compare :func:`~jointrisk.federation.fingerprint.authentication_string`). After
that a member's changed key is not used, and does not count as an approver's, until a person here accepts it; a member
whose approvals depend on such a key waits as well. The rest of the roster is used meanwhile.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jointrisk.clock import rfc3339
from jointrisk.errors import UnauthenticatedError
from jointrisk.federation.history import History, RosterMember, approvers, check_history, refuse
from jointrisk.federation.roster import (
    ROSTER,
    Admitted,
    Founded,
    KeyChanged,
    Removed,
    Roster,
    Terms,
    is_prefix,
)
from jointrisk.federation.signing import Signed, verify_document


class Trust(StrEnum):
    """How this node takes a current member."""

    MEMBER = "member"
    PENDING = "pending"
    KEY_CHANGED = "key changed"


@dataclass(frozen=True)
class Anchor:
    """What a node holds fixed about its own membership.

    Attributes:
        member_id: its own name.
        identity_key: its own Ed25519 public key.
        coordinator_key: the coordinator's, pinned at joining.
        ca_fingerprint: SHA-256 of the CA certificate, from the invitation.
    """

    member_id: str
    identity_key: bytes
    coordinator_key: bytes
    ca_fingerprint: bytes


@dataclass(frozen=True)
class Known:
    """What a node has from before.

    Attributes:
        signed: the last roster that it believed.
        roster: the same, parsed.
        first_changes: how many changes stood in the first roster that it saw: pinned at first sight.
        accepted: (member, identity key) that a person at this node has accepted.
    """

    signed: Signed
    roster: Roster
    first_changes: int
    accepted: AbstractSet[tuple[str, bytes]]


@dataclass(frozen=True)
class View:
    """A believed roster, as this node takes it.

    Attributes:
        roster: the roster.
        history: current and removed members by the federation's changes.
        pinned: member -> identity key that this node trusts, for current members that have one.
        removed: this node itself was removed.
    """

    roster: Roster
    history: History
    pinned: Mapping[str, bytes]
    removed: bool

    def trust(self, member_id: str) -> Trust:
        """Return how this node takes a current member."""
        pinned = self.pinned.get(member_id)
        if pinned is None:
            return Trust.PENDING
        return Trust.MEMBER if pinned == self.history.members[member_id].identity_key else Trust.KEY_CHANGED

    def trusted(self) -> dict[str, RosterMember]:
        """Return the members that this node works with."""
        members = self.history.members
        return {name: members[name] for name in sorted(members) if self.trust(name) is Trust.MEMBER}


def accept_roster(anchor: Anchor, known: Known | None, signed: Signed, now: datetime) -> View:
    """Verify a roster and return how this node takes it.

    Args:
        anchor: what is pinned about this node's own membership.
        known: the last roster believed and what people accepted; None at first sight.
        signed: the roster as it came.
        now: the present time.

    Raises:
        RosterRuleError: it breaks a rule, which the error names.
        CorruptError: it is signed by the coordinator, yet no roster.
    """
    roster = _read(anchor, signed)
    if roster.expires_at <= now:
        refuse(
            "expiry",
            f"it expired at {rfc3339(roster.expires_at)}, it is {rfc3339(now)} here",
            "Is this machine's clock right, and is the coordinator running?",
        )
    if known is not None:
        _require_successor(known, signed, roster)
    first, accepted = (known.first_changes, known.accepted) if known else (len(roster.changes), frozenset())
    return judge(anchor, roster, first, accepted)


def judge(anchor: Anchor, roster: Roster, first_changes: int, accepted: AbstractSet[tuple[str, bytes]]) -> View:
    """Return how this node takes a roster that it believes: also after a person accepted another key.

    Raises:
        RosterRuleError: its changes break a rule, or another key stands for this node itself.
    """
    history = check_history(roster)
    own = history.members.get(anchor.member_id)
    if own is None and anchor.member_id not in history.removed:
        refuse("own entry", f"{anchor.member_id}, this node, is not in it")
    if own is not None and own.identity_key != anchor.identity_key:
        refuse("own entry", f"it gives {anchor.member_id}, this node, another identity key")
    pinned = _pinned(roster, first_changes, accepted)
    return View(roster, history, pinned, removed=own is None)


def _read(anchor: Anchor, signed: Signed) -> Roster:
    try:
        payload = verify_document(signed, ROSTER, anchor.coordinator_key)
    except UnauthenticatedError as error:
        refuse("signature", error.message)
    roster = Roster.parse(payload)
    pinned = (anchor.coordinator_key, anchor.ca_fingerprint)
    if (roster.terms.coordinator_key, roster.terms.ca_fingerprint) != pinned:
        refuse("terms", "it names another coordinator key or CA than this node has pinned")
    return roster


def _require_successor(known: Known, signed: Signed, roster: Roster) -> None:
    before = known.roster
    if roster.terms != before.terms:
        refuse("terms", f"it changes {_changed(before.terms, roster.terms)}, which members have agreed on")
    if roster.version < before.version:
        refuse("rollback", f"it is version {roster.version}, this node has {before.version}")
    if roster.version == before.version and signed.payload != known.signed.payload:
        refuse("fork", f"there are two different rosters of version {roster.version}")
    if roster.holder_generation < before.holder_generation:
        refuse("rollback", "it goes back to an earlier generation of key holders")
    if not is_prefix(before.changes, roster.changes):
        refuse("history", f"it rewrites changes that version {before.version} held")
    late = [c.version for c in roster.changes[len(before.changes) :] if c.version <= before.version]
    if late:
        refuse("history", f"it adds change {late[0]}, which version {before.version} did not hold")


def _changed(before: Terms, after: Terms) -> str:
    fields = type(before).model_fields
    return ", ".join(name for name in fields if getattr(before, name) != getattr(after, name))


def _pinned(roster: Roster, first_changes: int, accepted: AbstractSet[tuple[str, bytes]]) -> dict[str, bytes]:
    """Replay once more, with this node's eyes: which key of which member does it trust?"""
    pinned: dict[str, bytes] = {}
    history = History(roster.terms)
    for index, change in enumerate(roster.changes):
        if isinstance(change, Removed):
            pinned.pop(change.member_id, None)
        elif (
            index < first_changes
            or (change.member_id, change.identity_key) in accepted
            or _is_supported(change, history, pinned)
        ):
            pinned[change.member_id] = change.identity_key
        history.apply(change)
    return pinned


def _is_supported(change: Founded | Admitted | KeyChanged, history: History, pinned: Mapping[str, bytes]) -> bool:
    """Tell whether a change needs no person here: a founder, or a member approved by enough that this node trusts."""
    if isinstance(change, KeyChanged):
        return False
    members = history.members
    counted = {name for name in approvers(change) if pinned.get(name) == members[name].identity_key}
    return isinstance(change, Founded) or len(counted) >= history.needed(change.member_id)
