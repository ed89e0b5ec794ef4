"""Rows and entries of this lender's listings in the database: what is listed, and what shall become of it."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sqlalchemy import ColumnElement, bindparam, case, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from jointrisk.clock import Clock, utc_now
from jointrisk.listing.record import Randomness
from jointrisk.masterkey import MasterKey
from jointrisk.store import AuditLog, Store
from jointrisk_node.listings.kept import KnownRow, OwnRow, SealedRow
from jointrisk_node.listings.secret import RowVault, new_secret, open_vault
from jointrisk_node.listings.tables import ListedRowKept, ListerSecret, OwnEntry

_ONLY_ROW: Final = 1
_PAGE: Final = 1000
_ON_THE_WAY = ("stored", "live", "refused")

todo_now = case(
    ((OwnEntry.state == "stored") & ~OwnEntry.want_ended, "append"),
    (OwnEntry.state.in_(("stored", "live")) & (OwnEntry.want_ended | (OwnEntry.want_held != OwnEntry.held)), "mark"),
    else_="",
)
"""What waits for the coordinator, from an entry's other columns; written with every change of them."""


class ListingLedger:
    """Keeps this lender's rows and entries.

    Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        master: seals what is secret.
        audit: the audit log in the same store.
        randomness: draws the lister secret, once.
        clock: the time.
    """

    def __init__(
        self, store: Store, master: MasterKey, audit: AuditLog, randomness: Randomness, clock: Clock = utc_now
    ) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self.vault = self._vault(master, randomness)

    def _vault(self, master: MasterKey, randomness: Randomness) -> RowVault:
        with self._store.transaction() as session:
            kept = session.get(ListerSecret, _ONLY_ROW)
            if kept is None:
                kept = ListerSecret(place=_ONLY_ROW, sealed=new_secret(master, randomness))
                session.add(kept)
            return open_vault(master, kept.sealed)

    def known(self, row_keys: Collection[bytes]) -> dict[bytes, KnownRow]:
        """Return those of some rows that have been listed."""
        columns = (ListedRowKept.row_key, ListedRowKept.content, ListedRowKept.state, ListedRowKept.disputed)
        chosen = select(*columns).where(ListedRowKept.row_key.in_(row_keys))
        with self._store.reading() as session:
            return {found[0]: KnownRow(*found) for found in session.execute(chosen)}

    def store_rows(self, rows: Sequence[SealedRow], epoch: int) -> int:
        """Store rows that are listed newly, or again after a withdrawal, and their entries.

        Returns:
            How many: those that have come to be listed meanwhile, by a command that was cut off, are left out.
        """
        with self._store.transaction() as session:
            listed = _contents(session, rows)
            new = [one for one in rows if one.row_key not in listed]
            self._replace(session, new)
            self._audit.append_in(session, "listings.published", **_counts(new), epoch=epoch)
            return len(new)

    def correct_rows(self, rows: Sequence[SealedRow], epoch: int) -> int:
        """Store what rows say now; their old entries end with the release of those that replace them.

        Returns:
            How many: those that were withdrawn, or say so already, meanwhile are left out.
        """
        with self._store.transaction() as session:
            listed = _contents(session, rows)
            changed = [one for one in rows if listed.get(one.row_key, one.content) != one.content]
            self._supersede(session, changed)
            self._replace(session, changed)
            self._audit.append_in(session, "listings.corrected", **_counts(changed), epoch=epoch)
            return len(changed)

    def add_entries(self, rows: Sequence[SealedRow], epoch: int) -> int:
        """Store entries of rows in another epoch.

        Returns:
            For how many: rows that were withdrawn or changed meanwhile, or are in the epoch by now, are left out.
        """
        with self._store.transaction() as session:
            keys = [one.row_key for one in rows]
            chosen = select(ListedRowKept.row_key, ListedRowKept.content, ListedRowKept.disputed)
            chosen = chosen.where(ListedRowKept.row_key.in_(keys), *_lacking(epoch))
            lacking = {key: (content, disputed) for key, content, disputed in session.execute(chosen)}
            kept = [
                SealedRow(one.row, one.row_key, one.content, one.entries, held=lacking[one.row_key][1])
                for one in rows
                if lacking.get(one.row_key, (b"",))[0] == one.content
            ]
            self._insert_entries(session, kept)
            self._audit.append_in(session, "listings.published_again", **_counts(kept), epoch=epoch)
            return len(kept)

    def try_again(self, row_keys: Collection[bytes]) -> None:
        """Have the coordinator asked once more about entries of these rows that it refused."""
        refused = OwnEntry.row_key.in_(row_keys), OwnEntry.state == "refused", ~OwnEntry.want_ended
        with self._store.transaction() as session:
            session.execute(update(OwnEntry).where(*refused).values(state="stored", refusal="", todo="append"))

    def withdraw(self, row_keys: Collection[bytes]) -> None:
        """Have rows ended: durable when this returns, carried out by the delivery."""
        with self._store.transaction() as session:
            rows = ListedRowKept.row_key.in_(row_keys), ListedRowKept.state.in_(("listed", "expired"))
            changed = session.scalars(select(ListedRowKept.row_key).where(*rows)).all()
            session.execute(update(ListedRowKept).where(*rows).values(state="withdrawing", changed_at=self._clock()))
            entries = OwnEntry.row_key.in_(changed), OwnEntry.state.in_(_ON_THE_WAY)
            session.execute(update(OwnEntry).where(*entries).values(want_ended=True, replaced_by=None))
            _settle(session, changed)
            self._audit.append_in(session, "listings.withdrawn", rows=len(changed))

    def dispute(self, row_keys: Collection[bytes], *, held: bool) -> None:
        """Put rows into dispute, or end the dispute: durable when this returns, carried out by the delivery."""
        with self._store.transaction() as session:
            rows = ListedRowKept.row_key.in_(row_keys), ListedRowKept.state.in_(("listed", "expired"))
            changed = session.scalars(select(ListedRowKept.row_key).where(*rows)).all()
            session.execute(update(ListedRowKept).where(*rows).values(disputed=held, changed_at=self._clock()))
            entries = OwnEntry.row_key.in_(changed), OwnEntry.state.in_(_ON_THE_WAY)
            session.execute(update(OwnEntry).where(*entries).values(want_held=held, verified_size=0))
            session.execute(update(OwnEntry).where(*entries).values(todo=todo_now))
            self._audit.append_in(session, "listings.disputed", rows=len(changed), ended=not held)

    def rows_without(self, epoch: int, limit: int) -> list[tuple[KnownRow, bytes | None]]:
        """Return rows that have no entry in an epoch, with their sealed contents.

        They come in the order of their keys, which is a random one: the coordinator and the holders can't tell from it
        in which order they were listed.
        """
        chosen = select(
            ListedRowKept.row_key,
            ListedRowKept.content,
            ListedRowKept.state,
            ListedRowKept.disputed,
            ListedRowKept.sealed,
        )
        chosen = chosen.where(*_lacking(epoch)).order_by(ListedRowKept.row_key).limit(limit)
        with self._store.reading() as session:
            return [(KnownRow(*found[:4]), found[4]) for found in session.execute(chosen)]

    def expire(self, row_keys: Collection[bytes]) -> None:
        """Note rows whose labels have expired: they are not renewed, and not published again."""
        with self._store.transaction() as session:
            chosen = ListedRowKept.row_key.in_(row_keys), ListedRowKept.state == "listed"
            session.execute(update(ListedRowKept).where(*chosen).values(state="expired", changed_at=self._clock()))
            session.execute(update(OwnEntry).where(OwnEntry.row_key.in_(row_keys)).values(renew_at=None))

    def purge(self) -> int:
        """Delete what withdrawn rows said, once nothing of them is left to be ended; return of how many rows."""
        waiting = select(OwnEntry.row_key).where(OwnEntry.row_key == ListedRowKept.row_key)
        waiting = waiting.where(OwnEntry.state.in_(("stored", "live")))
        done = ListedRowKept.state == "withdrawing", ~waiting.exists()
        with self._store.transaction() as session:
            rows = session.scalars(select(ListedRowKept.row_key).where(*done)).all()
            gone = update(ListedRowKept).where(*done)
            session.execute(gone.values(state="withdrawn", sealed=None, changed_at=self._clock()))
        if rows:
            self._store.forget_deleted()
        return len(rows)

    def own(self, *, withdrawn: bool = False) -> Iterator[list[OwnRow]]:
        """Yield what is listed, opened, in pages; `withdrawn`: those rows as well that are being withdrawn."""
        states = ("listed", "expired", *(("withdrawing",) if withdrawn else ()))
        after = b""
        while page := self._page(states, after):
            yield [self._opened(found) for found in page]
            after = page[-1][0].row_key

    def _page(self, states: Collection[str], after: bytes) -> list[tuple[ListedRowKept, tuple[int, ...]]]:
        chosen = select(ListedRowKept).where(
            ListedRowKept.state.in_(states), ListedRowKept.row_key > after, ListedRowKept.sealed.is_not(None)
        )
        with self._store.reading() as session:
            rows = session.scalars(chosen.order_by(ListedRowKept.row_key).limit(_PAGE)).all()
            epochs = self._epochs(session, [row.row_key for row in rows])
            return [(row, tuple(sorted(epochs.get(row.row_key, ())))) for row in rows]

    @staticmethod
    def _epochs(session: Session, row_keys: Collection[bytes]) -> dict[bytes, set[int]]:
        chosen = select(OwnEntry.row_key, OwnEntry.epoch).distinct()
        chosen = chosen.where(OwnEntry.row_key.in_(row_keys), OwnEntry.state == "live")
        found: dict[bytes, set[int]] = {}
        for row_key, epoch in session.execute(chosen):
            found.setdefault(row_key, set()).add(epoch)
        return found

    def _opened(self, found: tuple[ListedRowKept, tuple[int, ...]]) -> OwnRow:
        kept, epochs = found
        return OwnRow(self.vault.open_row(kept.row_key, kept.sealed or b""), kept.state, kept.disputed, epochs)

    def row_counts(self) -> dict[str, int]:
        """Return how many rows there are in each state, and how many "disputed"."""
        chosen = select(ListedRowKept.state, func.count()).group_by(ListedRowKept.state)
        disputed = select(func.count()).where(ListedRowKept.disputed, ListedRowKept.state.in_(("listed", "expired")))
        with self._store.reading() as session:
            counts = {state: count for state, count in session.execute(chosen)}  # noqa: C416 - rows are no tuples
            return counts | {"disputed": session.scalar(disputed) or 0}

    def lacking(self, epoch: int) -> int:
        """Return how many rows are still to be published again in an epoch."""
        with self._store.reading() as session:
            return session.scalar(select(func.count()).select_from(ListedRowKept).where(*_lacking(epoch))) or 0

    def _replace(self, session: Session, rows: Sequence[SealedRow]) -> None:
        session.execute(delete(ListedRowKept).where(ListedRowKept.row_key.in_([one.row_key for one in rows])))
        self._insert_rows(session, rows)
        self._insert_entries(session, rows)

    def _insert_rows(self, session: Session, rows: Sequence[SealedRow]) -> None:
        now = self._clock()
        if values := [one.values(self.vault, now) for one in rows]:
            session.connection().execute(insert(ListedRowKept.__table__), values)  # type: ignore[arg-type]

    def _insert_entries(self, session: Session, rows: Sequence[SealedRow]) -> None:
        if values := [found for one in rows for found in one.entry_values(self.vault)]:
            session.connection().execute(insert(OwnEntry.__table__), values)  # type: ignore[arg-type]

    @staticmethod
    def _supersede(session: Session, rows: Sequence[SealedRow]) -> None:
        """Have the old entries ended; each is replaced by the new one of its kind, or by another of the row."""
        by_key = {one.row_key: one for one in rows}
        kinds = select(OwnEntry.row_key, OwnEntry.kind).where(OwnEntry.row_key.in_(by_key)).distinct()
        changes = [
            {"of": row_key, "kind_is": kind, "by": _replacement(by_key[row_key], kind)}
            for row_key, kind in session.execute(kinds)
        ]
        old = OwnEntry.row_key == bindparam("of"), OwnEntry.kind == bindparam("kind_is"), ~OwnEntry.want_ended
        # Not `in_`: its parameters cannot be executed many at once.
        ending = update(OwnEntry).where(*old, or_(*(OwnEntry.state == one for one in _ON_THE_WAY)))
        if changes:
            connection = session.connection()
            connection.execute(ending.values(want_ended=True, replaced_by=bindparam("by"), verified_size=0), changes)
        _settle(session, by_key)


