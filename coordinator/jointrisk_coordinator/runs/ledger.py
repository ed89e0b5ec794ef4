"""The durable course of runs: what was asked for, who takes part, which rounds are complete."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, NotFoundError
from jointrisk.store import Store
from jointrisk_coordinator.runs.settings import RunSettings
from jointrisk_coordinator.runs.tables import ParticipantRow, RoundRow, RunRow

ACTIVE = ("starting", "running")
"""States of runs that go on after a restart."""


@dataclass(frozen=True)
class ParticipantView:
    """A member that was asked: "invited", "accepted", "refused" (says why) or "left" (did not answer in time)."""

    member_id: str
    number: int
    state: str
    reason: str = ""


@dataclass(frozen=True)
class RoundView:
    """A complete round. ``metrics`` are means over the members whose replies are in it."""

    number: int
    seconds: float
    members: tuple[str, ...]
    missing: tuple[str, ...]
    metrics: dict[str, float]
    attempts: int
    arrays_sha256: str
    guarantee: dict[str, Any] = field(default_factory=dict)
    """What protected the members' replies in training: `jointrisk.learning.aggregation.Guarantee` as JSON data."""
    stage: str = ""
    """The run's stage that it belongs to."""


@dataclass(frozen=True)
class RunView:
    """A run as it is now. ``state`` is "starting", "running", "waiting", "done", "failed" or "cancelled"."""

    run_id: str
    state: str
    detail: str
    settings: RunSettings
    settings_toml: str
    contract_version: int
    started_at: datetime
    ended_at: datetime | None
    participants: tuple[ParticipantView, ...]
    history: tuple[RoundView, ...]

    @property
    def rounds_done(self) -> int:
        """How many rounds are complete."""
        return self.history[-1].number if self.history else 0

    @property
    def arrays_sha256(self) -> str:
        """Digest of the arrays after the last complete round, hex; empty before the first."""
        return self.history[-1].arrays_sha256 if self.history else ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.ended_at is not None

    @property
    def accepted(self) -> dict[str, int]:
        """The numbers of the members that take part, in their order."""
        return {p.member_id: p.number for p in self.participants if p.state == "accepted"}


class RunLedger:
    """Runs in the store. Synchronous; the daemon calls it in threads.

    Args:
        store: the coordinator's.
        clock: for when runs start and end.
    """

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock

    def create(
        self, run_id: str, settings: RunSettings, toml: str, contract_version: int, members: Iterable[str]
    ) -> None:
        """Write down a new run, with everybody who is going to be asked.

        Raises:
            ConflictError: there is a run of this id.
        """
        with self._store.transaction() as session:
            session.add(
                RunRow(
                    run_id=run_id,
                    state="starting",
                    detail="",
                    settings_toml=toml,
                    settings_json=settings.model_dump_json(),
                    contract_version=contract_version,
                    started_at=self._clock(),
                    ended_at=None,
                )
            )
            session.flush()
            for number, member_id in enumerate(sorted(members), start=1):
                row = ParticipantRow(run_id=run_id, member_id=member_id, number=number, state="invited", reason="")
                session.add(row)

    def fix_participants(self, run_id: str, answers: Iterable[ParticipantView]) -> None:
        """Write down who takes part; from now on the run is "running"."""
        with self._store.transaction() as session:
            for answer in answers:
                row = session.get_one(ParticipantRow, (run_id, answer.member_id))
                row.state, row.reason = answer.state, answer.reason
            session.get_one(RunRow, run_id).state = "running"

    def note_answer(self, run_id: str, answer: ParticipantView) -> None:
        """Write down what one member said, before all have said something."""
        with self._store.transaction() as session:
            row = session.get_one(ParticipantRow, (run_id, answer.member_id))
            row.state, row.reason = answer.state, answer.reason

    def complete_round(self, run_id: str, done: RoundView) -> None:
        """Write down a complete round. The same round again changes nothing.

        Raises:
            ConflictError: the round was completed with other arrays, or is not the next one.
        """
        with self._store.transaction() as session:
            last = session.scalars(
                select(RoundRow).where(RoundRow.run_id == run_id).order_by(RoundRow.number.desc()).limit(1)
            ).first()
            number = last.number if last else 0
            if last is not None and done.number == number and done.arrays_sha256 == last.arrays_sha256:
                return
            if done.number != number + 1:
                raise ConflictError(f"run {run_id}: expected round {number + 1} to be completed, got {done.number}")
            session.add(_round_row(run_id, done))

    def end(self, run_id: str, state: str, detail: str) -> bool:
        """Write down that a run has ended; returns False when it had before, which stays as it is."""
        with self._store.transaction() as session:
            row = session.get_one(RunRow, run_id)
            if row.ended_at is not None:
                return False
            row.state, row.detail, row.ended_at = state, detail, self._clock()
            return True

    def active(self) -> list[str]:
        """Return the runs that have not ended, the oldest first."""
        with self._store.reading() as session:
            query = select(RunRow.run_id).where(RunRow.ended_at.is_(None)).order_by(RunRow.started_at)
            return list(session.scalars(query))

    def all(self) -> list[RunView]:
        """Return all runs, the newest first."""
        with self._store.reading() as session:
            rows = session.scalars(select(RunRow).order_by(RunRow.started_at.desc()))
            return [_view(session, row) for row in rows]

    def get(self, run_id: str) -> RunView:
        """Return a run by its id, or by an unambiguous beginning of it.

        Raises:
            NotFoundError: there is none.
            ConflictError: the beginning fits several.
        """
        with self._store.reading() as session:
            return _view(session, _find(session, run_id))


