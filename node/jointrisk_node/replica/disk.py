"""One replica on the disk: an LMDB environment with the log of an epoch, and what finds entries in it.

    log         position (8) -> packed entry, as in docs/protocol.md, section 4.8
    points      size (8) -> hash of the chain there, at the end of each segment
    marks       position that is marked (8) || position of the mark (8) -> kind (1)
    unsettled   positions (8) of marks and of appends without a record, from the served size on
    tags        tag (16) -> positions (8) of live appends
    ids         entry id (16) -> position (8) of the live append
    meta        what has been fetched, verified, indexed and is served

A reader has a snapshot: it sees all of a transaction or nothing, also while another is written. Files are 0600 in
folders of 0700. Records are sealed, and who reads the file without an output of the oblivious function learns what the
coordinator knows.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from jointrisk.durable import folder as private_folder
from jointrisk.errors import CorruptError, JointriskError, UnavailableError
from jointrisk.federation.signing import Signed
from jointrisk.listing.log import HASH_LENGTH, SEGMENT, Point
from jointrisk.listing.packed import PACKED_APPEND_LENGTH
from jointrisk.listing.record import ENTRY_ID_LENGTH, RECORD_LENGTH, STAMP_LENGTH
from jointrisk.statedir import sync_directory
from jointrisk_node.replica.chain import Chain

if TYPE_CHECKING:
    from lmdb import _Database

    Table = _Database
    Transaction = lmdb.Transaction[bytes]

REMEDY: Final = "Run `jointrisk node listings rebuild`: it fetches the log again beside this copy."

APPEND_BYTE: Final = 1
DELETED_BYTE: Final = 0x81
ENDING_BYTES: Final = frozenset({2, 5})
"""Tombstone and expiry."""

ID_OF: Final = slice(2, 2 + ENTRY_ID_LENGTH)
TAG_OF: Final = slice(ID_OF.stop, ID_OF.stop + 16)
STAMP_OF: Final = slice(TAG_OF.stop, TAG_OF.stop + STAMP_LENGTH)
"""Where id, tag and stamp are in a packed append with its record."""

_MAP_SIZE = 1 << 38  # address space alone: the file grows with what is in it
_DATA = "data.mdb"
_VERSION = b"1"
_DAMAGED = (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.VersionMismatchError, lmdb.PanicError)


def key_of(position: int) -> bytes:
    """Return a position or a size as it is stored."""
    return position.to_bytes(8)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replica has come.

    Attributes:
        fetched: the point that the entries on the disk lead to; no head signs it yet where it is after `verified`.
        verified: the point of the newest head that the entries lead to.
        indexed: up to where appends are in the indexes.
        served: up to where readers see the log.
    """

    fetched: Point
    verified: Point
    indexed: int
    served: int


