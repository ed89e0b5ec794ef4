"""Runs in the database. A row of ``run_round`` is the truth about a round: it is there, or the round did not happen."""

from datetime import datetime

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_coordinator.store import Base


class RunRow(Base):
    """A run."""

    __tablename__ = "run"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    """"starting", "running", "done", "failed" or "cancelled"."""
    detail: Mapped[str] = mapped_column(Text)
    settings_toml: Mapped[str] = mapped_column(Text)
    settings_json: Mapped[str] = mapped_column(Text)
    contract_version: Mapped[int]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ParticipantRow(Base):
    """A member that was asked to take part in a run."""

    __tablename__ = "run_participant"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.run_id"), primary_key=True)
    member_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    """Its place among those asked, from 1."""
    state: Mapped[str]
    """"invited", "accepted", "refused" or "left"."""
    reason: Mapped[str] = mapped_column(Text)


class RoundRow(Base):
    """A complete round."""

    __tablename__ = "run_round"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.run_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    seconds: Mapped[float]
    members: Mapped[str] = mapped_column(Text)
    """JSON list of member ids."""
    missing: Mapped[str] = mapped_column(Text)
    """JSON list of member ids."""
    metrics: Mapped[str] = mapped_column(Text)
    """JSON object, name to number."""
    attempts: Mapped[int]
    arrays_sha256: Mapped[str]
    guarantee: Mapped[str] = mapped_column(Text, default="{}", server_default="{}")
    """JSON object: what protected the members' replies."""
    stage: Mapped[str] = mapped_column(default="", server_default="")
    """What the round was for: a part of the model, its weights."""