def _find(session: Session, run_id: str) -> RunRow:
    exact = session.get(RunRow, run_id)
    if exact is not None:
        return exact
    rows = list(session.scalars(select(RunRow).where(RunRow.run_id.startswith(run_id, autoescape=True)).limit(2)))
    if not rows or not run_id:
        raise NotFoundError(f"there is no run {run_id!r}", remedy="`jointrisk coordinator runs list` shows them.")
    if len(rows) > 1:
        raise ConflictError(f"several runs begin with {run_id!r}", remedy="Give more of the id.")
    return rows[0]


def _view(session: Session, row: RunRow) -> RunView:
    asked = session.scalars(
        select(ParticipantRow).where(ParticipantRow.run_id == row.run_id).order_by(ParticipantRow.number)
    )
    rounds = session.scalars(select(RoundRow).where(RoundRow.run_id == row.run_id).order_by(RoundRow.number))
    return RunView(
        run_id=row.run_id,
        state=row.state,
        detail=row.detail,
        settings=RunSettings.model_validate_json(row.settings_json),
        settings_toml=row.settings_toml,
        contract_version=row.contract_version,
        started_at=row.started_at,
        ended_at=row.ended_at,
        participants=tuple(ParticipantView(p.member_id, p.number, p.state, p.reason) for p in asked),
        history=tuple(_round_view(done) for done in rounds),
    )


def _round_row(run_id: str, done: RoundView) -> RoundRow:
    finite = {name: value for name, value in done.metrics.items() if math.isfinite(value)}
    return RoundRow(
        run_id=run_id,
        number=done.number,
        seconds=done.seconds,
        members=json.dumps(done.members),
        missing=json.dumps(done.missing),
        metrics=json.dumps(finite),
        attempts=done.attempts,
        arrays_sha256=done.arrays_sha256,
        guarantee=json.dumps(done.guarantee),
        stage=done.stage,
    )


def _round_view(row: RoundRow) -> RoundView:
    return RoundView(
        number=row.number,
        seconds=row.seconds,
        members=tuple(json.loads(row.members)),
        missing=tuple(json.loads(row.missing)),
        metrics=json.loads(row.metrics),
        attempts=row.attempts,
        arrays_sha256=row.arrays_sha256,
        guarantee=json.loads(row.guarantee),
        stage=row.stage,
    )