def _contents(session: Session, rows: Sequence[SealedRow]) -> dict[bytes, bytes]:
    """Return the digests of what those of some rows say that are listed."""
    chosen = select(ListedRowKept.row_key, ListedRowKept.content).where(
        ListedRowKept.row_key.in_([one.row_key for one in rows]), ListedRowKept.state.in_(("listed", "expired"))
    )
    return {key: content for key, content in session.execute(chosen)}  # noqa: C416 - rows are no tuples


def _settle(session: Session, row_keys: Collection[bytes]) -> None:
    """Write down what waits, after entries of these rows are wanted ended; what was refused has never begun."""
    of = OwnEntry.row_key.in_(row_keys)
    refused = of, OwnEntry.state == "refused", OwnEntry.want_ended
    session.execute(update(OwnEntry).where(*refused).values(state="lapsed", witness=None))
    session.execute(update(OwnEntry).where(of).values(todo=todo_now))


def _replacement(row: SealedRow, kind: str) -> bytes:
    return next((one.entry_id for one in row.entries if one.kind == kind), row.entries[0].entry_id)


def _lacking(epoch: int) -> tuple[ColumnElement[bool], ...]:
    entries = select(OwnEntry.entry_id).where(
        OwnEntry.row_key == ListedRowKept.row_key,
        OwnEntry.epoch == epoch,
        OwnEntry.state.not_in(("ended", "lapsed")),
        ~OwnEntry.want_ended,
    )
    return ListedRowKept.state == "listed", ListedRowKept.sealed.is_not(None), ~entries.exists()


def _counts(rows: Sequence[SealedRow]) -> dict[str, int]:
    return {"rows": len(rows), "entries": sum(len(one.entries) for one in rows)}
