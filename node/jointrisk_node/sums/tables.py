"""Tables of secure sums. A session's state is sealed under the master key before it comes here."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base


class SumSession(Base):
    """A session that this node has entered, until its run has gone on to another round, or attempt, or has ended."""

    __tablename__ = "sum_session"

    session: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Digest of its terms, hex."""
    run_id: Mapped[str] = mapped_column(String(64), index=True)
    round: Mapped[int]
    series: Mapped[bool]
    unit: Mapped[str] = mapped_column(String(256))
    terms: Mapped[bytes]
    state: Mapped[bytes]
    """Sealed: keys while they are needed, and shares of others."""
    answers: Mapped[str] = mapped_column(Text)
    """JSON: number and H(request), hex, of each answer; the replies lie in the run's folder."""


class SumAttempt(Base):
    """The newest attempt at one sum: run, round and statistic. Never deleted: what was signed is never signed again."""

    __tablename__ = "sum_attempt"

    unit: Mapped[str] = mapped_column(String(256), primary_key=True)
    number: Mapped[int]
    session: Mapped[str] = mapped_column(String(32))
    """The 16 bytes in the terms, hex."""
    finished: Mapped[bool]
    """A set of survivors was signed."""


class SumClaim(Base):
    """For which members a statement was answered. Never deleted."""

    __tablename__ = "sum_claim"

    statement: Mapped[str] = mapped_column(String(64), primary_key=True)
    cohort: Mapped[str] = mapped_column(String(64), primary_key=True)
