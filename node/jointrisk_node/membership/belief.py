"""What this node has pinned and believes, between its tables and the rules of the roster."""

from dataclasses import dataclass

from jointrisk.errors import CorruptError, NotFoundError, UnauthenticatedError
from jointrisk.federation.certificates import certificate_fingerprint, certificate_from_der
from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.roster import ROSTER, Roster
from jointrisk.federation.roster_view import Anchor, Known, View, judge
from jointrisk.federation.signing import Signed, verify_document
from jointrisk.store import AuditLog, Session, Store
from jointrisk_node.membership.tables import OwnMembership, accepted_keys, own_membership


@dataclass(frozen=True)
class Belief:
    """The stored membership.

    Attributes:
        own: what is pinned, and the roster as it came.
        known: what a newer roster is measured against.
        view: the roster as this node takes it.
    """

    own: OwnMembership
    known: Known
    view: View

    @property
    def anchor(self) -> Anchor:
        """What is pinned about this node itself."""
        return anchor_of(self.own)


def load_belief(session: Session) -> Belief:
    """Read what this node believes.

    Raises:
        NotFoundError: it has joined nothing yet.
        CorruptError: the stored roster is not what was believed.
    """
    own = own_membership(session)
    if own is None:
        raise NotFoundError("this node is no member yet", remedy="Run `jointrisk node join TOKEN` first.")
    signed = Signed(ROSTER, own.roster_payload, own.roster_signature, own.coordinator_key)
    try:
        roster = Roster.parse(verify_document(signed, ROSTER, own.coordinator_key))
    except UnauthenticatedError as error:
        raise CorruptError("the stored roster is not what was believed") from error
    known = Known(signed, roster, own.first_changes, accepted_keys(session))
    return Belief(own, known, judge(anchor_of(own), roster, known.first_changes, known.accepted))


def pinned_coordinator(store: Store) -> bytes:
    """Return the coordinator's identity key that this node has pinned, 32 bytes.

    Raises:
        NotFoundError: it has joined nothing yet.
    """
    with store.reading() as session:
        own = own_membership(session)
    if own is None:
        raise NotFoundError("this node is no member yet", remedy="Run `jointrisk node join TOKEN` first.")
    return own.coordinator_key


def store_joining(store: Store, audit: AuditLog, own: OwnMembership, view: View) -> None:
    """Store a membership: from here on the node has joined.

    Args:
        store: the node's database.
        audit: the audit log in the same store.
        own: what is pinned, with the roster that came with it.
        view: that roster as this node takes it.
    """
    with store.transaction() as session:
        session.merge(own)
        audit.append_in(
            session,
            "membership.joined",
            federation=own.federation,
            member_id=own.member_id,
            ca_fingerprint=certificate_fingerprint(certificate_from_der(own.ca_certificate)).hex(),
            coordinator_fingerprint=fingerprint(own.coordinator_key),
        )
        record_view(audit, session, view)


def record_view(audit: AuditLog, session: Session, view: View) -> None:
    """Put on record how a believed roster is taken."""
    audit.append_in(
        session,
        "membership.roster_believed",
        version=view.roster.version,
        members=len(view.history.members),
        trusted=len(view.trusted()),
        removed=view.removed,
    )


def anchor_of(own: OwnMembership) -> Anchor:
    """Return what a stored membership pins about this node itself."""
    ca = certificate_fingerprint(certificate_from_der(own.ca_certificate))
    return Anchor(own.member_id, own.identity_key, own.coordinator_key, ca)
