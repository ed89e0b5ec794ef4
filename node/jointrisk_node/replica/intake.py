"""Taking the log in: entries as they come, then the head that signs them. Nobody sees any of it before it is indexed.

Every part is on the disk when `Intake.take` returns, so a synchronisation that is cut off, or whose process is killed,
goes on where it was: the chain proves what came before. What no head signs in the end is dropped.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from jointrisk.errors import CorruptError, JointriskError
from jointrisk.federation.signing import Signed
from jointrisk.listing.head import Head
from jointrisk.listing.log import Point
from jointrisk_node.replica.chain import Chain
from jointrisk_node.replica.disk import DELETED_BYTE, Disk, Progress, key_of, reading_disk

if TYPE_CHECKING:
    from jointrisk_node.replica.disk import Table, Transaction


class Intake:
    """Writes entries of the log to the disk, and verifies them. Methods block.

    Args:
        disk: the replica's files.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def fetched(self) -> Point:
        """Return the point that the entries on the disk lead to."""
        with reading_disk(), self._disk.env.begin() as transaction:
            return self._disk.progress(transaction).fetched

    def take(self, entries: bytes) -> Point:
        """Store the next packed entries; return the point after them.

        Raises:
            CorruptError: they are no entries of a log, or the disk cannot be written. What had come since the last
                head is dropped.
            VersionMismatchError: a record is of a version that is not known here.
        """
        try:
            return self._take(entries)
        except JointriskError:
            self.drop()
            raise

    def _take(self, entries: bytes) -> Point:
        disk = self._disk
        with reading_disk(), disk.writing() as transaction:
            progress = disk.progress(transaction)
            chain = Chain(progress.fetched)
            chain.take(entries)
            for table, rows in ((disk.log, chain.log), (disk.points, chain.points), (disk.unsettled, chain.unsettled)):
                transaction.cursor(table).putmulti(rows, append=True)
            transaction.cursor(disk.marks).putmulti(chain.marks)
            disk.put_progress(transaction, replace(progress, fetched=chain.point))
        return chain.point

    def close(self, signed: Signed, head: Head) -> None:
        """Verify what has come: that it leads to a head, and that no record is kept back.

        Args:
            signed: the head.
            head: the same, verified and of this log.

        Raises:
            CorruptError: it does not lead there, or a record that no entry has ended is missing. What had come since
                the last head is dropped.
        """
        disk = self._disk
        try:
            with reading_disk(), disk.writing() as transaction:
                progress = disk.progress(transaction)
                _require_point(progress.fetched, head.point)
                self._require_records(transaction, progress)
                disk.put_progress(transaction, replace(progress, verified=head.point))
                disk.put_head(transaction, b"verified", signed)
        except JointriskError:
            self.drop()
            raise

    def _require_records(self, transaction: "Transaction", progress: Progress) -> None:
        """Refuse a record that is kept back. Marks are by what they mark, so this takes no memory."""
        disk, missing = self._disk, 0
        cursor = transaction.cursor(disk.unsettled)
        found = cursor.set_range(key_of(progress.verified.size))
        while found:
            key = cursor.key()
            if disk.row(transaction, key)[0] == DELETED_BYTE:
                missing += not disk.ended(transaction, key, progress.fetched.size)
            found = cursor.next()
        if missing:
            raise CorruptError(
                f"expected every record that no entry has ended, got {missing} without a body",
                remedy="All of it is asked for again; if it stays so, the coordinator keeps entries back.",
            )

    def drop(self) -> None:
        """Drop what no head has signed yet."""
        disk = self._disk
        with reading_disk(), disk.writing() as transaction:
            progress = disk.progress(transaction)
            known = key_of(progress.verified.size)
            for key, row in _from(transaction, disk.log, known):
                if len(row) == len(b"\2") + len(key):
                    transaction.delete(row[1:] + key, db=disk.marks)
            _cut(transaction, disk.log, known)
            _cut(transaction, disk.unsettled, known)
            _cut(transaction, disk.points, key_of(progress.verified.size + 1))
            disk.put_progress(transaction, replace(progress, fetched=progress.verified))


def _require_point(fetched: Point, signed: Point) -> None:
    if fetched != signed:
        raise CorruptError(
            f"expected the {signed.size} entries that the log's head signs, got others, {fetched.size}",
            remedy="Keep the head: if another attempt gives the same, the coordinator's log is not what it signed.",
        )


def _from(transaction: "Transaction", table: "Table", key: bytes) -> Iterator[tuple[bytes, bytes]]:
    cursor = transaction.cursor(table)
    return iter(cursor) if cursor.set_range(key) else iter(())


def _cut(transaction: "Transaction", table: "Table", key: bytes) -> None:
    """Delete all rows from a key on."""
    cursor = transaction.cursor(table)
    while cursor.set_range(key):
        transaction.delete(cursor.key(), db=table)
