"""Secure sums in the database: what was begun, answered and claimed, in one transaction with the answer."""

import json
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from jointrisk.errors import RefusedError
from jointrisk.learning.secure_aggregation import Contributions, Mode, Terms
from jointrisk.learning.secure_aggregation.answered import Attempt, claim_digest
from jointrisk.masterkey import MasterKey
from jointrisk.store import AuditLog, Store
from jointrisk_node.sums.tables import SumAttempt, SumClaim, SumSession


@dataclass(frozen=True)
class KeptSession:
    """A session as it is stored.

    Attributes:
        terms: of the session.
        state: the member's, in the clear.
        answers: number and H(request), hex, of each answer.
    """

    terms: Terms
    state: bytes
    answers: list[tuple[int, str]]


@dataclass(frozen=True)
class NewAnswer:
    """What is stored before a reply leaves.

    Attributes:
        terms: of the session.
        state: the member's, in the clear.
        answers: all that are kept; the last is the new one.
        statement: what is claimed with it, 32 bytes; empty for nothing.
        cohort: for whom.
        finished: whether a set of survivors was signed.
    """

    terms: Terms
    state: bytes
    answers: list[tuple[int, str]]
    statement: bytes
    cohort: tuple[str, ...]
    finished: bool


class SumLedger:
    """Keeps the node's part in secure sums. Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        master: seals states.
        audit: the log in the same database.
    """

    def __init__(self, store: Store, master: MasterKey, audit: AuditLog) -> None:
        self._store = store
        self._master = master
        self._audit = audit

    def find(self, session: bytes) -> KeptSession | None:
        """Return what is kept of a session, by the digest of its terms."""
        with self._store.reading() as reading:
            row = reading.get(SumSession, session.hex())
        if row is None:
            return None
        state = self._master.open(_name(row.session), row.state)
        return KeptSession(Terms.decode(row.terms), state, [(n, request) for n, request in json.loads(row.answers)])

    def keep(self, new: NewAnswer, cohorts: int) -> list[str]:
        """Store an answer with everything that follows from it; when this returns, it is on the disk.

        Args:
            new: the answer.
            cohorts: for how many sets of members one statement is answered.

        Returns:
            H(request), hex, of answers that nobody asks for again: of sessions that are over now.

        Raises:
            RuleError: a newer attempt has begun, a set of survivors was signed before, or the statement was answered
                for others; nothing is stored.
        """
        with self._store.transaction() as session:
            entering = session.get(SumSession, new.terms.digest.hex()) is None
            known = self._known(session, new, cohorts)
            if entering:
                known.begin(new.terms)
            else:
                known.require_newest(new.terms)
            if new.finished:
                known.finish(new.terms, new.statement, new.cohort)
            elif new.statement:
                known.claim(new.statement, new.cohort)
            self._write(session, new, known)
            return self._end_older(session, new.terms) if entering else []

    def forget_deleted(self) -> None:
        """Leave nothing of older states in the database's files: keys that are not needed any more."""
        self._store.forget_deleted()

    def forget_run(self, run_id: str) -> None:
        """Delete the sessions of a run that has ended. What was begun and claimed stays for good."""
        with self._store.transaction() as session:
            session.execute(delete(SumSession).where(SumSession.run_id == run_id))
        self._store.forget_deleted()

    def _known(self, session: Session, new: NewAnswer, cohorts: int) -> Contributions:
        """Return what the rules need to know: the newest attempt at the sum, and the claim that is in the way."""
        row = session.get(SumAttempt, new.terms.unit.hex())
        attempts = {}
        if row is not None:
            attempts[new.terms.unit] = Attempt(row.number, bytes.fromhex(row.session), row.finished)
        claims = {}
        if new.statement:
            claimed = select(SumClaim.cohort).where(SumClaim.statement == new.statement.hex())
            others = list(session.scalars(claimed))
            if len(others) >= cohorts and claim_digest(new.cohort).hex() not in others:
                claims[new.statement] = bytes.fromhex(others[0])
        return Contributions.known(attempts, claims)

    @staticmethod
    def _end_older(session: Session, terms: Terms) -> list[str]:
        """Delete sessions of rounds that are complete, and earlier attempts; a series goes on until the next begins."""
        over = SumSession.series.is_(False) if terms.mode is Mode.ROUND else SumSession.round >= 0
        earlier = (SumSession.round < terms.round) & over
        earlier |= SumSession.unit == terms.unit.hex()
        chosen = select(SumSession).where(
            SumSession.run_id == terms.run, SumSession.session != terms.digest.hex(), earlier
        )
        rows = session.scalars(chosen).all()
        for row in rows:
            session.delete(row)
        return [request for row in rows for _, request in json.loads(row.answers)]

    def _write(self, session: Session, new: NewAnswer, known: Contributions) -> None:
        terms, digest = new.terms, new.terms.digest.hex()
        attempt = known.attempt(terms.unit)
        if attempt is None:
            raise RefusedError("expected an attempt that has begun, got none")
        session.merge(
            SumAttempt(
                unit=terms.unit.hex(), number=attempt.number, session=attempt.session.hex(), finished=attempt.finished
            )
        )
        if new.statement:
            session.merge(SumClaim(statement=new.statement.hex(), cohort=claim_digest(new.cohort).hex()))
        sealed = self._master.seal(_name(digest), new.state)
        session.merge(
            SumSession(
                session=digest,
                run_id=terms.run,
                round=terms.round,
                series=terms.mode is Mode.SERIES,
                unit=terms.unit.hex(),
                terms=terms.encoded,
                state=sealed,
                answers=json.dumps(new.answers),
            )
        )
        if new.statement:
            self._audit.append_in(
                session,
                "training.sum_answered",
                run_id=terms.run,
                round=terms.round,
                statistic=terms.statistic,
                members=len(new.cohort),
                colluders=terms.colluders,
                threshold=terms.threshold,
                minimum=terms.minimum,
            )


def _name(session: str) -> str:
    return f"secure-sum/{session}"
