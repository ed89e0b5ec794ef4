"""Tables of key ceremonies and shares. What is secret is sealed under the master key before it comes here."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base


class CeremonySeen(Base):
    """A ceremony that this node has seen on the board."""

    __tablename__ = "ceremony"

    session: Mapped[str] = mapped_column(String(32), primary_key=True)
    terms: Mapped[bytes]
    generation: Mapped[int]
    epoch: Mapped[int]
    seen_at: Mapped[datetime]
    objection: Mapped[str] = mapped_column(String(500), default="")
    """Why this node takes no part, whatever people say; empty for no reason."""
    approved: Mapped[bool] = mapped_column(default=False)
    """A person here has approved the terms."""
    party: Mapped[bytes | None]
    """The sealed state of this node's party; NULL before it begins and when it is not needed any more."""
    voted: Mapped[bool] = mapped_column(default=False)
    """This node's party has agreed or refused; whoever agreed is bound by the ceremony's numbers for ever."""
    finished: Mapped[bool] = mapped_column(default=False)
    """Nothing is left to be done here."""


class GenerationKept(Base):
    """A generation of shares whose ceremony this node has verified, or took part in."""

    __tablename__ = "generation"

    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    threshold: Mapped[int]
    session: Mapped[str] = mapped_column(String(32))
    group_key: Mapped[bytes]
    holders: Mapped[str]
    """JSON: name and public key of the share (hex) of each holder, by index."""
    verified_at: Mapped[datetime]


class KeyShare(Base):
    """This node's share of one generation."""

    __tablename__ = "key_share"

    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sealed: Mapped[bytes | None]
    """NULL once it is deleted."""
    stored_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
