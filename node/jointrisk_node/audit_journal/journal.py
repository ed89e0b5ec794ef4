"""Records in LMDB, on the disk before anything that they tell of is shown."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from jointrisk.audit import AuditEntry, FieldValue, check_entry
from jointrisk.clock import Clock, utc_now
from jointrisk.errors import CorruptError, InvalidInputError, JointriskError, UnavailableError
from jointrisk.store.audit_log import storable
from jointrisk_node.attempts import attempt
from jointrisk_node.audit_journal.ledger import JournalLedger, JournalRecord

MOVED_AT_ONCE: Final = 64
"""Records in one transaction of the database: so few that nothing else waits long for it."""

_MAP_SIZE = 16 << 30  # of addresses; the file grows as it is needed: a day of 1,000,000 evaluations takes 0.6 GiB
_MOST_DATABASES = 16
_NUMBER_LENGTH = 8
_FILE_MODE = 0o600


class _Waiting(NamedTuple):
    event: str
    fields: Mapping[str, FieldValue]
    done: "asyncio.Future[None]"


class AuditJournal:
    """The journal of one daemon. `append` is for the event loop's thread; everything else is safe from any thread.

    The LMDB environment is open to others, who write records in transactions of their own with `put_in`: what a
    transaction changes, such as a quota, is then on the disk together with the record that tells of it.

    Args:
        path: the folder of the environment, made private when it is missing. One process may have it open.
        ledger: the audit log that records are moved to.
        clock: the time that records carry in their field ``at``.

    Raises:
        UnavailableError: the environment cannot be opened.
    """

    def __init__(self, path: Path, ledger: JournalLedger, clock: Clock = utc_now) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.environment = lmdb.open(
                str(path), map_size=_MAP_SIZE, max_dbs=_MOST_DATABASES, mode=_FILE_MODE, metasync=True, sync=True
            )
        except lmdb.Error as error:
            raise _failed(error) from None
        self._records = self.environment.open_db(b"audit-journal")
        self._ledger = ledger
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._last = max(self._newest(), ledger.moved())

    def put_in(self, transaction: lmdb.Transaction, event: str, fields: Mapping[str, FieldValue]) -> None:
        """Write a record that commits with what else a write transaction of `environment` changes.

        Args:
            transaction: of `environment`, writing.
            event: dotted name, such as ``evaluation.asked``.
            fields: text and integers by name, as `jointrisk.store.AuditLog.append` takes them; ``at`` is added.

        Raises:
            InvalidInputError: the event or a field breaks the form.
            UnavailableError: the environment is full, because nothing has been moved for long.
        """
        self._put(transaction, self._checked(event, fields))

    def _checked(self, event: str, fields: Mapping[str, FieldValue]) -> AuditEntry:
        at = self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        entry = AuditEntry(1, at, event, storable(fields) | {"at": at})
        check_entry(entry)
        return entry

    def _put(self, transaction: lmdb.Transaction, entry: AuditEntry) -> None:
        # One transaction writes at a time, so that numbers grow in the order of commits.
        self._last += 1
        value = json.dumps([entry.event, entry.fields], separators=(",", ":")).encode()
        try:
            transaction.put(self._last.to_bytes(_NUMBER_LENGTH), value, db=self._records, append=True)
        except lmdb.Error as error:
            raise _failed(error) from None

    def write(self, event: str, /, **fields: FieldValue) -> None:
        """Write a record; it is on the disk when this returns. Raises as `put_in`."""
        self._write_all([self._checked(event, fields)])

    async def append(self, event: str, /, **fields: FieldValue) -> None:
        """Write a record; it is on the disk when this returns.

        The loop's own thread writes, after everything that is ready by then: what a caller is about to send has gone
        when the disk is waited for, and all records that have come share one wait. A thread of its own would cost more
        than that, in waiting for Python's lock.

        Raises:
            InvalidInputError: the event or a field breaks the form.
            UnavailableError: the environment is full, because nothing has been moved for long.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(0, self._write_waiting)  # a timer comes after all that is ready, unlike `call_soon`
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(event, fields, done))
        await done

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        sound = [(entry, one.done) for one in waiting if (entry := self._sound(one)) is not None]
        failure: UnavailableError | None = None
        try:
            self._write_all([entry for entry, _ in sound])
        except UnavailableError as error:
            failure = error
        for _, done in sound:
            _end(done, failure)

    def _sound(self, one: _Waiting) -> AuditEntry | None:
        """Return what is to be written; None when who waits has been told that it breaks the form."""
        try:
            return self._checked(one.event, one.fields)
        except InvalidInputError as error:
            _end(one.done, error)
            return None

    def _write_all(self, entries: Sequence[AuditEntry]) -> None:
        try:
            with self.environment.begin(write=True) as transaction:
                for entry in entries:
                    self._put(transaction, entry)
        except lmdb.Error as error:
            raise _failed(error) from None

    # -- into the audit log ----------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """Return how many records have not been moved yet."""
        with self.environment.begin() as transaction:
            return int(transaction.stat(self._records)["entries"])

    def drain(self) -> int:
        """Move all that is in the journal into the audit log; return how many records that were.

        Raises:
            UnavailableError: the database cannot be reached; nothing is lost.
            CorruptError: a record is not what was written; it and what follows stay.
        """
        moved = 0
        while batch := self._read():
            self._delete_up_to(self._ledger.move(batch))
            moved += len(batch)
        return moved

    async def keep_moving(self, *, every: float = 1.0) -> None:
        """Move records again and again.

        Args:
            every: seconds from the end of one turn to the beginning of the next.
        """
        while True:
            await attempt("audit journal", asyncio.to_thread(self.drain))
            await asyncio.sleep(every)

    def close(self) -> None:
        """Move what can be moved, and close the environment; nothing may use it any more."""
        with suppress(JointriskError):  # what stays is moved after the next start
            self.drain()
        self.environment.close()

    def _newest(self) -> int:
        with self.environment.begin(db=self._records) as transaction, transaction.cursor() as cursor:
            return int.from_bytes(cursor.key()) if cursor.last() else 0

    def _read(self) -> list[JournalRecord]:
        with self.environment.begin(db=self._records) as transaction, transaction.cursor() as cursor:
            return [_read(key, value) for key, value in islice(cursor, MOVED_AT_ONCE)]

    def _delete_up_to(self, number: int) -> None:
        with self.environment.begin(write=True, db=self._records) as transaction, transaction.cursor() as cursor:
            found = cursor.first()
            while found and int.from_bytes(cursor.key()) <= number:
                found = cursor.delete()


def _end(done: "asyncio.Future[None]", failure: JointriskError | None) -> None:
    if done.done():  # who waited has been cancelled; the record stays
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


def _read(key: bytes, value: bytes) -> JournalRecord:
    try:
        event, fields = json.loads(value)
    except ValueError:
        raise CorruptError("a record of the audit journal is not what was written") from None
    return JournalRecord(int.from_bytes(key), event, fields)


def _failed(error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the audit journal cannot be written: {type(error).__name__}",
        remedy="Is the disk full? Records wait there until the node's database takes them.",
    )
