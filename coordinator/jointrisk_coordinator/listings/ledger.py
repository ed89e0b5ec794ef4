"""Entries, and marks that wait for their release, in the database."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from jointrisk.listing.log import EntryKind
from jointrisk_coordinator.listings.batches import batches
from jointrisk_coordinator.listings.changes import PENDING, Changes, Known
from jointrisk_coordinator.listings.tables import EntryRow, ListerRow, LogRow, MarkRow, PendingRow, TagRow

_ENTRY = cast(Table, EntryRow.__table__)
_LISTER = cast(Table, ListerRow.__table__)
_MARK = cast(Table, MarkRow.__table__)
_PENDING = cast(Table, PendingRow.__table__)
_TAG = cast(Table, TagRow.__table__)
_PARAMETERS: Final = 4096
"""Values of one IN."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry that is taken.

    Attributes:
        id_key: hash of the entry's id.
        tag_key: keyed hash of lister and tag.
        digest: the record's hash.
        record: the record.
    """

    id_key: bytes = field(repr=False)
    tag_key: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that waits for its release.

    Attributes:
        number: in the order of arrival.
        kind: what it does.
        entry: number of the entry that it is about.
        waits_for: number of a pending entry that has to be released before.
    """

    number: int
    kind: EntryKind
    entry: int
    waits_for: int | None = None


_KNOWN = (
    _ENTRY.c.number,
    _ENTRY.c.lister,
    _ENTRY.c.tag_key,
    _ENTRY.c.digest,
    _ENTRY.c.state,
    _ENTRY.c.position,
    _ENTRY.c.expires,
)


def by_id(session: Session, epoch: int, id_keys: Iterable[bytes]) -> dict[bytes, Known]:
    """Return entries by the hashes of their ids."""
    found: dict[bytes, Known] = {}
    for some in batches(id_keys, _PARAMETERS):
        chosen = select(_ENTRY.c.id_key, *_KNOWN).where(_ENTRY.c.epoch == epoch, _ENTRY.c.id_key.in_(some))
        found.update((row[0], Known(*row[1:])) for row in session.execute(chosen))
    return found


def by_number(session: Session, epoch: int, numbers: Iterable[int]) -> dict[int, Known]:
    """Return entries by their numbers."""
    found: dict[int, Known] = {}
    for some in batches(numbers, _PARAMETERS):
        chosen = select(*_KNOWN).where(_ENTRY.c.epoch == epoch, _ENTRY.c.number.in_(some))
        found.update((row.number, Known(*row)) for row in session.execute(chosen))
    return found


def unended(session: Session, epoch: int, tag_keys: Iterable[bytes]) -> dict[bytes, int]:
    """Return how many pending and live entries there are under each tag that its lister has used before."""
    found: dict[bytes, int] = {}
    for some in batches(tag_keys, _PARAMETERS):
        chosen = select(_TAG.c.tag_key, _TAG.c.unended).where(_TAG.c.epoch == epoch, _TAG.c.tag_key.in_(some))
        found.update((row.tag_key, row.unended) for row in session.execute(chosen))
    return found


def take(session: Session, log: LogRow, lister: str, entries: Sequence[NewEntry], expires: int) -> None:
    """Store new entries of one lister as pending; count them and their tags."""
    if not entries:
        return
    numbers = range(log.entries, log.entries + len(entries))
    log.entries += len(entries)
    rest = {"epoch": log.epoch, "lister": lister, "state": PENDING, "position": None, "expires": expires}
    session.execute(
        insert(_ENTRY),
        [
            {"number": number, "id_key": new.id_key, "tag_key": new.tag_key, "digest": new.digest, **rest}
            for number, new in zip(numbers, entries, strict=True)
        ],
    )
    session.execute(
        insert(_PENDING),
        [
            {"epoch": log.epoch, "number": number, "record": new.record}
            for number, new in zip(numbers, entries, strict=True)
        ],
    )
    tags = _count_tags(session, log.epoch, Counter(new.tag_key for new in entries))
    tally(session, log.epoch, lister, tags=tags, pending=len(entries))


