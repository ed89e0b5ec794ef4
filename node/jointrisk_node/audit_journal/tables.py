"""Table of the audit journal: how much of it is in the audit log."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base

ONLY_ROW = 1
"""The id of the one row."""


class JournalMark(Base):
    """The last record of the journal that is in the audit log."""

    __tablename__ = "journal_mark"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    """Its number in the journal."""
    moved_at: Mapped[datetime]
