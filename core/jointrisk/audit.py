"""The audit chain, pure: each hash covers the hash before it, a signed head covers everything up to it.

    hash(n) = SHA-256("jointrisk/v1/audit-record" NUL hash(n-1) canonical_json({event, fields, seq, time}))
    head    = Ed25519("jointrisk/v1/audit-head" NUL canonical_json({day, hash, seq}))

The hash before the first record is 32 zero bytes. Nobody who cannot sign can change, drop, add or reorder a
record up to a head without `verify` naming the place; after the last head that holds for whoever kept a later
hash.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from jointrisk.canonical import canonical_json
from jointrisk.errors import InvalidInputError
from jointrisk.sensitive import is_sensitive

GENESIS: Final = bytes(32)
"""The hash before the first record."""

FieldValue = str | int
"""What a field of a record can hold; bool is an int."""

_RECORD_DOMAIN = b"jointrisk/v1/audit-record\x00"
_HEAD_DOMAIN = b"jointrisk/v1/audit-head\x00"
_EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_LONGEST_NAME = 100
LONGEST_TEXT: Final = 1000
"""Characters that a field's text can have."""
_LARGEST_INT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What happened.

    Attributes:
        seq: place in the log, from 1, without gaps.
        time: RFC 3339 in UTC, to the microsecond.
        event: dotted name, such as ``membership.member_removed``.
        fields: what else is known, by name; no identifier, label, score, key or secret.
    """

    seq: int
    time: str
    event: str
    fields: Mapping[str, FieldValue]


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry in its chain, with the hashes as they are stored."""

    entry: AuditEntry
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditHead:
    """A signed statement of how the log ended on a day.

    Attributes:
        day: the UTC day of the last record, such as ``2026-03-01``.
        seq: the last record's place.
        hash: the last record's hash.
        signer: the raw Ed25519 public key of who signed.
        signature: over day, seq and hash.
    """

    day: str
    seq: int
    hash: bytes
    signer: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class AuditFlaw:
    """Where a log is not what was written: the place of the first bad record, and what is wrong with it."""

    seq: int
    reason: str


def check_entry(entry: AuditEntry) -> None:
    """Refuse an entry that breaks the form, before it is written.

    Raises:
        InvalidInputError: the event is no dotted name, a field's name is sensitive or malformed, or a value
            is neither a short text nor a 64-bit integer.
    """
    if not _EVENT.fullmatch(entry.event) or len(entry.event) > _LONGEST_NAME:
        raise InvalidInputError('expected a dotted event name such as "membership.member_removed"')
    if not _TIME.fullmatch(entry.time):
        raise InvalidInputError("expected an RFC 3339 time in UTC with microseconds")
    for name, value in entry.fields.items():
        _check_field(name, value)


@lru_cache(maxsize=4096)  # the same few names come again and again
def _check_name(name: str) -> None:
    if not _FIELD.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise InvalidInputError("expected an audit field's name in lower case letters, digits and underscores")
    if is_sensitive(name):
        raise InvalidInputError(f"expected no sensitive field in an audit record, got {name}")


def _check_field(name: str, value: object) -> None:
    _check_name(name)
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise InvalidInputError(f"{name}: expected at most {LONGEST_TEXT} characters, got {len(value)}")
    elif not isinstance(value, int) or abs(value) > _LARGEST_INT:
        raise InvalidInputError(f"{name}: expected text or a 64-bit integer, got a {type(value).__name__}")


def link(previous: bytes, entry: AuditEntry) -> bytes:
    """Return the hash (32 bytes) of ``entry`` in a chain whose last hash is ``previous``."""
    written = canonical_json({"event": entry.event, "fields": dict(entry.fields), "seq": entry.seq, "time": entry.time})
    return hashlib.sha256(_RECORD_DOMAIN + previous + written).digest()


def sign_head(last: AuditRecord, key: Ed25519PrivateKey) -> AuditHead:
    """Sign how the log ends with ``last``."""
    day = day_of(last.entry.time)
    signature = key.sign(_head_message(day, last.entry.seq, last.hash))
    return AuditHead(day, last.entry.seq, last.hash, key.public_key().public_bytes_raw(), signature)


def day_of(time: str) -> str:
    """Return the day of a record's time."""
    return time[:10]


def _head_message(day: str, seq: int, digest: bytes) -> bytes:
    return _HEAD_DOMAIN + canonical_json({"day": day, "hash": digest.hex(), "seq": seq})


class ChainVerifier:
    """Checks a log record by record, in constant memory.

    Feed every record to `record` and, right after the record that it signs, every head to `head`; then call
    `end`. Each returns the flaw that it found, or None; after a flaw the rest says nothing.

    Args:
        trusted: the public keys (raw, 32 bytes) whose heads count.
    """

    def __init__(self, trusted: Collection[bytes]) -> None:
        self.records = 0
        self.heads = 0
        self.last_hash = GENESIS
        self._trusted = frozenset(trusted)
        self._last_time = ""

    def record(self, record: AuditRecord) -> AuditFlaw | None:
        """Check the next record."""
        expected = self.records + 1
        if record.entry.seq != expected:
            return AuditFlaw(expected, f"record {expected} is missing, {record.entry.seq} follows")
        if record.previous != self.last_hash:
            return AuditFlaw(expected, f"record {expected} does not follow the record before it")
        if link(record.previous, record.entry) != record.hash:
            return AuditFlaw(expected, f"record {expected} is not what was written")
        self.records, self.last_hash, self._last_time = expected, record.hash, record.entry.time
        return None

    def head(self, head: AuditHead) -> AuditFlaw | None:
        """Check a head; its record must have been the last one fed."""
        if head.seq > self.records:
            return AuditFlaw(self.records + 1, f"records after {self.records} are missing: a head signs {head.seq}")
        if (head.seq, head.hash, head.day) != (self.records, self.last_hash, day_of(self._last_time)):
            return AuditFlaw(head.seq, f"record {head.seq} is not the one that the head of {head.day} signs")
        if not _is_signed(head, self._trusted):
            return AuditFlaw(head.seq, f"the head of {head.day} is not signed by a trusted key")
        self.heads += 1
        return None


def _is_signed(head: AuditHead, trusted: Collection[bytes]) -> bool:
    if head.signer not in trusted:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(head.signer)
        key.verify(head.signature, _head_message(head.day, head.seq, head.hash))
    except (InvalidSignature, ValueError):
        return False
    return True


def verify(
    records: Iterable[AuditRecord], heads: Iterable[AuditHead] = (), *, trusted: Collection[bytes] = ()
) -> AuditFlaw | None:
    """Check a whole log, streamed: records in order, heads in order of what they sign.

    Returns:
        The first flaw, or None.
    """
    return run(ChainVerifier(trusted), records, heads)


def run(verifier: ChainVerifier, records: Iterable[AuditRecord], heads: Iterable[AuditHead]) -> AuditFlaw | None:
    """Feed a verifier; return the first flaw or None."""
    waiting = iter(heads)
    head = next(waiting, None)
    for record in records:
        if flaw := verifier.record(record):
            return flaw
        while head is not None and head.seq <= record.entry.seq:
            if flaw := verifier.head(head):
                return flaw
            head = next(waiting, None)
    return verifier.head(head) if head is not None else None