def _count_tags(session: Session, epoch: int, change: Mapping[bytes, int]) -> int:
    """Change the numbers of entries under tags; return how many of the tags are new."""
    before = unended(session, epoch, change)
    old = [{"key": key, "by": by} for key, by in change.items() if key in before]
    new = [{"epoch": epoch, "tag_key": key, "unended": by} for key, by in change.items() if key not in before]
    if old:
        chosen = update(_TAG).where(_TAG.c.epoch == epoch, _TAG.c.tag_key == bindparam("key"))
        session.execute(chosen.values(unended=_TAG.c.unended + bindparam("by")), old)
    if new:
        session.execute(insert(_TAG), new)
    return len(new)


def tally(session: Session, epoch: int, lister: str, **change: int) -> None:
    """Change a lister's numbers: of tags, pending, live, held."""
    row = session.get(ListerRow, (epoch, lister))
    if row is None:
        row = ListerRow(epoch=epoch, lister=lister, tags=0, pending=0, live=0, held=0)
        session.add(row)
    for name, by in change.items():
        setattr(row, name, getattr(row, name) + by)
    session.flush()


def count_of(session: Session, epoch: int, lister: str) -> int:
    """Return how many pending and live entries a member has in a log."""
    row = session.get(ListerRow, (epoch, lister))
    return row.pending + row.live if row is not None else 0


def listers(session: Session, epoch: int) -> Sequence[ListerRow]:
    """Return what each member has in a log."""
    return session.scalars(select(ListerRow).where(ListerRow.epoch == epoch).order_by(ListerRow.lister)).all()


def store(session: Session, epoch: int, changes: Changes) -> None:
    """Store entries that have changed, and count again."""
    if not changes.entries:
        return
    chosen = update(_ENTRY).where(_ENTRY.c.epoch == epoch, _ENTRY.c.number == bindparam("of"))
    chosen = chosen.values(state=bindparam("now"), position=bindparam("at"), expires=bindparam("until"))
    rows = [
        {"of": one.number, "now": one.state, "at": one.position, "until": one.expires}
        for one in changes.entries.values()
    ]
    session.execute(chosen, rows)
    _count_tags(session, epoch, changes.tags)
    for lister, change in changes.tallies.items():
        tally(session, epoch, lister, **change)


# -- what waits for its release --------------------------------------------------------------------------------------


def pending_numbers(session: Session, epoch: int) -> list[int]:
    """Return the numbers of all entries that wait."""
    return list(session.scalars(select(_PENDING.c.number).where(_PENDING.c.epoch == epoch)))


def pending_records(session: Session, epoch: int, numbers: Iterable[int]) -> dict[int, bytes]:
    """Return the records of entries that still wait."""
    found: dict[int, bytes] = {}
    for some in batches(numbers, _PARAMETERS):
        chosen = select(_PENDING.c.number, _PENDING.c.record)
        chosen = chosen.where(_PENDING.c.epoch == epoch, _PENDING.c.number.in_(some))
        found.update((row.number, row.record) for row in session.execute(chosen))
    return found


def drop_pending(session: Session, epoch: int, numbers: Iterable[int]) -> None:
    """Delete records that wait no more."""
    for some in batches(numbers, _PARAMETERS):
        session.execute(delete(_PENDING).where(_PENDING.c.epoch == epoch, _PENDING.c.number.in_(some)))


def add_marks(session: Session, log: LogRow, marks: Iterable[tuple[EntryKind, int, int | None]]) -> None:
    """Store marks: each its kind, the number of its entry, and that of the entry that it waits for."""
    rows = [
        {"epoch": log.epoch, "number": number, "kind": kind.value, "entry": entry, "waits_for": waits_for}
        for number, (kind, entry, waits_for) in enumerate(marks, log.marks)
    ]
    if rows:
        session.execute(insert(_MARK), rows)
        log.marks += len(rows)


