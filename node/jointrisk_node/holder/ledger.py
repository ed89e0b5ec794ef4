"""Key ceremonies and generations of shares in the database."""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from jointrisk.errors import NotFoundError
from jointrisk.masterkey import MasterKey
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import GroupKey, Terms
from jointrisk.oprf.group import Element, Scalar
from jointrisk.store import Store
from jointrisk_node.holder.tables import CeremonySeen, GenerationKept, KeyShare

_UNDECIDED_KEPT = 100


class GenerationLedger:
    """Keeps generations of shares: each one's group key, its holders, and this node's own share.

    Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        master: seals shares.
    """

    def __init__(self, store: Store, master: MasterKey) -> None:
        self._store = store
        self._master = master

    def newest(self) -> GroupKey | None:
        """Return the newest generation that this node has verified."""
        with self._store.reading() as session:
            return newest_in(session)

    def all(self) -> list[GroupKey]:
        """Return every generation, the oldest first."""
        with self._store.reading() as session:
            return [_key(row) for row in session.scalars(select(GenerationKept).order_by(GenerationKept.generation))]

    def ours(self, generation: int) -> str:
        """Say what this node has of a generation: "holds a share", "its share is deleted", "holds none"."""
        with self._store.reading() as session:
            row = session.get(KeyShare, generation)
        if row is None:
            return "holds none"
        return "holds a share" if row.sealed is not None else "its share is deleted"

    def share(self, generation: int) -> Scalar:
        """Return this node's share of a generation.

        Raises:
            NotFoundError: it has none, or has deleted it.
            CorruptError: what is stored does not open.
        """
        with self._store.reading() as session:
            return self.share_in(session, generation)

    def share_in(self, session: Session, generation: int) -> Scalar:
        """Return this node's share of a generation, read in a transaction. Raises as `share`."""
        row = session.get(KeyShare, generation)
        if row is None or row.sealed is None:
            raise NotFoundError(f"this node has no share of generation {generation}")
        return group.nonzero_scalar(self._master.open(_name(generation), row.sealed))

    def learn_after(self) -> int:
        """Return after which generation transcripts are of interest.

        That is the newest; or, where this node still has shares that a later one of their epoch replaces, the oldest of
        these: the confirmations after which they may be deleted can come at any time.
        """
        newer = aliased(GenerationKept)
        replaced = (
            select(func.min(KeyShare.generation))
            .join(GenerationKept, GenerationKept.generation == KeyShare.generation)
            .join(newer, newer.epoch == GenerationKept.epoch)
            .where(newer.generation > KeyShare.generation, KeyShare.sealed.is_not(None))
        )
        with self._store.reading() as session:
            newest = session.scalar(select(func.max(GenerationKept.generation))) or 0
            return min(newest, session.scalar(replaced) or newest)

    def knows_in(self, session: Session, key: GroupKey) -> bool:
        """Tell whether this node has verified this very generation."""
        row = session.get(GenerationKept, key.generation)
        return row is not None and _key(row) == key

    def verified_at_in(self, session: Session, generation: int) -> datetime:
        """Return when this node came to know a generation."""
        return session.get_one(GenerationKept, generation).verified_at

    def keep_in(self, session: Session, key: GroupKey, of: str, share: Scalar | None, now: datetime) -> bool:
        """Store a generation, and the share of it that this node has, with the transaction.

        Args:
            session: the transaction.
            key: the generation.
            of: the session of its ceremony, hex.
            share: this node's; None for none.
            now: the time.

        Returns:
            Whether anything was stored that was not there.
        """
        changed = False
        if session.get(GenerationKept, key.generation) is None:
            session.add(
                GenerationKept(
                    generation=key.generation,
                    epoch=key.epoch,
                    threshold=key.threshold,
                    session=of,
                    group_key=key.public_key,
                    holders=json.dumps([(name, public.hex()) for name, public in key.holders]),
                    verified_at=now,
                )
            )
            changed = True
        if share is not None and session.get(KeyShare, key.generation) is None:
            sealed = self._master.seal(_name(key.generation), share)
            session.add(KeyShare(generation=key.generation, sealed=sealed, stored_at=now, deleted_at=None))
            changed = True
        session.flush()
        return changed

    def delete_older_in(self, session: Session, epoch: int, before: int, now: datetime) -> Sequence[int]:
        """Delete this node's shares of an epoch that are older than a generation; return of which generations.

        The database overwrites what is deleted (SQLite's secure_delete); copies of the file are another matter.
        """
        rows = self._older(session, epoch, before)
        for share in rows:
            share.sealed, share.deleted_at = None, now
        return [share.generation for share in rows]

    def delete_epochs_in(self, session: Session, known_before: datetime, now: datetime) -> Sequence[int]:
        """Delete this node's shares of epochs that a later one has replaced long ago; return of which generations.

        Args:
            session: the transaction.
            known_before: an epoch is replaced long ago when this node knew a generation of a later one by then.
            now: the time.
        """
        known = select(func.max(GenerationKept.epoch)).where(GenerationKept.verified_at <= known_before)
        chosen = select(KeyShare).join(GenerationKept, GenerationKept.generation == KeyShare.generation)
        chosen = chosen.where(GenerationKept.epoch < known.scalar_subquery(), KeyShare.sealed.is_not(None))
        rows = session.scalars(chosen.order_by(KeyShare.generation)).all()
        for share in rows:
            share.sealed, share.deleted_at = None, now
        return [share.generation for share in rows]

    @staticmethod
    def _older(session: Session, epoch: int, before: int) -> Sequence[KeyShare]:
        chosen = select(KeyShare).join(GenerationKept, GenerationKept.generation == KeyShare.generation)
        chosen = chosen.where(GenerationKept.epoch == epoch, KeyShare.generation < before, KeyShare.sealed.is_not(None))
        return session.scalars(chosen).all()


