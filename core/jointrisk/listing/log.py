"""The log of an epoch's entries: a chain of hashes over records, which may be deleted, and marks that end or hold them.

    hash(0)   = SHA-256("jointrisk/v1/listing-log" || I2OSP(len(federation), 1) || federation || I2OSP(epoch, 8))
    hash(n+1) = SHA-256("jointrisk/v1/listing-entry" || hash(n) || I2OSP(n, 8) || entry(n))
    entry     = 1 || SHA-256("jointrisk/v1/listing-body" || record)    an append
              | kind || I2OSP(position, 8)                             a mark on the append at an earlier position

Positions begin with 0. A *point* of the log is its size and the hash there; each 1,024 entries end a segment, and the
points there are kept, so that any part can be checked by itself and the hash at any size be made again. Marks name
positions rather than entry ids, so that a body that isn't sent can be seen to be justified by a mark.
"""

from collections.abc import Iterable
from enum import Enum, IntEnum
from hashlib import sha256
from typing import Final, NamedTuple, Self

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.names import check_name
from jointrisk.listing.derive import epoch_bytes, require_length

SEGMENT: Final = 1024
"""Entries of a segment."""

HASH_LENGTH: Final = 32

_LOG_DOMAIN = b"jointrisk/v1/listing-log"
_ENTRY_DOMAIN = b"jointrisk/v1/listing-entry"
_BODY_DOMAIN = b"jointrisk/v1/listing-body"
_POSITION_LENGTH = 8


class EntryKind(IntEnum):
    """What an entry of the log does; the number is its byte."""

    APPEND = 1
    TOMBSTONE = 2
    """Withdrawn by its lister, or replaced by a correction."""
    HOLD = 3
    """In dispute: still told, as disputed."""
    RELEASE = 4
    """The dispute has ended, and the entry stays."""
    EXPIRY = 5
    """Not renewed before the horizon."""


_KIND_BYTES = {kind: bytes([kind]) for kind in EntryKind}
_ENDING = frozenset({EntryKind.TOMBSTONE, EntryKind.EXPIRY})


class Standing(Enum):
    """How an append stands after the marks on it."""

    LIVE = "live"
    HELD = "held"
    ENDED = "ended"

    def after(self, mark: EntryKind) -> "Standing":
        """Return the standing after one more mark. What has ended stays so; a mark that changes nothing is allowed.

        Raises:
            InvalidInputError: an append is no mark.
        """
        if mark is EntryKind.APPEND:
            raise InvalidInputError("expected a mark, got an append")
        if self is Standing.ENDED or mark in _ENDING:
            return Standing.ENDED
        return Standing.HELD if mark is EntryKind.HOLD else Standing.LIVE


class Entry(NamedTuple):
    """One entry of the log; made by `append`, `deleted`, `mark`.

    Attributes:
        kind: what it does.
        content: of an append the hash of its record, 32 bytes; of a mark the position that it is about, 8 bytes.
        has_body: the record of an append was there to be hashed.
    """

    kind: EntryKind
    content: bytes
    has_body: bool = False

    def __repr__(self) -> str:
        return f"Entry({self.kind.name})"

    @classmethod
    def append(cls, record: bytes) -> Self:
        """Return the append of a record, whose bytes are hashed here."""
        return cls(EntryKind.APPEND, record_hash(record), has_body=True)

    @classmethod
    def deleted(cls, digest: bytes) -> Self:
        """Return an append whose record is gone, by the record's hash.

        Raises:
            InvalidInputError: the hash has another length.
        """
        require_length(digest, HASH_LENGTH, "a record's hash")
        return cls(EntryKind.APPEND, digest)

    @classmethod
    def mark(cls, kind: EntryKind, position: int) -> Self:
        """Return a mark on the append at a position.

        Raises:
            InvalidInputError: the kind is an append's, or the position out of range.
        """
        if kind is EntryKind.APPEND or not 0 <= position < 1 << (8 * _POSITION_LENGTH):
            raise InvalidInputError("expected a mark on a position of 8 bytes")
        return cls(kind, position.to_bytes(_POSITION_LENGTH))

    @property
    def position(self) -> int:
        """The position that a mark is about.

        Raises:
            InvalidInputError: it is an append.
        """
        if self.kind is EntryKind.APPEND:
            raise InvalidInputError("expected a mark, got an append")
        return int.from_bytes(self.content)


