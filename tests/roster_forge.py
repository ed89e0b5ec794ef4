"""A coordinator that signs whatever a test tells it to, with the keys of every member of its federation at hand.

It keeps no rule: tests use it to build sound rosters, and every kind of unsound one.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.federation.approval import Approval, Endorsement, sign_approval
from jointrisk.federation.roster import (
    Admitted,
    Change,
    Founded,
    KeyChanged,
    Removed,
    Roster,
    Terms,
    sign_roster,
)
from jointrisk.federation.roster_view import Anchor, Known, View
from jointrisk.federation.signing import Signed, public_bytes

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def key_of(name: str) -> Ed25519PrivateKey:
    """Return a fixed identity key."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public_of(name: str) -> bytes:
    """Return its public half."""
    return public_bytes(key_of(name))


@dataclass
class Forge:
    """The changes so far, and the names of the keys that members have now."""

    founding_members: int = 3
    approvals_required: int = 2
    changes: list[Change] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    version: int = 1
    holder_generation: int = 0
    _joined: int = 0
    _admissions: int = 0

    @property
    def terms(self) -> Terms:
        """The federation's terms."""
        return Terms(
            federation="testing",
            founding_members=self.founding_members,
            approvals_required=self.approvals_required,
            coordinator_key=public_of("coordinator key"),
            ca_fingerprint=bytes(32),
        )

    def found(self, *names: str) -> "Forge":
        """Let founders join."""
        for name in names:
            self._join(name)
            self.changes.append(
                Founded(version=self.version, at=NOW, member_id=name, number=self._joined, identity_key=public_of(name))
            )
        return self

    def admit(self, name: str, by: Sequence[str], endorsements: Iterable[Endorsement] | None = None) -> "Forge":
        """Let a later member join with the approvals of ``by``, or with whatever endorsements are given."""
        given = tuple(endorsements) if endorsements is not None else self.endorse(name, name, None, by)
        self._join(name)
        self.changes.append(
            Admitted(
                version=self.version,
                at=NOW,
                member_id=name,
                number=self._joined,
                identity_key=public_of(name),
                admission_id=self.admission_id,
                endorsements=given,
            )
        )
        return self

    def change_key(self, name: str, key: str, by: Sequence[str]) -> "Forge":
        """Give a member another key, with the approvals of ``by``."""
        before = public_of(self.keys[name])
        given = self.endorse(name, key, before, by)
        self._next()
        self.keys[name] = key
        self.changes.append(
            KeyChanged(
                version=self.version,
                at=NOW,
                member_id=name,
                identity_key=public_of(key),
                previous_identity_key=before,
                admission_id=self.admission_id,
                endorsements=given,
            )
        )
        return self

    def remove(self, *names: str) -> "Forge":
        """End memberships."""
        for name in names:
            self._next()
            self.changes.append(Removed(version=self.version, at=NOW, member_id=name))
        return self

    def reissue(self) -> "Forge":
        """Make a new version without a change."""
        self._next()
        return self

    def endorse(self, name: str, key: str, previous: bytes | None, by: Iterable[str]) -> tuple[Endorsement, ...]:
        """Return approvals of the next admission, signed with the approvers' present keys."""
        self._admissions += 1
        return tuple(self._endorsement(name, key, previous, approver) for approver in by)

    @property
    def admission_id(self) -> str:
        """The id of the last admission that was endorsed."""
        return f"{self._admissions:032x}"

    def roster(self, *, issued_at: datetime = NOW) -> Roster:
        """Return the roster as it stands."""
        return Roster(
            terms=self.terms,
            version=self.version,
            issued_at=issued_at,
            expires_at=issued_at + timedelta(hours=24),
            holder_generation=self.holder_generation,
            changes=tuple(self.changes),
            refused_serials=(),
        )

    def signed(self, *, issued_at: datetime = NOW) -> Signed:
        """Return it signed with the coordinator's key."""
        return sign_roster(self.roster(issued_at=issued_at), key_of("coordinator key"))

    def anchor(self, name: str) -> Anchor:
        """Return what a member has pinned about itself, with the key that it first joined with."""
        return Anchor(name, public_of(name), public_of("coordinator key"), bytes(32))

    def _endorsement(self, name: str, key: str, previous: bytes | None, approver: str) -> Endorsement:
        approval = Approval(
            federation="testing",
            admission_id=self.admission_id,
            member_id=name,
            identity_key=public_of(key),
            previous_identity_key=previous,
            approver=approver,
        )
        signed = sign_approval(approval, key_of(self.keys.get(approver, approver)))
        return Endorsement(approver=approver, signature=signed.signature)

    def _join(self, name: str) -> None:
        self._next()
        self._joined += 1
        self.keys[name] = name

    def _next(self) -> None:
        self.version += 1


def known_from(signed: Signed, view: View, *, accepted: frozenset[tuple[str, bytes]] = frozenset()) -> Known:
    """Return what a node keeps of its first roster."""
    return Known(signed, view.roster, len(view.roster.changes), accepted)
