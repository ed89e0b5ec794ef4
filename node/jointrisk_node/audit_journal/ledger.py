"""Moves records of the journal into the audit log."""

from collections.abc import Iterable
from typing import NamedTuple

from jointrisk.audit import FieldValue
from jointrisk.clock import Clock, utc_now
from jointrisk.store import AuditLog, Store
from jointrisk_node.audit_journal.tables import ONLY_ROW, JournalMark


class JournalRecord(NamedTuple):
    """A record that waits to be moved.

    Attributes:
        number: its place in the journal; numbers grow and are never used again.
        event: the dotted name.
        fields: what else is known; ``at`` is when it happened.
    """

    number: int
    event: str
    fields: dict[str, FieldValue]


class JournalLedger:
    """The audit log, and how much of the journal is in it. Methods block on the database; safe from any thread.

    Args:
        store: the node's database.
        audit: the audit log in the same store.
        clock: the time.
    """

    def __init__(self, store: Store, audit: AuditLog, clock: Clock = utc_now) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock

    def moved(self) -> int:
        """Return the number of the last record that is in the audit log; 0 for none."""
        with self._store.reading() as session:
            mark = session.get(JournalMark, ONLY_ROW)
        return mark.number if mark else 0

    def move(self, records: Iterable[JournalRecord]) -> int:
        """Append the records that are not in the audit log yet, all or none; return the last one's number.

        Args:
            records: in order, from the journal.
        """
        with self._store.transaction() as session:
            mark = session.get(JournalMark, ONLY_ROW) or JournalMark(id=ONLY_ROW, number=0, moved_at=self._clock())
            waiting = [record for record in records if record.number > mark.number]
            self._audit.append_all_in(session, [(record.event, record.fields) for record in waiting])
            if waiting:
                mark.number, mark.moved_at = waiting[-1].number, self._clock()
                session.add(mark)
        return mark.number
