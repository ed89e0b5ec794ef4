"""The log's chain over packed entries, as fast as Python gets: what `jointrisk.listing.log` says, in one loop.

A test holds the two together. A record is hashed here and never believed by a hash that came with it.
"""

from hashlib import sha256
from typing import Final

from jointrisk.errors import CorruptError, VersionMismatchError
from jointrisk.listing.log import SEGMENT, Point
from jointrisk.listing.packed import PACKED_APPEND_LENGTH, PACKED_DELETED_LENGTH, PACKED_MARK_LENGTH
from jointrisk.listing.record import RECORD_VERSION

Row = tuple[bytes, bytes]
"""A key and what is stored under it."""

_ENTRY: Final = b"jointrisk/v1/listing-entry"
_BODY: Final = b"jointrisk/v1/listing-body"
_APPEND, _DELETED = 1, 0x81
_MARKS = frozenset({2, 3, 4, 5})


class Chain:
    """Follows the chain from a point, and sorts what it meets into rows for the replica's tables.

    Args:
        point: where it begins.

    Attributes:
        point: where it has come to.
        log: position and packed entry, of everything since the last `clear`.
        points: size and hash at the ends of segments.
        marks: marked position and the mark's position, and the mark's kind.
        unsettled: positions of marks and of appends without a record, and nothing.
    """

    def __init__(self, point: Point) -> None:
        self.point = point
        self.clear()

    def clear(self) -> None:
        """Forget the rows, not the point."""
        self.log: list[Row] = []
        self.points: list[Row] = []
        self.marks: list[Row] = []
        self.unsettled: list[Row] = []

    def take(self, data: bytes) -> None:
        """Add whole packed entries.

        Raises:
            CorruptError: there is an unknown kind, a part of an entry, or a mark on what isn't there yet. What was
                before it is taken.
            VersionMismatchError: a record is of a version that is not known here.
        """
        # One loop without calls of our own: this is what bounds a first synchronisation.
        size, digest = self.point
        at, end = 0, len(data)
        keep = self.log.append
        hashed = sha256
        try:
            while at < end:
                kind = data[at]
                key = size.to_bytes(8)
                if kind == _APPEND:
                    row = data[at : at + PACKED_APPEND_LENGTH]
                    if len(row) != PACKED_APPEND_LENGTH or row[1] != RECORD_VERSION:
                        _refuse_record(row)
                    content = b"\1" + hashed(_BODY + row[1:]).digest()
                else:
                    row, content = self._rare(data, at, kind, key)
                digest = hashed(b"".join((_ENTRY, digest, key, content))).digest()
                keep((key, row))
                at += len(row)
                size += 1
                if not size % SEGMENT:
                    self.points.append((size.to_bytes(8), digest))
        finally:
            self.point = Point(size, digest)

    def _rare(self, data: bytes, at: int, kind: int, key: bytes) -> Row:
        """Return the packed entry at a place that is no append with its record, and what the chain covers of it."""
        if kind == _DELETED:
            row = data[at : at + PACKED_DELETED_LENGTH]
            _require_whole(row, PACKED_DELETED_LENGTH)
            self.unsettled.append((key, b""))
            return row, b"\1" + row[1:]
        if kind not in _MARKS:
            raise CorruptError(f"expected an entry of a known kind, got kind {kind}")
        row = data[at : at + PACKED_MARK_LENGTH]
        _require_whole(row, PACKED_MARK_LENGTH)
        if row[1:] >= key:
            raise CorruptError("expected a mark on an earlier entry of the log, got one on itself or a later one")
        self.marks.append((row[1:] + key, row[:1]))
        self.unsettled.append((key, b""))
        return row, row


def _refuse_record(row: bytes) -> None:
    _require_whole(row, PACKED_APPEND_LENGTH)
    raise VersionMismatchError(
        f"expected records of version {RECORD_VERSION} in the log, got another", remedy="Update this node's software."
    )


def _require_whole(row: bytes, length: int) -> None:
    if len(row) != length:
        raise CorruptError("expected whole entries of the log, got a part of one at the end")
