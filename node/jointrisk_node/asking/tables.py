"""Table of false answers."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base


class FalseAnswerKept(Base):
    """An answer whose proof does not hold, as it came. Elements are blinded: nothing here tells of a person."""

    __tablename__ = "false_answer"

    id: Mapped[int] = mapped_column(primary_key=True)
    member: Mapped[str] = mapped_column(String(40), index=True)
    at: Mapped[datetime]
    epoch: Mapped[int]
    generation: Mapped[int]
    request_id: Mapped[str] = mapped_column(String(32))
    why: Mapped[str] = mapped_column(String(500))
    convicts: Mapped[bool]
    """The answer bears the holder's valid signature: anybody can judge it."""
    request: Mapped[bytes]
    """``EvaluateRequest`` as it was sent."""
    answer: Mapped[bytes]
    """``EvaluateResponse`` as it came."""
