"""From a verified log to one that readers see: indexing what is live, ending what has ended, and then all at once.

Live appends go into the indexes in the order of the index, a slice in each transaction, so that each page is written
once. Readers pass over what is beyond the size that is served. The last transaction deletes the records that have
ended, and moves that size. A process that is killed in between indexes the same once more, which changes nothing.

The rules on what is live hold for the log as it is at the head (docs/protocol.md, section 4.6).
"""

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from jointrisk.errors import CorruptError
from jointrisk.listing.log import record_hash
from jointrisk.listing.stamp import MOST_ENTRIES
from jointrisk_node.replica.chain import Row
from jointrisk_node.replica.disk import (
    APPEND_BYTE,
    DELETED_BYTE,
    ENDING_BYTES,
    ID_OF,
    STAMP_OF,
    TAG_OF,
    Disk,
    Progress,
    key_of,
    reading_disk,
    record_of,
)

if TYPE_CHECKING:
    from jointrisk_node.replica.disk import Transaction
    from jointrisk_node.replica.gathering import Gathering

PIECE = 1 << 21
"""Entries that are sorted at once: about 100 bytes of memory for each."""

_SLICE = 1 << 16


class Settling:
    """Brings what is served up to what is verified. Methods block.

    Args:
        disk: the replica's files.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def run(self) -> None:
        """Index, end, serve.

        Raises:
            CorruptError: two live appends have one entry id, or one lister has too many under a tag: nothing after
                the head before is served.
        """
        with reading_disk():
            while self._piece():
                pass
            self._serve()

    def _piece(self) -> bool:
        """Index the next piece of the log; return whether there was one."""
        disk = self._disk
        with disk.env.begin() as transaction:
            progress = disk.progress(transaction)
            stop = min(progress.indexed + PIECE, progress.verified.size)
            if stop <= progress.indexed:
                return False
            found = self._gathered(transaction, progress, stop)
        size = progress.verified.size
        for part in found.ids().slices(_SLICE):
            self._put_ids(part, size)
        tags = found.tags()
        for part in tags.slices(_SLICE):
            self._put_tags(part, tags.repeated, size)
        with disk.writing() as writing:
            disk.put_progress(writing, replace(disk.progress(writing), indexed=stop))
        return True

    def _gathered(self, transaction: "Transaction", progress: Progress, stop: int) -> "Gathering":
        """Return the piece's appends that the log does not end."""
        from jointrisk_node.replica.gathering import Gathering  # numpy, which commands that read settings do without

        ended = self._ended_in(transaction, progress, stop)
        cursor = transaction.cursor(self._disk.log)
        cursor.set_range(key_of(progress.indexed))
        rows = islice(cursor, stop - progress.indexed)
        found = Gathering()
        while part := list(islice(rows, _SLICE)):
            found.add(item for item in part if item[1][0] == APPEND_BYTE and item[0] not in ended)
        return found

    def _ended_in(self, transaction: "Transaction", progress: Progress, stop: int) -> set[bytes]:
        """Return which positions of the piece have ended."""
        end, size = key_of(stop), key_of(progress.verified.size)
        cursor = transaction.cursor(self._disk.marks)
        found: set[bytes] = set()
        if not cursor.set_range(key_of(progress.indexed)):
            return found
        for key, kind in cursor:
            if key >= end:
                break
            if kind[0] in ENDING_BYTES and key[8:] < size:
                found.add(key[:8])
        return found

    def _put_ids(self, ids: list[Row], size: int) -> None:
        disk = self._disk
        with disk.writing() as transaction:
            _, added = transaction.cursor(disk.ids).putmulti(ids, overwrite=False)
            if added != len(ids):
                self._settle_ids(transaction, ids, size)

    def _settle_ids(self, transaction: "Transaction", ids: list[Row], size: int) -> None:
        """Look at each id where one was there already: it may be that of an append which the log ends."""
        disk = self._disk
        for entry_id, key in ids:
            there = transaction.get(entry_id, db=disk.ids)
            if there is None or there == key:
                continue
            if not disk.ended(transaction, there, size):
                raise CorruptError(
                    "expected one live entry of an id in the log, got two",
                    remedy="Keep the head: the coordinator has signed a log that breaks the rules.",
                )
            transaction.put(entry_id, key, db=disk.ids)

    def _put_tags(self, tags: list[Row], repeated: set[bytes], size: int) -> None:
        disk = self._disk
        with disk.writing() as transaction:
            cursor = transaction.cursor(disk.tags)
            before = cursor.getmulti([tag for tag, _ in tags]) if transaction.stat(disk.tags)["entries"] else ()
            cursor.putmulti(tags)
            crowded = {tag for tag, _ in before}
            if repeated:
                crowded.update(tag for tag, _ in tags if tag in repeated)
            for tag in crowded:
                self._require_few(transaction, tag, size)

    def _require_few(self, transaction: "Transaction", tag: bytes, size: int) -> None:
        disk = self._disk
        cursor = transaction.cursor(disk.tags)
        if not cursor.set_key(tag) or cursor.count() <= MOST_ENTRIES:
            return
        keys = [key for key in cursor.iternext_dup() if not disk.ended(transaction, key, size)]
        stamps = Counter(disk.row(transaction, key)[STAMP_OF] for key in keys)
        if max(stamps.values(), default=0) > MOST_ENTRIES:
            raise CorruptError(
                f"expected at most {MOST_ENTRIES} live entries of a lister under a tag, got more",
                remedy="Keep the head: the coordinator has signed a log that breaks the rules.",
            )

    def _serve(self) -> None:
        disk = self._disk
        with disk.writing() as transaction:
            progress = disk.progress(transaction)
            self._end(transaction, progress)
            disk.put_progress(transaction, replace(progress, served=progress.verified.size))
            signed = disk.head(transaction, b"verified")
            disk.put_live(transaction)
            if signed is not None:
                disk.put_head(transaction, b"served", signed)

    def _end(self, transaction: "Transaction", progress: Progress) -> None:
        """Delete the records that marks up to the verified size end; forget these marks as unsettled."""
        disk = self._disk
        cursor = transaction.cursor(disk.unsettled)
        while cursor.first() and cursor.key() < key_of(progress.verified.size):
            key = cursor.key()
            row = disk.row(transaction, key)
            if row[0] in ENDING_BYTES:
                self._strip(transaction, row[1:])
            transaction.delete(key, db=disk.unsettled)

    def _strip(self, transaction: "Transaction", key: bytes) -> None:
        """Delete the record of an append that has ended; its hash stays."""
        disk = self._disk
        row = disk.row(transaction, key)
        if row[0] != APPEND_BYTE:
            return
        transaction.delete(row[TAG_OF], key, db=disk.tags)
        if transaction.get(row[ID_OF], db=disk.ids) == key:
            transaction.delete(row[ID_OF], db=disk.ids)
        transaction.put(key, bytes([DELETED_BYTE]) + record_hash(record_of(row)), db=disk.log)
