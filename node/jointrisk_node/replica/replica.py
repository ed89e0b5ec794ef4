"""The replica of one epoch's log: what a node looks up listings in, without anybody learning of it.

LogSource -> Intake.take -> Intake.close -> Settling.run -> lookup
(on the disk)  (head, records)  (indexes)
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jointrisk.errors import CorruptError
from jointrisk.federation.signing import Signed
from jointrisk.listing.head import Head, read_head
from jointrisk.listing.log import EntryKind, Point, Standing, record_hash
from jointrisk.listing.record import Record
from jointrisk_node.replica.disk import APPEND_BYTE, DELETED_BYTE, REMEDY, Disk, key_of, reading_disk, record_of
from jointrisk_node.replica.intake import Intake
from jointrisk_node.replica.settling import Settling

if TYPE_CHECKING:
    from jointrisk_node.replica.disk import Transaction

_KINDS = {kind.value: kind for kind in EntryKind}


@dataclass(frozen=True, slots=True)
class Found:
    """A live entry under a tag.

    Attributes:
        record: the entry as it was sealed and stamped.
        held: whether it is in dispute.
        position: its place in the log, from 0.
    """

    record: Record
    held: bool
    position: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Served:
    """What readers see: the log at a verified head.

    Attributes:
        signed: the head as it was signed.
        head: the same, read.
    """

    signed: Signed
    head: Head

    def is_older_than(self, moment: datetime) -> bool:
        """Tell whether the head was signed before a moment."""
        return self.head.signed_at < moment


class Replica:
    """One replica, in a folder of its own. `lookup` takes microseconds; all others block.

    Args:
        folder: its folder; made where it is missing.
        federation: this node's federation.
        epoch: the epoch of the log.
        coordinator_key: the pinned key.

    Attributes:
        served: what readers see; None before the first synchronisation.
        intake: takes the log in.

    Raises:
        CorruptError: what is in the folder is no replica of this log.
        UnauthenticatedError: its head is not signed by this coordinator.
    """

    def __init__(self, folder: Path, federation: str, epoch: int, coordinator_key: bytes) -> None:
        self.epoch = epoch
        self._federation = federation
        self._coordinator_key = coordinator_key
        self._disk = Disk(folder, Point.start(federation, epoch))
        self.intake = Intake(self._disk)
        self.served = self._stored()

    def _stored(self) -> Served | None:
        with reading_disk(), self._disk.env.begin() as transaction:
            signed = self._disk.head(transaction, b"served")
            progress = self._disk.progress(transaction)
        if signed is None:
            return None
        served = Served(signed, self.read(signed))
        if served.head.size != progress.served:
            raise CorruptError("expected the head of what the replica serves, got another", remedy=REMEDY)
        return served

    def read(self, signed: Signed) -> Head:
        """Verify and read a head of this log. Raises as `jointrisk.listing.head.read_head`."""
        return read_head(signed, self._coordinator_key, self._federation, self.epoch)

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self._disk.folder

    def close(self) -> None:
        """Close the files; lookups that go on fail."""
        self._disk.close()

    def settle(self) -> Served:
        """Serve what `Intake.close` has verified.

        Raises:
            CorruptError: the log breaks the rules on live entries; what was served before still is.
        """
        Settling(self._disk).run()
        self.served = self._stored()
        if self.served is None:
            raise CorruptError("expected a head to serve the replica up to, got none", remedy=REMEDY)
        return self.served

    def lookup(self, tag: bytes) -> list[Found]:
        """Return the live entries under a tag, in the order of the log.

        Raises:
            CorruptError: the replica cannot be read.
        """
        served = self.served  # before the snapshot: what a later one serves is verified, what an older one served too
        if served is None:
            return []
        disk = self._disk
        if not disk.is_listed(tag):
            return []
        with reading_disk(), disk.env.begin() as transaction:
            end = key_of(served.head.size)
            cursor = transaction.cursor(disk.tags)
            found = cursor.iternext_dup() if cursor.set_key(tag) else ()
            keys = [key for key in found if key < end]
            return [self._found(transaction, key, served.head.size) for key in keys]

    def _found(self, transaction: "Transaction", key: bytes, size: int) -> Found:
        disk = self._disk
        record = Record.from_bytes(record_of(disk.row(transaction, key)))
        standing = Standing.LIVE
        for kind in disk.marks_on(transaction, key, size):
            standing = standing.after(_KINDS[kind])
        return Found(record, standing is Standing.HELD, int.from_bytes(key))

    def live(self) -> int:
        """Return how many entries are live."""
        with reading_disk(), self._disk.env.begin() as transaction:
            return self._disk.live(transaction)

    def stored_bytes(self) -> int:
        """Return how large the file is."""
        return (self.folder / "data.mdb").stat().st_size

    def point_at(self, size: int) -> Point:
        """Return the point of the verified log at a size up to the one that is served.

        Raises:
            CorruptError: the entries are not there.
        """
        with reading_disk(), self._disk.env.begin() as transaction:
            return self._disk.point_at(transaction, size)

    def entries(self, start: int, stop: int) -> bytes:
        """Return entries of the verified log, packed, with hashes in place of records: evidence for others.

        Raises:
            CorruptError: they are not there.
        """
        with reading_disk(), self._disk.env.begin() as transaction:
            rows = (self._disk.row(transaction, key_of(at)) for at in range(start, stop))
            return b"".join(map(_without_record, rows))

    def disk(self) -> Disk:
        """Return the files, for `jointrisk_node.replica.verifying`."""
        return self._disk


def _without_record(row: bytes) -> bytes:
    return bytes([DELETED_BYTE]) + record_hash(record_of(row)) if row[0] == APPEND_BYTE else row
