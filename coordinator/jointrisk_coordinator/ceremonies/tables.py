"""Tables of the bulletin board. Approvals and messages are only ever added."""

from datetime import datetime

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_coordinator.store import Base


class CeremonyRow(Base):
    """A ceremony."""

    __tablename__ = "ceremony"

    number: Mapped[int] = mapped_column(primary_key=True)
    """In the order of their proposals."""
    session: Mapped[str] = mapped_column(String(32), unique=True)
    generation: Mapped[int] = mapped_column(unique=True)
    epoch: Mapped[int]
    terms: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(16))
    """"approving", "running", "done" or "aborted"."""
    detail: Mapped[str] = mapped_column(String(500), default="")
    abort_asked: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class CeremonyApprovalRow(Base):
    """One member's signed approval of a ceremony's terms."""

    __tablename__ = "ceremony_approval"

    session: Mapped[str] = mapped_column(String(32), primary_key=True)
    approver: Mapped[str] = mapped_column(String(40), primary_key=True)
    payload: Mapped[bytes]
    signature: Mapped[bytes]
    signer: Mapped[bytes]


class CeremonyMessageRow(Base):
    """One signed message, at its place on the board."""

    __tablename__ = "ceremony_message"
    __table_args__ = (UniqueConstraint("session", "place"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(String(32))
    place: Mapped[int]
    """From 1, in the order of arrival."""
    sender: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[bytes]