def seen(session: Session, ceremony: bytes) -> CeremonySeen | None:
    """Return what this node has of a ceremony, by its session; None when it has not seen it."""
    return session.get(CeremonySeen, ceremony.hex())


def see(session: Session, terms: Terms, now: datetime) -> CeremonySeen:
    """Note a ceremony that this node sees for the first time.

    Of those that nobody here has approved only the last are kept: a coordinator can propose as many as it likes.
    """
    undecided = select(CeremonySeen).where(CeremonySeen.approved.is_(False)).order_by(CeremonySeen.seen_at.desc())
    for old in session.scalars(undecided.offset(_UNDECIDED_KEPT - 1)).all():
        session.delete(old)
    row = CeremonySeen(
        session=terms.session.hex(),
        terms=terms.encoded,
        generation=terms.new_generation,
        epoch=terms.epoch,
        seen_at=now,
        objection="",
        approved=False,
        party=None,
        voted=False,
        finished=False,
    )
    session.add(row)
    return row


def unfinished(session: Session) -> list[bytes]:
    """Return the sessions of ceremonies in which this node's party has something to do or to wait for, oldest first."""
    chosen = select(CeremonySeen.session).where(CeremonySeen.party.is_not(None)).order_by(CeremonySeen.generation)
    return [bytes.fromhex(one) for one in session.scalars(chosen)]


def bound_to(session: Session) -> tuple[int, int]:
    """Return the greatest generation and epoch of the ceremonies in which this node has voted; 0 for none."""
    greatest = select(func.max(CeremonySeen.generation), func.max(CeremonySeen.epoch)).where(CeremonySeen.voted)
    generation, epoch = session.execute(greatest).one()
    return generation or 0, epoch or 0


def newest_in(session: Session) -> GroupKey | None:
    """Return the newest generation, read in a transaction."""
    row = session.scalars(select(GenerationKept).order_by(GenerationKept.generation.desc()).limit(1)).first()
    return None if row is None else _key(row)


def _key(row: GenerationKept) -> GroupKey:
    holders = tuple((name, Element(bytes.fromhex(public))) for name, public in json.loads(row.holders))
    return GroupKey(row.epoch, row.generation, row.threshold, Element(row.group_key), holders)


def _name(generation: int) -> str:
    return f"key-share/{generation}"
