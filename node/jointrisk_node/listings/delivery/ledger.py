"""What waits for the coordinator, and what it has acknowledged, in the database."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import and_, bindparam, func, or_, select, update
from sqlalchemy.orm import aliased

from jointrisk.clock import Clock, utc_now
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import MOST_ITEMS, Offered
from jointrisk.listing.record import Sealed
from jointrisk.store import AuditLog, Store
from jointrisk_node.listings.ledger import todo_now
from jointrisk_node.listings.secret import RowVault
from jointrisk_node.listings.tables import ListedRowKept, OwnEntry


@dataclass(frozen=True, slots=True)
class MarkWanted:
    """A mark that is to be told to the coordinator.

    Attributes:
        entry_id: of the entry.
        kind: tombstone, hold or release.
        replaced_by: of a correction the entry that replaces it; None for others.
    """

    entry_id: bytes = field(repr=False)
    kind: EntryKind
    replaced_by: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class DueEntry:
    """An entry whose renewal is due.

    Attributes:
        epoch: of its log.
        entry_id: its id.
        row_key: of its row.
        sealed: the row.
    """

    epoch: int
    entry_id: bytes = field(repr=False)
    row_key: bytes = field(repr=False)
    sealed: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class EpochCounts:
    """How the entries of an epoch stand."""

    live: int = 0
    to_append: int = 0
    to_mark: int = 0
    refused: int = 0
    verified: int = 0


class DeliveryLedger:
    """Keeps what waits for the coordinator.

    Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        vault: opens witnesses.
        audit: the audit log in the same store.
        clock: the time.
    """

    def __init__(self, store: Store, vault: RowVault, audit: AuditLog, clock: Clock = utc_now) -> None:
        self._store = store
        self._vault = vault
        self._audit = audit
        self._clock = clock

    def waiting(self) -> int:
        """Return how many entries wait for the coordinator's word."""
        with self._store.reading() as session:
            return session.scalar(select(func.count()).select_from(OwnEntry).where(OwnEntry.todo != "")) or 0

    def epochs(self, todo: str) -> list[int]:
        """Return the epochs in which something is to be done ("append" or "mark"), the oldest first."""
        chosen = select(OwnEntry.epoch).where(OwnEntry.todo == todo).distinct().order_by(OwnEntry.epoch)
        with self._store.reading() as session:
            return list(session.scalars(chosen))

    def to_append(self, epoch: int, *, most: int = MOST_ITEMS) -> list[Offered]:
        """Return entries to be appended, in the order of their random ids.

        *In the order of a file, neighbours would be one person's: tags of different kinds would be told to belong
        together.*
        """
        columns = (OwnEntry.entry_id, OwnEntry.tag, OwnEntry.ciphertext, OwnEntry.witness)
        chosen = select(*columns).where(OwnEntry.todo == "append", OwnEntry.epoch == epoch)
        with self._store.reading() as session:
            found = session.execute(chosen.order_by(OwnEntry.entry_id).limit(most)).all()
        return [
            Offered(Sealed(entry_id, tag, ciphertext), self._vault.open_witness(entry_id, witness or b""))
            for entry_id, tag, ciphertext, witness in found
        ]

    def appended(self, epoch: int, entry_ids: Collection[bytes], renew_at: datetime) -> None:
        """Note that the coordinator has taken entries; their witnesses are deleted."""
        now = self._clock()
        values = [{"of": one, "told": now, "renew": renew_at} for one in entry_ids]
        change = update(OwnEntry).where(OwnEntry.entry_id == bindparam("of"))
        change = change.values(state="live", witness=None, told_at=bindparam("told"), renew_at=bindparam("renew"))
        with self._store.transaction() as session:
            if values:
                session.connection().execute(change, values)
            session.execute(
                update(OwnEntry).where(OwnEntry.todo == "append", OwnEntry.state == "live").values(todo=todo_now)
            )
            self._audit.append_in(session, "listings.appended", entries=len(values), epoch=epoch)

    def refused(self, epoch: int, codes: Mapping[bytes, str]) -> None:
        """Note that the coordinator does not take entries, and with which error codes."""
        if not codes:
            return
        values = [{"of": entry_id, "code": code[:40]} for entry_id, code in codes.items()]
        change = update(OwnEntry).where(OwnEntry.entry_id == bindparam("of"))
        with self._store.transaction() as session:
            session.connection().execute(change.values(state="refused", todo="", refusal=bindparam("code")), values)
            self._audit.append_in(session, "listings.append_refused", entries=len(values), epoch=epoch)

    def to_mark(self, epoch: int, *, most: int = MOST_ITEMS) -> list[MarkWanted]:
        """Return marks of one kind that are to be told, ends first; a correction's once the new entry is taken."""
        newer = aliased(OwnEntry)
        chosen = (
            select(OwnEntry.entry_id, OwnEntry.want_ended, OwnEntry.want_held, newer.entry_id, newer.state)
            .join(newer, newer.entry_id == OwnEntry.replaced_by, isouter=True)
            .where(OwnEntry.todo == "mark", OwnEntry.epoch == epoch)
            .where(or_(OwnEntry.replaced_by.is_(None), newer.entry_id.is_(None), newer.state != "stored"))
            .order_by(OwnEntry.want_ended.desc(), OwnEntry.entry_id)
            .limit(most)
        )
        with self._store.reading() as session:
            found = [_mark(*row) for row in session.execute(chosen)]
        # One request is about one kind, with replacements or without; the others come with the next.
        return [one for one in found if _group(one) == _group(found[0])]

    def marked(self, epoch: int, kind: EntryKind, entry_ids: Collection[bytes]) -> None:
        """Note that the coordinator has taken marks."""
        values = [{"of": one, "told": self._clock()} for one in entry_ids]
        changed = {"held": kind is EntryKind.HOLD} if kind is not EntryKind.TOMBSTONE else {"state": "ended"}
        change = update(OwnEntry).where(OwnEntry.entry_id == bindparam("of"))
        change = change.values(**changed, told_at=bindparam("told"), verified_size=0)
        with self._store.transaction() as session:
            if values:
                session.connection().execute(change, values)
            if kind is EntryKind.TOMBSTONE:
                ended = OwnEntry.state == "ended", OwnEntry.todo != ""
                session.execute(update(OwnEntry).where(*ended).values(todo="", witness=None, renew_at=None))
            else:
                session.execute(update(OwnEntry).where(OwnEntry.todo == "mark").values(todo=todo_now))
            self._audit.append_in(session, "listings.marked", entries=len(values), epoch=epoch, mark=kind.name.lower())

    def lapsed(self, entry_ids: Collection[bytes]) -> None:
        """Note entries that have ended without this lender: at the horizon, or never appended at all."""
        if entry_ids:
            cleared = {"state": "lapsed", "todo": "", "witness": None, "renew_at": None}
            with self._store.transaction() as session:
                session.execute(update(OwnEntry).where(OwnEntry.entry_id.in_(entry_ids)).values(**cleared))

    def end_plainly(self, entry_ids: Collection[bytes]) -> None:
        """Have entries ended by themselves: what should have replaced them has ended."""
        if entry_ids:
            with self._store.transaction() as session:
                session.execute(update(OwnEntry).where(OwnEntry.entry_id.in_(entry_ids)).values(replaced_by=None))

    def mark_refused(self, epoch: int, codes: Mapping[bytes, str]) -> None:
        """Note marks that the coordinator does not take. The checks of the log go on to look for what they wanted."""
        if not codes:
            return
        values = [{"of": entry_id, "code": code[:40]} for entry_id, code in codes.items()]
        change = update(OwnEntry).where(OwnEntry.entry_id == bindparam("of"))
        with self._store.transaction() as session:
            session.connection().execute(change.values(todo="", refusal=bindparam("code")), values)
            self._audit.append_in(session, "listings.mark_refused", entries=len(values), epoch=epoch)

    def log_is_gone(self, epoch: int) -> bool:
        """Note that an epoch's log is not served any more: nothing is left to be told about it.

        Returns:
            Whether it is so: only where entries of a later epoch have been acknowledged. Else it may not be open yet.
        """
        later = select(OwnEntry.entry_id).where(OwnEntry.epoch > epoch, OwnEntry.state == "live").limit(1)
        chosen = OwnEntry.epoch == epoch, OwnEntry.state.in_(("stored", "live"))
        with self._store.transaction() as session:
            if session.scalar(later) is None:
                return False
            cleared = update(OwnEntry).where(*chosen)
            session.execute(cleared.values(state="lapsed", todo="", witness=None, renew_at=None))
            return True

    def to_renew(self, before: datetime, *, most: int = MOST_ITEMS) -> list[DueEntry]:
        """Return entries of one epoch whose renewal is due, and their rows."""
        columns = (OwnEntry.epoch, OwnEntry.entry_id, OwnEntry.row_key, ListedRowKept.sealed)
        due = and_(OwnEntry.renew_at <= before, OwnEntry.state == "live", ~OwnEntry.want_ended)
        chosen = select(*columns).join(ListedRowKept, ListedRowKept.row_key == OwnEntry.row_key).where(due)
        with self._store.reading() as session:
            rows = session.execute(chosen.order_by(OwnEntry.epoch, OwnEntry.entry_id).limit(most))
            found = [DueEntry(*row) for row in rows]
        return [one for one in found if one.epoch == found[0].epoch]

    def renewal_wanted(self, row_keys: Collection[bytes] | None) -> int:
        """Have entries of these rows, or of all, renewed now; return how many entries."""
        chosen = [OwnEntry.state == "live", ~OwnEntry.want_ended, OwnEntry.renew_at.is_not(None)]
        if row_keys is not None:
            chosen.append(OwnEntry.row_key.in_(row_keys))
        with self._store.transaction() as session:
            entries = session.scalar(select(func.count()).select_from(OwnEntry).where(*chosen)) or 0
            session.execute(update(OwnEntry).where(*chosen).values(renew_at=self._clock()))
            self._audit.append_in(session, "listings.renewal_wanted", entries=entries)
        return entries

    def renewed(self, epoch: int, entry_ids: Sequence[bytes], renew_at: datetime) -> None:
        """Note that the coordinator has put off the expiry of entries."""
        with self._store.transaction() as session:
            chosen = OwnEntry.entry_id.in_(entry_ids)
            session.execute(update(OwnEntry).where(chosen).values(renew_at=renew_at))
            self._audit.append_in(session, "listings.renewed", entries=len(entry_ids), epoch=epoch)

    def counts(self) -> dict[int, EpochCounts]:
        """Return how entries stand, by epoch."""
        columns = OwnEntry.epoch, OwnEntry.state, OwnEntry.todo
        # By its label: PostgreSQL doesn't see that two expressions with parameters are the same.
        verified_too = (OwnEntry.verified_size > 0).label("is_verified")
        chosen = select(*columns, verified_too, func.count()).group_by(*columns, "is_verified")
        found: dict[int, dict[str, int]] = {}
        with self._store.reading() as session:
            for epoch, state, todo, verified, count in session.execute(chosen):
                sums = found.setdefault(epoch, dict.fromkeys(EpochCounts.__slots__, 0))
                for name in _names(state, todo, verified=bool(verified)):
                    sums[name] += count
        return {epoch: EpochCounts(**sums) for epoch, sums in sorted(found.items())}


def _names(state: str, todo: str, *, verified: bool) -> list[str]:
    names = [state] if state in {"live", "refused"} else []
    names += {"append": ["to_append"], "mark": ["to_mark"]}.get(todo, [])
    return [*names, "verified"] if verified and state == "live" else names


def _group(mark: MarkWanted) -> tuple[EntryKind, bool]:
    return mark.kind, mark.replaced_by is not None


def _mark(
    entry_id: bytes, want_ended: bool, want_held: bool, newer_id: bytes | None, newer_state: str | None
) -> MarkWanted:
    if want_ended:
        return MarkWanted(entry_id, EntryKind.TOMBSTONE, newer_id if newer_state == "live" else None)
    return MarkWanted(entry_id, EntryKind.HOLD if want_held else EntryKind.RELEASE, None)
