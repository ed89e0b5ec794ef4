"""Keeps false answers as evidence against the holders that gave them."""

from dataclasses import dataclass, field

from sqlalchemy import func, select

from jointrisk.clock import Clock, utc_now
from jointrisk.store import AuditLog, Store
from jointrisk_node.asking.tables import FalseAnswerKept

_MOST_KEPT = 20  # of one member: one proves as much as a thousand, and an answer may have 128 KiB


@dataclass(frozen=True, slots=True)
class FalseAnswer:
    """A false answer.

    Attributes:
        member: who gave it.
        epoch: of the request.
        generation: of the request.
        request_id: of the request, 16 bytes.
        why: what is wrong with it.
        convicts: whether it bears the member's valid signature.
        request: ``EvaluateRequest`` as it was sent.
        answer: ``EvaluateResponse`` as it came.
    """

    member: str
    epoch: int
    generation: int
    request_id: bytes
    why: str
    convicts: bool
    request: bytes = field(repr=False)
    answer: bytes = field(repr=False)


class EvidenceLedger:
    """False answers in the database. Methods block on it; they are safe from any thread.

    Args:
        store: the node's database.
        audit: the audit log in the same store.
        clock: the time.
    """

    def __init__(self, store: Store, audit: AuditLog, clock: Clock = utc_now) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock

    def keep(self, false: FalseAnswer) -> None:
        """Put a false answer on record, and keep it unless many of that member are kept already."""
        with self._store.transaction() as session:
            same = select(func.count()).select_from(FalseAnswerKept).where(FalseAnswerKept.member == false.member)
            kept = (session.scalar(same) or 0) < _MOST_KEPT
            if kept:
                session.add(self._row(false))
            self._audit.append_in(
                session,
                "evaluation.false_answer",
                member_id=false.member,
                epoch=false.epoch,
                generation=false.generation,
                request_id=false.request_id.hex(),
                reason=false.why,
                signed=false.convicts,
                kept=kept,
            )

    def all(self) -> list[FalseAnswer]:
        """Return what is kept, the oldest first."""
        with self._store.reading() as session:
            return [_answer(row) for row in session.scalars(select(FalseAnswerKept).order_by(FalseAnswerKept.id))]

    def _row(self, false: FalseAnswer) -> FalseAnswerKept:
        return FalseAnswerKept(
            member=false.member,
            at=self._clock(),
            epoch=false.epoch,
            generation=false.generation,
            request_id=false.request_id.hex(),
            why=false.why,
            convicts=false.convicts,
            request=false.request,
            answer=false.answer,
        )


def _answer(row: FalseAnswerKept) -> FalseAnswer:
    return FalseAnswer(
        member=row.member,
        epoch=row.epoch,
        generation=row.generation,
        request_id=bytes.fromhex(row.request_id),
        why=row.why,
        convicts=row.convicts,
        request=row.request,
        answer=row.answer,
    )
