"""Checking a whole replica as it is on the disk: the chain against the signed head, the indexes against the log."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from jointrisk.errors import CorruptError, UnavailableError
from jointrisk.listing.head import Head
from jointrisk.listing.log import Point
from jointrisk_node.replica.chain import Chain, Row
from jointrisk_node.replica.disk import APPEND_BYTE, DELETED_BYTE, ID_OF, REMEDY, TAG_OF, Disk, key_of, reading_disk
from jointrisk_node.replica.replica import Replica

if TYPE_CHECKING:
    from jointrisk_node.replica.disk import Transaction

_SLICE = 4096


@dataclass(frozen=True, slots=True)
class Verified:
    """What has been checked, all of it sound.

    Attributes:
        epoch: the epoch of the log.
        size: how many entries it has.
        live: how many of them can be found.
        hash: the head's hash, which the entries on the disk lead to.
        signed_at: when the coordinator signed it.
    """

    epoch: int
    size: int
    live: int
    hash: bytes
    signed_at: datetime


def verify(replica: Replica) -> Verified:
    """Check every entry of a replica; takes seconds for a million.

    Raises:
        UnavailableError: nothing has been synchronised yet.
        CorruptError: the disk holds something else than the coordinator signed, or an index is not the log's.
        UnauthenticatedError: the head is not signed by the coordinator.
    """
    disk = replica.disk()
    with reading_disk(), disk.env.begin() as transaction:
        signed = disk.head(transaction, b"served")
        if signed is None:
            raise UnavailableError(f"the replica of epoch {replica.epoch} has not been synchronised yet")
        head = replica.read(signed)
        live = _Walk(disk, transaction, head).run()
    return Verified(replica.epoch, head.size, live, head.hash, head.signed_at)


class _Walk:
    """One pass over the log, in one snapshot."""

    def __init__(self, disk: Disk, transaction: "Transaction", head: Head) -> None:
        self._disk = disk
        self._transaction = transaction
        self._head = head
        self._tags = transaction.cursor(disk.tags)

    def run(self) -> int:
        chain, live = Chain(self._disk.start), 0
        rows = self._rows()
        while part := list(islice(rows, _SLICE)):
            live += sum(self._is_live(key, row) for key, row in part)
            chain.take(b"".join(row for _, row in part))
            self._require_points(chain)
            chain.clear()
        self._require_head(chain.point)
        self._require_count(live)
        return live

    def _rows(self) -> Iterator[Row]:
        end = key_of(self._head.size)
        for key, row in self._transaction.cursor(self._disk.log):
            if key >= end:
                return
            yield key, row

    def _is_live(self, key: bytes, row: bytes) -> bool:
        """Tell whether an entry is a live append, after checking that it is found, or rightly is not."""
        disk, size = self._disk, self._head.size
        if row[0] not in {APPEND_BYTE, DELETED_BYTE}:
            return False
        has_record = row[0] == APPEND_BYTE
        if has_record == (disk.has_marks(self._transaction) and disk.ended(self._transaction, key, size)):
            raise CorruptError("expected records of live entries and of no others in the replica", remedy=REMEDY)
        if has_record and not self._is_indexed(key, row):
            raise CorruptError("expected every live entry in the replica's indexes, got one missing", remedy=REMEDY)
        return has_record

    def _is_indexed(self, key: bytes, row: bytes) -> bool:
        found = self._tags.set_key_dup(row[TAG_OF], key)
        return bool(found) and self._transaction.get(row[ID_OF], db=self._disk.ids) == key

    def _require_points(self, chain: Chain) -> None:
        for size, digest in chain.points:
            if self._transaction.get(size, db=self._disk.points) != digest:
                raise CorruptError("expected the chain's hashes at the ends of segments, got others", remedy=REMEDY)

    def _require_head(self, point: Point) -> None:
        if point != self._head.point:
            raise CorruptError(
                f"expected the {self._head.size} entries that the log's head signs on the disk, got others",
                remedy=REMEDY,
            )

    def _require_count(self, live: int) -> None:
        for table in (self._disk.tags, self._disk.ids):
            indexed = self._transaction.stat(table)["entries"]
            if indexed < live or (indexed > live and self._is_all()):
                raise CorruptError(f"expected {live} entries in an index of the replica, got {indexed}", remedy=REMEDY)

    def _is_all(self) -> bool:
        """Whether nothing can be indexed beyond what is served."""
        return self._disk.progress(self._transaction).verified.size == self._head.size
