"""Releases: what has waited goes into the log, in random order, with a new signed head.

A release of many entries is several transactions, each with a head of its own, so that nobody else waits long for the
database. Every part is drawn from all that waits, so its order tells as little. In each part entries come first, then
marks; a tombstone that corrects is in the part with the entry that replaces it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from jointrisk.clock import Clock
from jointrisk.listing.log import Entry, EntryKind
from jointrisk.listing.packed import Packable
from jointrisk.listing.record import Randomness
from jointrisk.store import AuditLog, Session, Store
from jointrisk_coordinator.listings import ledger, log_ledger
from jointrisk_coordinator.listings.batches import batches
from jointrisk_coordinator.listings.changes import EXPIRED, HELD, LIVE, WITHDRAWN, Changes, Known
from jointrisk_coordinator.listings.heads import Heads
from jointrisk_coordinator.listings.ledger import Mark
from jointrisk_coordinator.listings.tables import LogRow

PART: Final = 8192
"""Entries, and marks, that one transaction releases at most."""

_STATES: Final = {
    EntryKind.TOMBSTONE: WITHDRAWN,
    EntryKind.HOLD: HELD,
    EntryKind.RELEASE: LIVE,
    EntryKind.EXPIRY: EXPIRED,
}
_T = TypeVar("_T")


@dataclass(slots=True)
class Released:
    """What a release brought into a log.

    Attributes:
        epoch: of the log.
        size: of the log now.
        entries: how many.
        marks: how many.
        deleted: whether a record was deleted.
    """

    epoch: int
    size: int = 0
    entries: int = 0
    marks: int = 0
    deleted: bool = False


class Releasing:
    """Releases what waits. Methods block on the database; one thread at a time.

    Args:
        store: the coordinator's database.
        heads: the logs.
        audit: the audit log in the same store.
        randomness: shuffles; `os.urandom` outside tests.
        clock: the time.
        part: entries, and marks, of one transaction.
    """

    def __init__(
        self, store: Store, heads: Heads, audit: AuditLog, randomness: Randomness, clock: Clock, part: int = PART
    ) -> None:
        self._store = store
        self._heads = heads
        self._audit = audit
        self._randomness = randomness
        self._clock = clock
        self._part = part

    def release(self, epoch: int, on_part: Callable[[Released], None]) -> Released:
        """Release what waits in a log now, and end what has not been renewed.

        Args:
            epoch: the log.
            on_part: called after each transaction that changed the log, with what was released so far.

        Raises:
            NotFoundError: no log is served for the epoch.
        """
        released = Released(epoch)
        with self._store.reading() as session:
            if not ledger.is_anything_due(session, epoch, int(self._clock().timestamp())):
                return released
            waiting = shuffled(ledger.pending_numbers(session, epoch), self._randomness)
        parts: Iterator[tuple[int, ...]] = batches(waiting, self._part)
        more = True
        while more:
            numbers = next(parts, ())
            is_last = len(numbers) < self._part
            if changed := self._release_part(epoch, numbers, released, with_due=is_last):
                on_part(released)
            more = not is_last or changed
        return released

    def _release_part(self, epoch: int, numbers: Iterable[int], released: Released, *, with_due: bool) -> bool:
        """Release some entries and what waited for them; return whether there was anything."""
        with self._store.transaction() as session:
            log = self._heads.require(session, epoch)
            part = _Part(session, log)
            part.take_entries(numbers)
            marks = ledger.marks_freed(session, epoch, part.released) if part.released else []
            if with_due:
                marks += ledger.marks_due(session, epoch, self._part)
            part.take_marks(marks, self._expired(session, epoch) if with_due else {}, self._randomness)
            part.store()
            if part.items:
                self._heads.sign(log)
                self._count(session, log, part, released)
        return part.has_changed

    def _expired(self, session: Session, epoch: int) -> dict[int, Known]:
        return ledger.expired(session, epoch, int(self._clock().timestamp()), self._part)

    def _count(self, session: Session, log: LogRow, part: "_Part", released: Released) -> None:
        entries, marks = len(part.released), len(part.items) - len(part.released)
        self._audit.append_in(session, "listing.released", epoch=log.epoch, size=log.size, entries=entries, marks=marks)
        released.size = log.size
        released.entries += entries
        released.marks += marks
        released.deleted = released.deleted or bool(part.changes.gone)


class _Part:
    """One transaction's entries and marks, in the order of the log."""

    def __init__(self, session: Session, log: LogRow) -> None:
        self.items: list[Packable] = []
        self.released: dict[int, Known] = {}
        self.changes = Changes()
        self._session = session
        self._log = log
        self._marks: list[int] = []

    @property
    def has_changed(self) -> bool:
        """Whether anything was released, or waits no more because it would change nothing."""
        return bool(self.items or self._marks)

    def take_entries(self, numbers: Iterable[int]) -> None:
        """Add entries in the given order; those that were withdrawn meanwhile are left out."""
        session, epoch = self._session, self._log.epoch
        order = list(numbers)
        records = ledger.pending_records(session, epoch, order)
        known = ledger.by_number(session, epoch, records)
        for number in order:
            if number in records:
                entry = known[number]
                self.changes.to(entry, LIVE, position=self._log.size + len(self.items))
                self.items.append((Entry(EntryKind.APPEND, entry.digest, has_body=True), records[number]))
                self.released[number] = entry

    def take_marks(self, marks: Iterable[Mark], expired: dict[int, Known], randomness: Randomness) -> None:
        """Add marks, the entries that they are about in random order; those on one entry stay in theirs."""
        kinds: dict[int, list[EntryKind]] = {}
        for mark in marks:
            kinds.setdefault(mark.entry, []).append(mark.kind)
            self._marks.append(mark.number)
        for number in expired:
            kinds.setdefault(number, []).append(EntryKind.EXPIRY)
        known = {
            **ledger.by_number(self._session, self._log.epoch, kinds.keys() - self.released.keys()),
            **self.released,
        }
        for number in shuffled(sorted(kinds), randomness):
            for kind in kinds[number]:
                self._take_mark(known[number], kind)

    def _take_mark(self, entry: Known, kind: EntryKind) -> None:
        state = _STATES[kind]
        if entry.has_ended or state == entry.state or entry.position is None:
            return
        self.items.append((Entry.mark(kind, entry.position), None))
        self.changes.to(entry, state)

    def store(self) -> None:
        """Write the log, the entries as they stand now, and delete what waited and records that have ended."""
        session, epoch = self._session, self._log.epoch
        log_ledger.append(session, self._log, self.items)
        log_ledger.delete_records(session, epoch, self.changes.gone)
        ledger.store(session, epoch, self.changes)
        ledger.drop_pending(session, epoch, self.released)
        ledger.drop_marks(session, epoch, self._marks)


def shuffled(numbers: list[_T], randomness: Randomness) -> list[_T]:
    """Return them in random order, each order as likely."""
    keys = randomness(16 * len(numbers))
    order = sorted(range(len(numbers)), key=lambda at: keys[16 * at : 16 * at + 16])
    return [numbers[at] for at in order]