def record_hash(record: bytes) -> bytes:
    """Return the hash of a record, 32 bytes: what stays of it when it is deleted.

    It tells nothing about the record to who hasn't seen it: a random entry id and a lister's pseudonym are in it.
    """
    return sha256(_BODY_DOMAIN + record).digest()


class Point(NamedTuple):
    """Where a log stands.

    Attributes:
        size: how many entries it has.
        hash: the chain's hash there, 32 bytes.
    """

    size: int
    hash: bytes

    @classmethod
    def start(cls, federation: str, epoch: int) -> Self:
        """Return the empty log of an epoch.

        Raises:
            InvalidInputError: the name is none, or the epoch out of range.
        """
        name = check_name(federation, "federation").encode("ascii")
        return cls(0, sha256(_LOG_DOMAIN + bytes([len(name)]) + name + epoch_bytes(epoch)).digest())

    def then(self, entry: Entry) -> "Point":
        """Return the point after one more entry."""
        size, digest = self
        kind, content, _ = entry
        position = size.to_bytes(_POSITION_LENGTH)
        return Point(size + 1, sha256(_ENTRY_DOMAIN + digest + position + _KIND_BYTES[kind] + content).digest())

    @property
    def ends_segment(self) -> bool:
        """Whether it is one of the points to keep: at each 1,024 entries, and the start."""
        return self.size % SEGMENT == 0


def extend(point: Point, entries: Iterable[Entry]) -> Point:
    """Return the point after some entries: of the segment before a size, the hash at that size."""
    for entry in entries:
        point = point.then(entry)
    return point


class Stretch:
    """Verifies a stretch of the log as it comes, from a point that is known to one that is signed.

    Feed every entry to `take`, then call `end`; before `end` returns, nothing of it is served. A reader thereby knows
    that the stretch is the one that the coordinator signed, and that no record in it is kept back: a record may only
    be missing where a later entry up to the head ends it.

    Args:
        known: the point that the reader has verified before, or `Point.start`. Or the point and the missing records
            of a stretch that was cut off, also where the head is a newer one now: the chain proves what went before.
        target: the point in a verified head.
        missing: positions of appends that came without their records and nothing has ended yet.

    Attributes:
        point: where it has come to.
        missing: as above, now.

    Raises:
        InvalidInputError: the target is before the known point: the log of an older head, which is no stretch.
    """

    def __init__(self, known: Point, target: Point, missing: Iterable[int] = ()) -> None:
        if target.size < known.size:
            raise InvalidInputError("expected a head at or after what is known, got an older one")
        self.point = known
        self._target = target
        self.missing = set(missing)

    def take(self, entry: Entry) -> Point:
        """Add the next entry; return the point after it.

        Raises:
            CorruptError: there are more entries than the head signs, or a mark is about what isn't there yet.
        """
        if self.point.size >= self._target.size:
            raise CorruptError(f"expected {self._target.size} entries, as the log's head says, got more")
        if entry.kind is EntryKind.APPEND:
            if not entry.has_body:
                self.missing.add(self.point.size)
        else:
            self._mark(entry)
        self.point = self.point.then(entry)
        return self.point

    def _mark(self, entry: Entry) -> None:
        if entry.position >= self.point.size:
            raise CorruptError("expected a mark on an earlier entry of the log, got one on itself or a later one")
        if entry.kind in _ENDING:
            self.missing.discard(entry.position)

    def end(self) -> Point:
        """Return the point, now verified.

        Raises:
            CorruptError: the entries are fewer or others than the head signs, or a record that nothing has ended is
                missing.
        """
        if self.point != self._target:
            raise CorruptError(
                f"expected the {self._target.size} entries that the log's head signs, got others, {self.point.size}",
                remedy="Keep the head: if another attempt gives the same, the coordinator's log is not what it signed.",
            )
        if self.missing:
            raise CorruptError(
                f"expected every record that no entry has ended, got {len(self.missing)} without a body",
                remedy="Ask again up to the newest head; if it stays so, the coordinator keeps entries back.",
            )
        return self.point
