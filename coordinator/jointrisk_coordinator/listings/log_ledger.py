"""The logs in the database: how each stands, and its entries in segments as readers get them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from sqlalchemy import Table, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from jointrisk.listing.log import SEGMENT, Point, extend
from jointrisk.listing.packed import Packable, pack, starts, without_records
from jointrisk_coordinator.listings.batches import batches
from jointrisk_coordinator.listings.tables import (
    EntryRow,
    ListerRow,
    LogRow,
    MarkRow,
    PendingRow,
    SegmentRow,
    TagRow,
)

_SEGMENT = cast(Table, SegmentRow.__table__)
_NUMBERED = (EntryRow, PendingRow, MarkRow, SegmentRow)
_AT_ONCE: Final = 64
"""Segments that are held in memory for a change: some 6 MB."""


def every(session: Session) -> Sequence[LogRow]:
    """Return all logs, those that were deleted too, the oldest first."""
    return session.scalars(select(LogRow).order_by(LogRow.epoch)).all()


def get(session: Session, epoch: int) -> LogRow | None:
    """Return the log of an epoch."""
    return session.get(LogRow, epoch)


def add(session: Session, row: LogRow) -> None:
    """Store a new log."""
    session.add(row)
    session.flush()


def append(session: Session, row: LogRow, items: Sequence[Packable]) -> None:
    """Add entries at the end of a log, and move its size and hash on; sign its head in the same transaction."""
    position, taken = row.size, 0
    while taken < len(items):
        number, filled = divmod(position, SEGMENT)
        part = items[taken : taken + SEGMENT - filled]
        _write(session, row.epoch, number, pack(part), into_existing=filled > 0)
        position, taken = position + len(part), taken + len(part)
    row.size, row.hash = extend(Point(row.size, row.hash), (entry for entry, _ in items))


def _write(session: Session, epoch: int, number: int, packed: bytes, *, into_existing: bool) -> None:
    if not into_existing:
        session.execute(insert(_SEGMENT), {"epoch": epoch, "number": number, "packed": packed})
        return
    (before,) = [content for _, content in segments(session, epoch, [number])]
    _replace(session, epoch, {number: before + packed})


def segments(session: Session, epoch: int, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield segments by number, in order."""
    for some in batches(numbers, _AT_ONCE):
        chosen = select(_SEGMENT.c.number, _SEGMENT.c.packed).where(_SEGMENT.c.epoch == epoch)
        for row in session.execute(chosen.where(_SEGMENT.c.number.in_(some)).order_by(_SEGMENT.c.number)):
            yield row.number, row.packed


def stretch(session: Session, epoch: int, start: int, end: int, at_most: int) -> tuple[bytes, int]:
    """Return packed entries from a position on, and the position after them.

    Args:
        session: of the store.
        epoch: of the log.
        start: the first position.
        end: the position to stop before.
        at_most: bytes; it stops after the segment that goes beyond.
    """
    parts: list[bytes] = []
    length, position = 0, start
    while position < end and length < at_most:
        number, first = divmod(position, SEGMENT)
        last = min(SEGMENT, end - number * SEGMENT)
        ((_, content),) = segments(session, epoch, [number])
        parts.append(_cut(content, first, last))
        length, position = length + len(parts[-1]), number * SEGMENT + last
    return b"".join(parts), position


def _cut(content: bytes, first: int, last: int) -> bytes:
    at = [*starts(content), len(content)] if first or last < SEGMENT else [0, len(content)]
    return content[at[first] : at[min(last, len(at) - 1)]]


def delete_records(session: Session, epoch: int, positions: Iterable[int]) -> None:
    """Put hashes in the place of records. A segment is rewritten once, however many of its records go."""
    places: dict[int, list[int]] = defaultdict(list)
    for position in positions:
        number, place = divmod(position, SEGMENT)
        places[number].append(place)
    for some in batches(sorted(places), _AT_ONCE):
        kept = {number: without_records(content, places[number]) for number, content in segments(session, epoch, some)}
        _replace(session, epoch, kept)


def _replace(session: Session, epoch: int, contents: dict[int, bytes]) -> None:
    change = update(_SEGMENT).where(_SEGMENT.c.epoch == epoch, _SEGMENT.c.number == bindparam("segment"))
    rows = [{"segment": number, "content": content} for number, content in contents.items()]
    session.execute(change.values(packed=bindparam("content")), rows)


def delete_some(session: Session, epoch: int, at_most: int) -> bool:
    """Delete a part of what belongs to a log, but for its own row.

    Args:
        session: of the store.
        epoch: of the log.
        at_most: rows of a table, 64 at least; of segments, which are large, a sixty-fourth of it.

    Returns:
        Whether there is more.
    """
    for table in _NUMBERED:
        number = at_most // _AT_ONCE if table is SegmentRow else at_most
        last = session.scalar(
            select(table.number).where(table.epoch == epoch).order_by(table.number).offset(number - 1).limit(1)
        )
        chosen = delete(table).where(table.epoch == epoch)
        session.execute(chosen if last is None else chosen.where(table.number <= last))
        if last is not None:
            return True
    return _delete_tags(session, epoch, at_most)


def _delete_tags(session: Session, epoch: int, at_most: int) -> bool:
    keys = select(TagRow.tag_key).where(TagRow.epoch == epoch).order_by(TagRow.tag_key)
    last = session.scalar(keys.offset(at_most - 1).limit(1))
    chosen = delete(TagRow).where(TagRow.epoch == epoch)
    session.execute(chosen if last is None else chosen.where(TagRow.tag_key <= last))
    if last is None:
        session.execute(delete(ListerRow).where(ListerRow.epoch == epoch))
    return last is not None
