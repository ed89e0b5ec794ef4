"""From a verified log to one that readers see: indexing what is live, ending what has ended, and then all at once.

Appends go into the indexes in chunks, each a transaction, in the order of the index: a chunk touches each page once.
Readers pass over what is beyond the size that is served. The last transaction deletes the records that have ended, and
moves that size. A process that is killed in between goes on with the next chunk.

The rules on what is live hold for the log as it is at the head (docs/protocol.md, section 4.6).
"""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
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

CHUNK = 1 << 16
"""Entries that are indexed in one transaction."""


class Settling:
    """Brings what is served up to what is verified. Methods block.

    Args:
        disk: the replica's files.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def run(self) -> int:
        """Index, end, serve; return the size that is served now.

        Raises:
            CorruptError: two live appends have one entry id, or one lister has too many under a tag: nothing after
                the head before is served.
        """
        with reading_disk():
            while self._chunk():
                pass
            return self._serve()

    def _chunk(self) -> bool:
        """Index the next chunk; return whether there was one."""
        disk = self._disk
        with disk.env.begin(write=True) as transaction:
            progress = disk.progress(transaction)
            stop = min(progress.indexed + CHUNK, progress.verified.size)
            if stop <= progress.indexed:
                return False
            self._index(transaction, self._live(transaction, progress, stop), progress.verified.size)
            disk.put_progress(transaction, replace(progress, indexed=stop))
        return True

    def _live(self, transaction: "Transaction", progress: Progress, stop: int) -> list[Row]:
        """Return position and packed entry of the chunk's appends that the log does not end."""
        disk = self._disk
        ended = self._ended_in(transaction, progress, stop)
        cursor = transaction.cursor(disk.log)
        cursor.set_range(key_of(progress.indexed))
        end = key_of(stop)
        found = []
        for key, row in cursor:
            if key >= end:
                break
            if row[0] == APPEND_BYTE and key not in ended:
                found.append((key, row))
        return found

    def _ended_in(self, transaction: "Transaction", progress: Progress, stop: int) -> set[bytes]:
        """Return which positions of the chunk have ended."""
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

    def _index(self, transaction: "Transaction", live: list[Row], size: int) -> None:
        disk = self._disk
        ids = sorted([(row[ID_OF], key) for key, row in live])
        _, added = transaction.cursor(disk.ids).putmulti(ids, overwrite=False)
        if added != len(ids):
            self._settle_ids(transaction, ids, size)
        tags = sorted([(row[TAG_OF], key) for key, row in live])
        crowded = self._crowded(transaction, [tag for tag, _ in tags])
        transaction.cursor(disk.tags).putmulti(tags)
        for tag in crowded:
            self._require_few(transaction, tag, size)

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

    def _crowded(self, transaction: "Transaction", tags: list[bytes]) -> set[bytes]:
        """Return the tags that the chunk gives a further entry, of all tags of a chunk in order."""
        again = {one for one, after in pairwise(tags) if one == after}
        again.update(tag for tag, _ in transaction.cursor(self._disk.tags).getmulti(tags))
        return again

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

    def _serve(self) -> int:
        disk = self._disk
        with disk.env.begin(write=True) as transaction:
            progress = disk.progress(transaction)
            self._end(transaction, progress)
            disk.put_progress(transaction, replace(progress, served=progress.verified.size))
            signed = disk.head(transaction, b"verified")
            if signed is not None:
                disk.put_head(transaction, b"served", signed)
        return progress.verified.size

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
