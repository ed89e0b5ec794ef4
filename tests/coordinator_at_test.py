"""A real membership office over a real SQLite database, with a clock that a test can move."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jointrisk.federation.approval import Approval, sign_approval
from jointrisk.federation.certificates import (
    Identity,
    certificate_from_der,
    certificate_request,
    certificate_to_pem,
    member_of,
    new_transport_key,
)
from jointrisk.federation.invitation import decode_token, sign_join
from jointrisk.federation.signing import Signed
from jointrisk.masterkey import MasterKey
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.authority import CA_FILE, Authority
from jointrisk_coordinator.membership.joining import JoinRequest, JoinResult
from jointrisk_coordinator.membership.ledger import MembershipRules
from jointrisk_coordinator.membership.office import MembershipOffice
from jointrisk_coordinator.store.tables import load_tables
from roster_forge import key_of, public_of

MASTER = MasterKey(bytes(32))
JOIN_ADDRESS = "127.0.0.1:7444"


@dataclass
class MovableClock:
    """Stands still until it is moved."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def move(self, **by: float) -> None:
        """Move on, as ``timedelta`` takes it."""
        self.now += timedelta(**by)


@dataclass
class Candidate:
    """An institution's keys; the identity key is fixed by ``key``."""

    key: str
    request: bytes = field(default_factory=lambda: certificate_request(new_transport_key()))

    def join_request(self, token: str, *, secret: bytes | None = None, address: str = "") -> JoinRequest:
        """Return what it sends to redeem a token."""
        invitation = decode_token(token)
        return JoinRequest(
            invitation_id=invitation.invitation_id,
            secret=invitation.secret if secret is None else secret,
            certificate_request=self.request,
            identity_key=public_of(self.key),
            proof=sign_join(key_of(self.key), invitation.invitation_id, self.request),
            address=address,
        )


class CoordinatorAtTest:
    """A coordinator's membership in a directory; make it again over the same directory to restart it."""

    def __init__(
        self,
        root: Path,
        rules: MembershipRules | None = None,
        clock: MovableClock | None = None,
        federation: str = "testing",
        store: Store | None = None,
    ) -> None:
        self.clock = clock or MovableClock()
        self.rules = rules or MembershipRules()
        self.state = StateDir.create(root)
        made = self.state.path(CA_FILE).exists()
        self.authority = (
            Authority.open(federation, self.state, MASTER)
            if made
            else Authority.create(federation, self.state, MASTER, now=self.clock())
        )
        self.store = store or _sqlite(root / "state.db")
        self.audit = AuditLog(self.store, clock=self.clock)
        self.office = MembershipOffice(self.store, self.authority, self.rules, self.audit, self.clock)
        self.members: dict[str, Identity] = {}

    def token(self, name: str, *, replace_key: bool = False, valid: timedelta = timedelta(days=3)) -> str:
        """Invite."""
        return self.office.invite(name, JOIN_ADDRESS, replace_key=replace_key, valid=valid).token

    def join(self, name: str, key: str = "", *, replace_key: bool = False) -> JoinResult:
        """Invite and join; the identity key is named as the member unless told otherwise."""
        result = self.office.join(Candidate(key or name).join_request(self.token(name, replace_key=replace_key)))
        if result.certificate is not None:
            self.members[name] = identity_in(result.certificate)
        return result

    def found(self, *names: str) -> "CoordinatorAtTest":
        """Let founders join."""
        for name in names:
            self.join(name)
        return self

    def approval(self, candidate: str, by: str, *, key: str = "") -> Signed:
        """Return a member's signed approval of the pending admission of a name."""
        pending = next(one for one in self.office.admissions() if one.member_id == candidate)
        approval = Approval(
            federation=self.authority.federation,
            admission_id=pending.admission_id,
            member_id=pending.member_id,
            identity_key=pending.identity_key,
            previous_identity_key=pending.previous_identity_key,
            approver=by,
        )
        return sign_approval(approval, key_of(key or by))

    def events(self, prefix: str = "membership.") -> list[str]:
        """Return the names of audit records."""
        return [entry.event for entry in self.audit.entries(event=prefix)]

    def refusals(self) -> list[str]:
        """Return the reasons of refused joins."""
        return [str(entry.fields["reason"]) for entry in self.audit.entries(event="membership.join_refused")]


def _sqlite(path: Path) -> Store:
    engine = make_engine(f"sqlite:///{path}")
    load_tables().create_all(engine)
    return Store(engine)


def identity_in(certificate: bytes) -> Identity:
    """Return whose a certificate (DER) is."""
    return member_of(certificate_to_pem(certificate_from_der(certificate)))
