"""Tables of the logs of listings.

What stays of a deleted record is its hash in a segment and, in the index, hashes: neither the entry's id nor its tag. A
record is in one place at a time: in `PendingRow` until it is released, then in its segment.
"""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_coordinator.store import Base

_MEMBER = String(40)
_SORTED = {"sqlite_with_rowid": False}
"""SQLite keeps the rows in the order of their key, rather than a number and an index beside them."""


class LogRow(Base):
    """The log of an epoch, as its newest signed head says."""

    __tablename__ = "listing_log"

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stamp_secret: Mapped[bytes | None]
    """Sealed under the master key; None when the log has been deleted."""
    opened_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]
    """When the log of a later epoch was opened."""
    size: Mapped[int]
    hash: Mapped[bytes]
    signed_at: Mapped[datetime]
    payload: Mapped[bytes]
    """Of the signed head."""
    signature: Mapped[bytes]
    entries: Mapped[int]
    """Numbers given to entries so far, also to those that were never released."""
    marks: Mapped[int]
    """Numbers given to marks so far."""


class ListerRow(Base):
    """What one member has in one log."""

    __tablename__ = "listing_lister"

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lister: Mapped[str] = mapped_column(_MEMBER, primary_key=True)
    tags: Mapped[int]
    """Different tags that it has ever appended under."""
    pending: Mapped[int]
    live: Mapped[int]
    """Released and not ended, held ones too."""
    held: Mapped[int]


class TagRow(Base):
    """How many entries a lister has under a tag. The row stays, so that tags are counted once."""

    __tablename__ = "listing_tag"
    __table_args__ = (_SORTED,)

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tag_key: Mapped[bytes] = mapped_column(primary_key=True)
    """Keyed hash of lister and tag, 16 bytes."""
    unended: Mapped[int]
    """Pending and live ones."""


class EntryRow(Base):
    """An entry that was taken."""

    __tablename__ = "listing_entry"
    __table_args__ = (
        Index("ix_listing_entry_id_key", "epoch", "id_key", unique=True),
        Index("ix_listing_entry_expires", "epoch", "expires"),
        _SORTED,
    )

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """In the order of arrival, from 0; readers never learn it."""
    id_key: Mapped[bytes]
    """Hash of the entry's id, 16 bytes."""
    lister: Mapped[str] = mapped_column(_MEMBER)
    tag_key: Mapped[bytes]
    digest: Mapped[bytes]
    """The record's hash: what else came under this id is told by it."""
    state: Mapped[str] = mapped_column(String(9))
    """As readers see it: "pending", "live", "held", "withdrawn", "expired"."""
    position: Mapped[int | None]
    """In the log; None before its release."""
    expires: Mapped[int | None]
    """Seconds since 1970; None when it has ended."""


class PendingRow(Base):
    """The record of an entry that waits for its release."""

    __tablename__ = "listing_pending"
    __table_args__ = (_SORTED,)

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    record: Mapped[bytes]


class MarkRow(Base):
    """A mark that waits for its release."""

    __tablename__ = "listing_mark"
    __table_args__ = (
        Index("ix_listing_mark_entry", "epoch", "entry"),
        Index("ix_listing_mark_waits_for", "epoch", "waits_for"),
    )

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[int]
    entry: Mapped[int]
    """Number of the entry that it is about."""
    waits_for: Mapped[int | None]
    """Number of a pending entry that has to be released before, in the same release at the earliest."""


class SegmentRow(Base):
    """1,024 entries of a log as readers get them; the last one is shorter."""

    __tablename__ = "listing_segment"

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    packed: Mapped[bytes]
    """`jointrisk.listing.packed`."""
