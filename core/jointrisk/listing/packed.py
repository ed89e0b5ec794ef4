"""Entries as they travel: of the log in stretches, and of a lister's append (docs/protocol.md, section 4.8).

    entry of the log    0x01 | record (89)              an append with its record
                        0x81 | record's hash (32)       an append without: deleted, or not asked for
                        kind (1) | position (8)         a mark: 2 tombstone, 3 hold, 4 release, 5 expiry
    entry of an append  entry id (16) | tag (16) | witness (16) | ciphertext (48)

Nothing stands between two entries, so a reader that was cut off goes on after the last whole one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.listing.derive import TAG_LENGTH, WITNESS_LENGTH, require_length
from jointrisk.listing.log import HASH_LENGTH, Entry, EntryKind, record_hash
from jointrisk.listing.record import CIPHERTEXT_LENGTH, ENTRY_ID_LENGTH, RECORD_LENGTH, Sealed

PACKED_APPEND_LENGTH: Final = 1 + RECORD_LENGTH
PACKED_DELETED_LENGTH: Final = 1 + HASH_LENGTH
PACKED_MARK_LENGTH: Final = 1 + 8
OFFERED_LENGTH: Final = ENTRY_ID_LENGTH + TAG_LENGTH + WITNESS_LENGTH + CIPHERTEXT_LENGTH
"""Bytes of one entry in an append: 96."""

MOST_ITEMS: Final = 4096
"""Entries or entry ids of one request, at most."""

_APPEND = EntryKind.APPEND.value
_DELETED = 0x81
_APPEND_BYTE = bytes([_APPEND])
_DELETED_BYTE = bytes([_DELETED])
_MARKS = {kind.value: kind for kind in EntryKind if kind is not EntryKind.APPEND}
_MARK_BYTES = {kind: bytes([byte]) for byte, kind in _MARKS.items()}
_LENGTHS = {_APPEND: PACKED_APPEND_LENGTH, _DELETED: PACKED_DELETED_LENGTH, **dict.fromkeys(_MARKS, PACKED_MARK_LENGTH)}

Packable = tuple[Entry, bytes | None]
"""An entry of the log, and its record where it is there."""


def pack(entries: Iterable[Packable]) -> bytes:
    """Return entries of the log as they are sent, in their order."""
    return b"".join(map(_packed, entries))


def _packed(item: Packable) -> bytes:
    entry, record = item
    if entry.kind is not EntryKind.APPEND:
        return _MARK_BYTES[entry.kind] + entry.content
    return _DELETED_BYTE + entry.content if record is None else _APPEND_BYTE + record


def unpack(data: bytes) -> Iterator[Packable]:
    """Yield the entries of a stretch; the hash of each record is computed here, none is taken from the sender.

    Raises:
        CorruptError: there is an unknown kind, or less than a whole entry at the end. What was yielded before is
            of the stretch.
    """
    at, end = 0, len(data)
    while at < end:
        kind = data[at]
        start = at + 1
        if kind == _APPEND:
            at += PACKED_APPEND_LENGTH
            record = data[start:at]
            item: Packable = Entry(EntryKind.APPEND, record_hash(record), has_body=True), record
        elif kind == _DELETED:
            at += PACKED_DELETED_LENGTH
            item = Entry(EntryKind.APPEND, data[start:at]), None
        elif kind in _MARKS:
            at += PACKED_MARK_LENGTH
            item = Entry(_MARKS[kind], data[start:at]), None
        else:
            raise CorruptError(f"expected an entry of a known kind, got kind {kind}")
        if at > end:
            raise CorruptError("expected whole entries, got a part of one at the end")
        yield item


def starts(data: bytes) -> list[int]:
    """Return where each entry of a stretch begins, without computing a hash.

    Raises:
        CorruptError: there is an unknown kind, or less than a whole entry at the end.
    """
    found, at = [], 0
    try:
        while at < len(data):
            found.append(at)
            at += _LENGTHS[data[at]]
    except KeyError:
        raise CorruptError(f"expected an entry of a known kind, got kind {data[at]}") from None
    if at > len(data):
        raise CorruptError("expected whole entries, got a part of one at the end")
    return found


def without_records(data: bytes, places: Iterable[int] | None = None) -> bytes:
    """Return a stretch with hashes in place of records.

    Args:
        data: whole entries.
        places: the entries whose records go, counted from the stretch's first; None for all. What has no record stays.

    Raises:
        CorruptError: they are no entries.
    """
    at = starts(data)
    chosen = frozenset(range(len(at)) if places is None else places)
    parts = (
        _gone(data[start:end]) if place in chosen else data[start:end]
        for place, (start, end) in enumerate(pairwise([*at, len(data)]))
    )
    return b"".join(parts)


def _gone(packed: bytes) -> bytes:
    return _DELETED_BYTE + record_hash(packed[1:]) if packed[0] == _APPEND else packed


@dataclass(frozen=True, slots=True)
class Offered:
    """An entry as a lister brings it. The `repr` shows nothing of it.

    Attributes:
        sealed: entry id, tag and ciphertext.
        witness: proves that the lister has evaluated the identifier (`jointrisk.listing.derive.fits`).

    Raises:
        InvalidInputError: the witness has another length.
    """

    sealed: Sealed = field(repr=False)
    witness: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_length(self.witness, WITNESS_LENGTH, "a witness")


_WITNESS_AT = ENTRY_ID_LENGTH + TAG_LENGTH
_CIPHERTEXT_AT = _WITNESS_AT + WITNESS_LENGTH


def packed_appends(offered: Iterable[Offered]) -> bytes:
    """Return what `AppendRequest.entries` holds."""
    return b"".join(
        part for one in offered for part in (one.sealed.entry_id, one.sealed.tag, one.witness, one.sealed.ciphertext)
    )


def unpack_appends(data: bytes) -> list[Offered]:
    """Read `AppendRequest.entries`.

    Raises:
        InvalidInputError: there is no entry, a part of one, or more than `MOST_ITEMS`.
    """
    return [_offered(data[at : at + OFFERED_LENGTH]) for at in _places(data, OFFERED_LENGTH, "entries")]


def _offered(data: bytes) -> Offered:
    sealed = Sealed(data[:ENTRY_ID_LENGTH], data[ENTRY_ID_LENGTH:_WITNESS_AT], data[_CIPHERTEXT_AT:])
    return Offered(sealed, data[_WITNESS_AT:_CIPHERTEXT_AT])


def pack_ids(entry_ids: Iterable[bytes]) -> bytes:
    """Return entry ids as requests hold them, 16 bytes each."""
    return b"".join(entry_ids)


def unpack_ids(data: bytes) -> list[bytes]:
    """Read the entry ids of a request.

    Raises:
        InvalidInputError: there is none, a part of one, or more than `MOST_ITEMS`.
    """
    return [data[at : at + ENTRY_ID_LENGTH] for at in _places(data, ENTRY_ID_LENGTH, "entry ids")]


def _places(data: bytes, length: int, what: str) -> range:
    if not data or len(data) % length or len(data) > MOST_ITEMS * length:
        raise InvalidInputError(f"expected 1 to {MOST_ITEMS} {what} of {length} bytes, got {len(data)} bytes")
    return range(0, len(data), length)
