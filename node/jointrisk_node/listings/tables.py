"""Tables of this lender's own listings. What is secret or personal is sealed under the master key before."""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base


class ListerSecret(Base):
    """The secret of this lender's pseudonyms and row keys: one row, drawn once."""

    __tablename__ = "lister_secret"

    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sealed: Mapped[bytes]


class ListedRowKept(Base):
    """A row that this lender has listed."""

    __tablename__ = "listed_row"

    row_key: Mapped[bytes] = mapped_column(primary_key=True)
    """HMAC of the lender's reference under the lister secret."""
    content: Mapped[bytes]
    """HMAC of everything that the row says, under the lister secret."""
    sealed: Mapped[bytes | None]
    """The row: reference, identifiers, label. NULL once it is withdrawn and nothing is left to be ended."""
    state: Mapped[str] = mapped_column(String(12), index=True)
    """listed, expired (its label has, so that it is not renewed), withdrawing, withdrawn."""
    disputed: Mapped[bool] = mapped_column(default=False)
    changed_at: Mapped[datetime]


class OwnEntry(Base):
    """An entry of this lender, stored before it is sent. All of it but the witness is public with the log."""

    __tablename__ = "own_entry"

    entry_id: Mapped[bytes] = mapped_column(primary_key=True)
    row_key: Mapped[bytes] = mapped_column(index=True)
    epoch: Mapped[int]
    kind: Mapped[str] = mapped_column(String(12))
    """The kind of identifier."""
    tag: Mapped[bytes]
    ciphertext: Mapped[bytes]
    witness: Mapped[bytes | None]
    """Sealed; NULL once the coordinator has acknowledged the entry."""
    state: Mapped[str] = mapped_column(String(12))
    """stored, live (acknowledged), ended (acknowledged), lapsed (the coordinator's horizon), refused."""
    todo: Mapped[str] = mapped_column(String(10))
    """What waits for the coordinator: append, mark, or nothing (empty)."""
    want_ended: Mapped[bool] = mapped_column(default=False)
    want_held: Mapped[bool] = mapped_column(default=False)
    held: Mapped[bool] = mapped_column(default=False)
    """The coordinator has acknowledged the hold."""
    replaced_by: Mapped[bytes | None]
    """The entry that corrects it."""
    refusal: Mapped[str] = mapped_column(String(40), default="")
    """The error code with which the coordinator refused it."""
    told_at: Mapped[datetime | None]
    """When the coordinator acknowledged its last change."""
    renew_at: Mapped[datetime | None]
    verified_size: Mapped[int] = mapped_column(default=0)
    """The size of the log at which it was last found as it should be since its last change; 0 for never."""

    __table_args__ = (
        Index("ix_own_entry_todo", "todo", "epoch", "entry_id"),
        Index("ix_own_entry_renewal", "renew_at"),
        Index("ix_own_entry_epoch", "epoch", "state"),
    )


class ListingAlarm(Base):
    """Something that the log shows about own entries and that should not be."""

    __tablename__ = "listing_alarm"

    what: Mapped[str] = mapped_column(String(40), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    positions: Mapped[str]
    """JSON: of entries that are there, at most 20."""
    log_size: Mapped[int]
    signed_at: Mapped[datetime]
    """Of the head at which it showed."""
    evidence: Mapped[bytes]
    """That head: its payload and signature, JSON."""
