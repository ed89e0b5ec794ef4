"""Entries as they are sealed, stored and sent.

    record          = version 1 | entry id (16) | tag (16) | lister stamp (8) | ciphertext (48)
    ciphertext      = AES-256-GCM-SIV(record key, zero nonce, label, associated data)       (RFC 8452)
    record key      = HKDF-Expand-SHA256(key, "jointrisk/v1/listing-record" || entry id), 32 bytes
    associated data = version | I2OSP(epoch, 8) | tag | entry id

A zero nonce is right because every record key is for one label: entry ids are drawn at random, one for each entry.
Where one is used again all the same, the cipher shows whether the two labels are equal and nothing else. The stamp is
outside what is sealed: the coordinator sets it; the log's hash covers it.

The cipher does not commit to its key, and need not: a record is only opened with the one key that belongs to its tag.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from jointrisk.errors import CorruptError, VersionMismatchError
from jointrisk.listing.derive import TAG_LENGTH, ListingKeys, epoch_bytes, require_length
from jointrisk.listing.label import LABEL_LENGTH, Label

Randomness = Callable[[int], bytes]
"""Returns as many random bytes as it is asked for; `os.urandom` outside tests."""

RECORD_VERSION: Final = 1
ENTRY_ID_LENGTH: Final = 16
STAMP_LENGTH: Final = 8
CIPHERTEXT_LENGTH: Final = LABEL_LENGTH + 16
RECORD_LENGTH: Final = 1 + ENTRY_ID_LENGTH + TAG_LENGTH + STAMP_LENGTH + CIPHERTEXT_LENGTH
"""Bytes of every record: 89."""

_DOMAIN = b"jointrisk/v1/listing-record"
_VERSION_BYTE = bytes([RECORD_VERSION])
_NONCE = bytes(12)
_SHA256 = SHA256()
_TAG_AT = 1 + ENTRY_ID_LENGTH
_STAMP_AT = _TAG_AT + TAG_LENGTH
_CIPHERTEXT_AT = _STAMP_AT + STAMP_LENGTH


@dataclass(frozen=True, slots=True)
class Sealed:
    """The lister's part of a record.

    Attributes:
        entry_id: names the entry, 16 bytes.
        tag: what it is found under, 16 bytes.
        ciphertext: the sealed label, 48 bytes.

    Raises:
        InvalidInputError: one of them has another length.
    """

    entry_id: bytes = field(repr=False)
    tag: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_length(self.entry_id, ENTRY_ID_LENGTH, "an entry id")
        require_length(self.tag, TAG_LENGTH, "a tag")
        require_length(self.ciphertext, CIPHERTEXT_LENGTH, "a ciphertext")


@dataclass(frozen=True, slots=True)
class Record:
    """An entry as the log holds it: what a lister sealed, and the coordinator's stamp of the lister.

    Attributes:
        sealed: the lister's part; a lister finds its own entries by comparing it.
        stamp: 8 bytes of `jointrisk.listing.stamp.lister_stamp`.

    Raises:
        InvalidInputError: the stamp has another length.
    """

    sealed: Sealed
    stamp: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_length(self.stamp, STAMP_LENGTH, "a stamp")

    def to_bytes(self) -> bytes:
        """Return the record, 89 bytes."""
        sealed = self.sealed
        return b"".join((_VERSION_BYTE, sealed.entry_id, sealed.tag, self.stamp, sealed.ciphertext))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Read a record from the log or the replica.

        Raises:
            VersionMismatchError: it is of a version that is not known here.
            CorruptError: it has another length.
        """
        if data[:1] not in {_VERSION_BYTE, b""}:
            raise VersionMismatchError(
                f"expected a record of version {RECORD_VERSION}, got another", remedy="Update this node's software."
            )
        if len(data) != RECORD_LENGTH:
            raise CorruptError(f"expected a record of {RECORD_LENGTH} bytes, got {len(data)}")
        sealed = Sealed(data[1:_TAG_AT], data[_TAG_AT:_STAMP_AT], data[_CIPHERTEXT_AT:])
        return cls(sealed, data[_STAMP_AT:_CIPHERTEXT_AT])