class Disk:
    """An open environment. An environment is opened once in a process.

    Args:
        folder: its folder; made where it is missing.
        start: the empty log of this federation and epoch.

    Raises:
        CorruptError: what is there is no replica of this log, or is cut off.
    """

    def __init__(self, folder: Path, start: Point) -> None:
        self.start = start
        self.folder = private_folder(folder)
        with reading_disk():
            self._open()

    def _open(self) -> None:
        self.env = lmdb.open(
            str(self.folder), map_size=_MAP_SIZE, max_dbs=8, mode=0o600, readahead=False, max_readers=1024
        )
        self._require_whole()
        self.log = self.env.open_db(b"log")
        self.points = self.env.open_db(b"points")
        self.marks = self.env.open_db(b"marks")
        self.unsettled = self.env.open_db(b"unsettled")
        self.tags = self.env.open_db(b"tags", dupsort=True, dupfixed=True)
        self.ids = self.env.open_db(b"ids")
        self.meta = self.env.open_db(b"meta")
        self._begin()
        sync_directory(self.folder)

    def _begin(self) -> None:
        """Take an empty environment for this log, and refuse one of another."""
        ours = _VERSION + self.start.hash
        with self.writing() as transaction:
            begun = transaction.get(b"start", db=self.meta)
            if begun is None:
                transaction.put(b"start", ours, db=self.meta)
                self.put_progress(transaction, Progress(self.start, self.start, 0, 0))
        if begun not in {None, ours}:
            self.close()
            raise CorruptError("expected a replica of this epoch's log, got another one", remedy=REMEDY)

    @contextmanager
    def writing(self) -> "Iterator[Transaction]":
        """Write in a transaction, which is on the disk afterwards, or hasn't happened where the block raises."""
        with self.env.begin(write=True) as transaction:
            yield transaction
        missing = self._missing_bytes()
        if missing:  # pages at the end that were given back before they were written
            os.truncate(self._data(), self._data().stat().st_size + missing)

    def _require_whole(self) -> None:
        # A map that is longer than its file ends the process when it is read.
        if self._missing_bytes():
            self.close()
            raise CorruptError("expected a whole replica of the listings, got a file that is cut off", remedy=REMEDY)

    def _missing_bytes(self) -> int:
        pages = self.env.info()["last_pgno"] + 1
        return max(0, pages * self.env.stat()["psize"] - self._data().stat().st_size)

    def _data(self) -> Path:
        return self.folder / _DATA

    def close(self) -> None:
        """Close it; reads that go on elsewhere fail."""
        self.env.close()

    def is_listed(self, tag: bytes) -> bool:
        """Tell whether anything is under a tag: all that most lookups need, so without what costs microseconds.

        Raises:
            CorruptError, UnavailableError: the file cannot be read.
        """
        try:
            with self.env.begin() as transaction:
                return transaction.get(tag, db=self.tags) is not None
        except lmdb.Error as error:
            raise _unreadable(error) from None

    def progress(self, transaction: "Transaction") -> Progress:
        """Return how far it has come, in a transaction."""
        data = transaction.get(b"progress", db=self.meta)
        if data is None or len(data) != 2 * (8 + HASH_LENGTH) + 16:
            raise CorruptError("expected how far the replica has come, got nothing", remedy=REMEDY)
        numbers = [int.from_bytes(data[at : at + 8]) for at in (0, 40, 80, 88)]
        fetched, verified = Point(numbers[0], data[8:40]), Point(numbers[1], data[48:80])
        return Progress(fetched, verified, numbers[2], numbers[3])

    def put_progress(self, transaction: "Transaction", progress: Progress) -> None:
        """Store how far it has come, with a transaction."""
        points = (key_of(point.size) + point.hash for point in (progress.fetched, progress.verified))
        data = b"".join((*points, key_of(progress.indexed), key_of(progress.served)))
        transaction.put(b"progress", data, db=self.meta)

    def live(self, transaction: "Transaction") -> int:
        """Return how many live entries readers see."""
        return int.from_bytes(transaction.get(b"live", db=self.meta) or b"")

    def put_live(self, transaction: "Transaction") -> None:
        """Count the live entries: those in the indexes, as all of them are served now."""
        transaction.put(b"live", key_of(transaction.stat(self.tags)["entries"]), db=self.meta)

    def head(self, transaction: "Transaction", name: bytes) -> Signed | None:
        """Return the head "verified" or "served", in a transaction."""
        data = transaction.get(name, db=self.meta)
        return None if data is None else signed_from_json(data)

    def put_head(self, transaction: "Transaction", name: bytes, signed: Signed) -> None:
        """Store a head, with a transaction."""
        transaction.put(name, signed_to_json(signed), db=self.meta)

    def row(self, transaction: "Transaction", key: bytes) -> bytes:
        """Return a packed entry that is there.

        Raises:
            CorruptError: it is not.
        """
        found: bytes | None = transaction.get(key, db=self.log)
        if not found or (found[0] == APPEND_BYTE and len(found) != PACKED_APPEND_LENGTH):
            raise CorruptError("expected an entry of the log in the replica, got none", remedy=REMEDY)
        return found

    def ended(self, transaction: "Transaction", key: bytes, before: int) -> bool:
        """Tell whether a mark ends the append at a position in a log of a size."""
        return any(kind in ENDING_BYTES for kind in self.marks_on(transaction, key, before))

    def has_marks(self, transaction: "Transaction") -> bool:
        """Tell whether there is any mark."""
        return bool(transaction.stat(self.marks)["entries"])

    def marks_on(self, transaction: "Transaction", key: bytes, before: int) -> Iterator[int]:
        """Yield the kinds of the marks on a position in a log of a size, in their order."""
        cursor = transaction.cursor(self.marks)
        if not cursor.set_range(key):
            return
        for name, kind in cursor:
            if not name.startswith(key) or name[8:] >= key_of(before):
                return
            yield kind[0]

    def point_at(self, transaction: "Transaction", size: int) -> Point:
        """Return the point at a size that has been fetched.

        Raises:
            CorruptError: the entries before it are not there.
        """
        base = size - size % SEGMENT
        digest = transaction.get(key_of(base), db=self.points) if base else self.start.hash
        if digest is None:
            raise CorruptError("expected the end of a segment in the replica, got none", remedy=REMEDY)
        chain = Chain(Point(base, digest))
        chain.take(b"".join(self.row(transaction, key_of(at)) for at in range(base, size)))
        return chain.point


@contextmanager
def reading_disk() -> Iterator[None]:
    """Raise what LMDB cannot read or write as an error of ours.

    Raises:
        CorruptError: the file is not what was written.
        UnavailableError: it cannot be read or written now.
    """
    try:
        yield
    except lmdb.Error as error:
        raise _unreadable(error) from None


def _unreadable(error: lmdb.Error) -> JointriskError:
    name = type(error).__name__
    if isinstance(error, _DAMAGED):
        return CorruptError(f"expected a readable replica of the listings, got {name}", remedy=REMEDY)
    return UnavailableError(
        f"expected to read and write the replica of the listings, got {name}",
        remedy="Check the room on the disk and the permissions of the state directory.",
    )


def signed_to_json(signed: Signed) -> bytes:
    """Return a signed document as it is kept in a file."""
    hexadecimal = {"signature": signed.signature.hex(), "signer": signed.signer.hex()}
    return json.dumps({"kind": signed.kind, "payload": signed.payload.decode("latin-1"), **hexadecimal}).encode()


def signed_from_json(data: bytes) -> Signed:
    """Return a signed document from a file; nothing about it is verified.

    Raises:
        CorruptError: it is none.
    """
    try:
        kept = json.loads(data)
        payload = kept["payload"].encode("latin-1")
        return Signed(kept["kind"], payload, bytes.fromhex(kept["signature"]), bytes.fromhex(kept["signer"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptError("expected a signed head in the replica, got something else", remedy=REMEDY) from None


def record_of(row: bytes) -> bytes:
    """Return the record of a packed append, 89 bytes."""
    return row[1 : 1 + RECORD_LENGTH]
