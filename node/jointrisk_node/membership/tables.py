"""Tables of the node's membership.

The believed roster is what pins members: a later one has to go on from its changes
(:mod:`jointrisk.federation.roster_view`).
"""

from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from jointrisk_node.store import Base

ONLY_ROW = 1
"""The id of the one membership that a node has."""


class OwnMembership(Base):
    """What this node has pinned, and the roster that it believes. One row, made by joining."""

    __tablename__ = "membership"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=ONLY_ROW)
    federation: Mapped[str] = mapped_column(String(40))
    member_id: Mapped[str] = mapped_column(String(40))
    identity_key: Mapped[bytes]
    coordinator_key: Mapped[bytes]
    coordinator_address: Mapped[str] = mapped_column(String(300))
    ca_certificate: Mapped[bytes]
    invitation_id: Mapped[str] = mapped_column(String(32))
    """The invitation that made this membership, or brought it its last certificate by joining."""
    joined_at: Mapped[datetime]
    first_changes: Mapped[int]
    """Changes in the first roster that was seen: pinned at first sight."""
    roster_version: Mapped[int]
    roster_payload: Mapped[bytes]
    roster_signature: Mapped[bytes]


class AcceptedKey(Base):
    """An identity key that a person at this node has accepted for a member."""

    __tablename__ = "accepted_key"

    member_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    identity_key: Mapped[bytes] = mapped_column(primary_key=True)
    accepted_at: Mapped[datetime]


def own_membership(session: Session) -> OwnMembership | None:
    """Return this node's membership, or None before it has joined."""
    return session.get(OwnMembership, ONLY_ROW)


def accepted_keys(session: Session) -> frozenset[tuple[str, bytes]]:
    """Return (member, identity key) that people here have accepted."""
    return frozenset((row.member_id, row.identity_key) for row in session.scalars(select(AcceptedKey)))
