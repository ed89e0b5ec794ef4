"""Marks on entries of one lister, in one transaction."""

from collections.abc import Iterable

from jointrisk.errors import ConflictError
from jointrisk.listing.log import EntryKind
from jointrisk.store import Session
from jointrisk_coordinator.listings import ledger
from jointrisk_coordinator.listings.changes import HELD, PENDING, WITHDRAWN, Changes, Known
from jointrisk_coordinator.listings.tables import LogRow


class Marking:
    """Makes marks; nothing is stored before `store`.

    A tombstone is the last mark on its entry, and takes the place of those that wait. An entry that waits itself is
    withdrawn at once, and never released.

    Args:
        session: of the store.
        log: the log.
        entries: those that may be marked.

    Attributes:
        added: marks that wait for the next release.
        removed: entries that were withdrawn before their release.
    """

    def __init__(self, session: Session, log: LogRow, entries: Iterable[Known]) -> None:
        self.added: dict[int, list[tuple[EntryKind, int | None]]] = {}
        self.removed: list[int] = []
        self._session = session
        self._log = log
        self._changes = Changes()
        self._waiting: dict[int, list[ledger.Mark]] = {}
        self._dropped: list[int] = []
        for mark in ledger.marks_on(session, log.epoch, [entry.number for entry in entries]):
            self._waiting.setdefault(mark.entry, []).append(mark)

    @property
    def changed(self) -> int:
        """How many entries are other than before."""
        return len(self.added) + len(self.removed)

    def tombstone(self, entry: Known, waits_for: int | None = None) -> None:
        """Withdraw an entry; what has ended, or is about to, stays as it is.

        Args:
            entry: of this member.
            waits_for: number of a pending entry that has to be released before.
        """
        if entry.has_ended or self._last(entry) is EntryKind.TOMBSTONE:
            return
        self._dropped.extend(mark.number for mark in self._waiting.pop(entry.number, ()))
        self.added.pop(entry.number, None)
        if entry.state == PENDING:
            self.removed.append(entry.number)
            self._changes.to(entry, WITHDRAWN)
        else:
            self.added[entry.number] = [(EntryKind.TOMBSTONE, waits_for)]

    def replace(self, entry: Known, by: Known) -> ConflictError | None:
        """Withdraw an entry in the release that another one is in, at the earliest.

        Returns:
            Why not, when the other has ended, is about to, or is the same.
        """
        if entry.has_ended or self._last(entry) is EntryKind.TOMBSTONE:
            return None
        if by is entry or by.has_ended or self._last(by) is EntryKind.TOMBSTONE:
            return ConflictError("the entry that should replace it has ended", remedy="Publish another one.")
        self.tombstone(entry, by.number if by.state == PENDING else None)
        return None

    def dispute(self, entry: Known, kind: EntryKind) -> ConflictError | None:
        """Hold or release an entry; what is so already stays as it is.

        Returns:
            Why not, when it has ended or is about to.
        """
        last = self._last(entry)
        if entry.has_ended or last is EntryKind.TOMBSTONE:
            return ConflictError("this entry has ended")
        present = last or (EntryKind.HOLD if entry.state == HELD else EntryKind.RELEASE)
        if present is not kind:
            waits_for = entry.number if entry.state == PENDING else None
            self.added.setdefault(entry.number, []).append((kind, waits_for))
        return None

    def store(self) -> None:
        """Write what was made."""
        session, log = self._session, self._log
        ledger.store(session, log.epoch, self._changes)
        ledger.drop_pending(session, log.epoch, self.removed)
        ledger.drop_marks(session, log.epoch, self._dropped)
        ledger.add_marks(
            session, log, [(kind, entry, waits) for entry, marks in self.added.items() for kind, waits in marks]
        )
        # Last: of what was added, too, something may wait for what was withdrawn.
        ledger.free_marks(session, log.epoch, self.removed)

    def _last(self, entry: Known) -> EntryKind | None:
        """Return the last mark on an entry that waits."""
        if entry.number in self.added:
            return self.added[entry.number][-1][0]
        waiting = self._waiting.get(entry.number)
        return waiting[-1].kind if waiting else None