class Unopened(StrEnum):
    """Why an entry under a tag that was asked for says nothing."""

    NOT_AUTHENTIC = "not_authentic"
    """It was not sealed for this tag, epoch and entry id by somebody who has the key, or was changed since."""
    UNKNOWN_VERSION = "unknown_version"
    """Its label is of a later version."""
    MALFORMED = "malformed"
    """Who sealed it did not seal a label."""
    REPEATED = "repeated"
    """Another entry of the same id has opened: somebody put a copy into the log, with a stamp of its own."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of the records under one tag, each of them in one of the two.

    Attributes:
        labels: those that opened, in the given order.
        failed: those that did not, and why. They are shown to people beside the others: they may be a forgery or a
            defect, and they are not "not found".
    """

    labels: tuple[tuple[Record, Label], ...]
    failed: tuple[tuple[Record, Unopened], ...]


def new_entry_id(randomness: Randomness) -> bytes:
    """Draw the id of an entry, 16 bytes. Who publishes stores it before it is used, so that a retry is the same entry.

    Raises:
        InvalidInputError: the randomness gives another number of bytes.
    """
    entry_id = randomness(ENTRY_ID_LENGTH)
    require_length(entry_id, ENTRY_ID_LENGTH, "an entry id")
    return entry_id


def seal(label: Label, keys: ListingKeys, entry_id: bytes) -> Sealed:
    """Seal a label; the same arguments give the same bytes, so that a retry after a crash is the same append.

    Args:
        label: what the entry says.
        keys: of the identifier that it is listed under.
        entry_id: of `new_entry_id`, for this label under these keys and for nothing else.

    Raises:
        InvalidInputError: the entry id has another length.
    """
    require_length(entry_id, ENTRY_ID_LENGTH, "an entry id")
    context = _context(keys.epoch, keys.tag, entry_id)
    return Sealed(entry_id, keys.tag, _cipher(keys.key, entry_id).encrypt(_NONCE, label.to_bytes(), context))


def open_sealed(sealed: Sealed, keys: ListingKeys) -> Label:
    """Open an entry.

    Raises:
        CorruptError: it was not sealed for this tag, epoch and entry id, was changed since, or holds no label.
        VersionMismatchError: it holds a label of a version that is not known here.
    """
    return Label.from_bytes(_unsealed(sealed, keys))


def open_all(records: Iterable[Record], keys: ListingKeys) -> Opened:
    """Open all records that were found under a tag; one that fails keeps none of the others from being told.

    Args:
        records: what the replica holds under ``keys.tag``.
        keys: of the identifier that was asked about.
    """
    labels: list[tuple[Record, Label]] = []
    failed: list[tuple[Record, Unopened]] = []
    seen: set[bytes] = set()
    for record in records:
        outcome = _outcome(record.sealed, keys)
        if isinstance(outcome, Unopened):
            failed.append((record, outcome))
        elif record.sealed.entry_id in seen:
            failed.append((record, Unopened.REPEATED))
        else:
            seen.add(record.sealed.entry_id)
            labels.append((record, outcome))
    return Opened(tuple(labels), tuple(failed))


def _outcome(sealed: Sealed, keys: ListingKeys) -> Label | Unopened:
    try:
        plaintext = _unsealed(sealed, keys)
    except CorruptError:
        return Unopened.NOT_AUTHENTIC
    try:
        return Label.from_bytes(plaintext)
    except VersionMismatchError:
        return Unopened.UNKNOWN_VERSION
    except CorruptError:
        return Unopened.MALFORMED


def _unsealed(sealed: Sealed, keys: ListingKeys) -> bytes:
    try:
        if sealed.tag == keys.tag:
            context = _context(keys.epoch, sealed.tag, sealed.entry_id)
            return _cipher(keys.key, sealed.entry_id).decrypt(_NONCE, sealed.ciphertext, context)
    except InvalidTag:
        pass
    raise CorruptError("expected an entry that was sealed for this identifier and epoch, got one that does not open")


def _cipher(key: bytes, entry_id: bytes) -> AESGCMSIV:
    # Expand alone: the key is an output of HKDF itself (RFC 5869 section 3.3).
    return AESGCMSIV(HKDFExpand(algorithm=_SHA256, length=32, info=_DOMAIN + entry_id).derive(key))


def _context(epoch: int, tag: bytes, entry_id: bytes) -> bytes:
    return _VERSION_BYTE + epoch_bytes(epoch) + tag + entry_id