def marks_on(session: Session, epoch: int, entries: Iterable[int]) -> list[Mark]:
    """Return the marks that wait and are about some entries, in the order of arrival."""
    found: list[Mark] = []
    for some in batches(entries, _PARAMETERS):
        found.extend(_marks(session, epoch, _MARK.c.entry.in_(some)))
    return sorted(found, key=lambda mark: mark.number)


def marks_due(session: Session, epoch: int, at_most: int) -> list[Mark]:
    """Return marks that wait for no entry, in the order of arrival."""
    return _marks(session, epoch, _MARK.c.waits_for.is_(None), at_most)


def marks_freed(session: Session, epoch: int, released: Collection[int]) -> list[Mark]:
    """Return the marks that waited for some entries, in the order of arrival."""
    return [one for one in _marks(session, epoch, _MARK.c.waits_for.is_not(None)) if one.waits_for in released]


def _marks(session: Session, epoch: int, condition: ColumnElement[bool], at_most: int | None = None) -> list[Mark]:
    chosen = select(_MARK.c.number, _MARK.c.kind, _MARK.c.entry, _MARK.c.waits_for)
    chosen = chosen.where(_MARK.c.epoch == epoch, condition).order_by(_MARK.c.number).limit(at_most)
    return [Mark(number, EntryKind(kind), entry, waits) for number, kind, entry, waits in session.execute(chosen)]


def drop_marks(session: Session, epoch: int, numbers: Iterable[int]) -> None:
    """Delete marks that wait no more."""
    for some in batches(numbers, _PARAMETERS):
        session.execute(delete(_MARK).where(_MARK.c.epoch == epoch, _MARK.c.number.in_(some)))


def free_marks(session: Session, epoch: int, withdrawn: Iterable[int]) -> None:
    """Let marks wait no more for entries that will never be released."""
    for some in batches(withdrawn, _PARAMETERS):
        chosen = update(_MARK).where(_MARK.c.epoch == epoch, _MARK.c.waits_for.in_(some))
        session.execute(chosen.values(waits_for=None))


def expired(session: Session, epoch: int, now: int, at_most: int) -> dict[int, Known]:
    """Return entries of the log whose time is over, by their numbers.

    Args:
        session: of the store.
        epoch: of the log.
        now: seconds since 1970.
        at_most: how many.
    """
    chosen = select(*_KNOWN).where(_ENTRY.c.epoch == epoch, _ENTRY.c.expires <= now, _ENTRY.c.position.is_not(None))
    rows = session.execute(chosen.order_by(_ENTRY.c.expires, _ENTRY.c.number).limit(at_most))
    return {row.number: Known(*row) for row in rows}


def of_lister(session: Session, epoch: int, lister: str, after: int, at_most: int) -> dict[int, Known]:
    """Return entries of a member that have not ended, with numbers after one."""
    chosen = select(*_KNOWN).where(_ENTRY.c.epoch == epoch, _ENTRY.c.number > after, _ENTRY.c.lister == lister)
    chosen = chosen.where(_ENTRY.c.expires.is_not(None)).order_by(_ENTRY.c.number).limit(at_most)
    return {row.number: Known(*row) for row in session.execute(chosen)}


def is_anything_due(session: Session, epoch: int, now: int) -> bool:
    """Tell whether a release would change the log: without waiting for the database's writers."""
    return bool(
        session.execute(select(_PENDING.c.number).where(_PENDING.c.epoch == epoch).limit(1)).first()
        or marks_due(session, epoch, 1)
        or expired(session, epoch, now, 1)
    )


def marks_waiting(session: Session, epoch: int) -> int:
    """Return how many marks wait for their release."""
    return session.scalar(select(func.count()).select_from(_MARK).where(_MARK.c.epoch == epoch)) or 0
