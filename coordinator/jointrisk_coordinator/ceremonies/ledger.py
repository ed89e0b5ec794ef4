"""The bulletin board in the database."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jointrisk.errors import NotFoundError
from jointrisk.federation.ceremony_approval import CEREMONY_APPROVAL
from jointrisk.federation.signing import Signed
from jointrisk.oprf.ceremony import SignedMessage, Terms
from jointrisk_coordinator.ceremonies.tables import CeremonyApprovalRow, CeremonyMessageRow, CeremonyRow


def events(session: Session) -> int:
    """Return how much has happened on the board; it only grows."""
    rows = session.execute(
        select(func.count(CeremonyRow.number), func.count(CeremonyRow.ended_at)).select_from(CeremonyRow)
    ).one()
    asked = session.scalar(select(func.count()).select_from(CeremonyRow).where(CeremonyRow.abort_asked)) or 0
    kept = [session.scalar(select(func.count()).select_from(table)) or 0 for table in _ADDED]
    return int(sum(rows) + asked + sum(kept))


_ADDED = (CeremonyApprovalRow, CeremonyMessageRow)


def newest(session: Session) -> CeremonyRow | None:
    """Return the ceremony that was proposed last."""
    return session.scalars(select(CeremonyRow).order_by(CeremonyRow.number.desc()).limit(1)).first()


def highest_epoch(session: Session) -> int:
    """Return the highest epoch that was ever proposed; 0 for none."""
    return session.scalar(select(func.max(CeremonyRow.epoch))) or 0


def newest_generation(session: Session) -> int:
    """Return the newest generation that a ceremony has made; 0 for none."""
    made = select(func.max(CeremonyRow.generation)).where(CeremonyRow.state == "done")
    return session.scalar(made) or 0


def going_on(session: Session) -> Sequence[CeremonyRow]:
    """Return the ceremonies that have not ended."""
    return session.scalars(select(CeremonyRow).where(CeremonyRow.ended_at.is_(None))).all()


def get(session: Session, session_id: str) -> CeremonyRow:
    """Return a ceremony by its session, hex.

    Raises:
        NotFoundError: there is none.
    """
    row = session.scalars(select(CeremonyRow).where(CeremonyRow.session == session_id)).first()
    if row is None:
        raise NotFoundError("there is no ceremony of this session on the board")
    return row


def done(session: Session, after: int) -> Sequence[CeremonyRow]:
    """Return the ceremonies that made generations newer than one, the oldest first."""
    chosen = select(CeremonyRow).where(CeremonyRow.state == "done", CeremonyRow.generation > after)
    return session.scalars(chosen.order_by(CeremonyRow.generation)).all()


def add(session: Session, terms: Terms, now: datetime) -> CeremonyRow:
    """Store a new ceremony."""
    row = CeremonyRow(
        session=terms.session.hex(),
        generation=terms.new_generation,
        epoch=terms.epoch,
        terms=terms.encoded,
        state="approving",
        detail="",
        abort_asked=False,
        started_at=now,
        ended_at=None,
    )
    session.add(row)
    session.flush()
    return row


def approve(session: Session, row: CeremonyRow, approver: str, signed: Signed) -> bool:
    """Store an approval; return whether it is new."""
    if session.get(CeremonyApprovalRow, (row.session, approver)) is not None:
        return False
    session.add(
        CeremonyApprovalRow(
            session=row.session,
            approver=approver,
            payload=signed.payload,
            signature=signed.signature,
            signer=signed.signer,
        )
    )
    session.flush()
    return True


def approvals(session: Session, row: CeremonyRow) -> dict[str, Signed]:
    """Return a ceremony's approvals by approver."""
    chosen = select(CeremonyApprovalRow).where(CeremonyApprovalRow.session == row.session)
    found = session.scalars(chosen.order_by(CeremonyApprovalRow.approver))
    return {one.approver: Signed(CEREMONY_APPROVAL, one.payload, one.signature, one.signer) for one in found}


def post(session: Session, row: CeremonyRow, message: SignedMessage) -> None:
    """Store a message at the next place."""
    chosen = select(func.max(CeremonyMessageRow.place)).where(CeremonyMessageRow.session == row.session)
    session.add(
        CeremonyMessageRow(
            session=row.session,
            place=(session.scalar(chosen) or 0) + 1,
            sender=message.sender,
            kind=message.kind.name.lower(),
            content=message.encoded,
        )
    )
    session.flush()


def messages(session: Session, row: CeremonyRow) -> list[SignedMessage]:
    """Return a ceremony's messages in the order of arrival."""
    chosen = select(CeremonyMessageRow.content).where(CeremonyMessageRow.session == row.session)
    return [SignedMessage.decode(one) for one in session.scalars(chosen.order_by(CeremonyMessageRow.place))]
