"""Make tests/vectors/listing.json, or fail when it is not what the code makes (``--check``).

Who writes another lister, coordinator or reader can test each step of docs/protocol.md, section 4. All bytes are in
hexadecimal.
"""

import argparse
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fixed_randomness import fixed_randomness
from jointrisk.federation.signing import public_bytes
from jointrisk.identifiers import Identifier, canonicalise
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.listing.head import sign_head
from jointrisk.listing.label import AmountBand, Category, Label, MemberKind, Severity
from jointrisk.listing.log import Entry, EntryKind, Point
from jointrisk.listing.pseudonym import lister_pseudonym
from jointrisk.listing.record import Record, new_entry_id, seal
from jointrisk.listing.stamp import lister_stamp

PATH = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "listing.json"

FEDERATION = "vectors"
EPOCH = 7
LISTERS = ("east-bank", "west-credit", "east-bank")

_SECRET = fixed_randomness("lister")(32)
_STAMP_SECRET = fixed_randomness("coordinator")(32)
_PRIMARY = canonicalise("resident_id", "CN", "11010519491231002X")
_PERSONS = (_PRIMARY, canonicalise("phone", "CN", "+86 138 0013 8000"), canonicalise("passport", "GB", "925076473"))
_RULES = (
    (Category.CONFIRMED_DEFAULT, Severity.HIGH, AmountBand.UNDER_20K, MemberKind.BANK),
    (Category.ACTIVE_LOAN, Severity.NONE, AmountBand.FROM_1M, MemberKind.CONSUMER_FINANCE),
    (Category.FRAUD, Severity.LOW, AmountBand.NOT_STATED, MemberKind.OTHER),
)
_DAYS = (
    (date(2026, 1, 31), date(2031, 1, 31)),
    (date(2000, 1, 1), date(2000, 1, 2)),
    (date(2026, 2, 1), date(2036, 2, 2)),
)


def main() -> None:
    """Write the vectors, or compare them with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is another")
    text = json.dumps(document(), indent=1) + "\n"
    if not parser.parse_args().check:
        PATH.write_text(text, encoding="utf-8")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        sys.exit(f"{PATH.name} is not what the code makes: find out what changed; it may break every federation")


def document() -> dict[str, Any]:
    """Return everything that the file holds."""
    outputs = [fixed_randomness(f"output {number}")(64) for number in range(2)]
    keys = [derive(output, epoch) for output in outputs for epoch in (0, EPOCH)]
    records = _records(keys[1])
    return {
        "suite": "docs/protocol.md, section 4: HKDF-SHA256, HMAC-SHA256, AES-256-GCM-SIV, SHA-256, Ed25519",
        "source": "tools/make_listing_vectors.py",
        "keys": [_keys(outputs[place // 2], made) for place, made in enumerate(keys)],
        "pseudonyms": [_pseudonym(person) for person in _PERSONS],
        "records": [_record(keys[1], *row) for row in zip(_labels(), LISTERS, records, strict=True)],
        "log": _log(records),
    }


def _keys(output: bytes, made: ListingKeys) -> dict[str, Any]:
    return {
        "output": output.hex(),
        "epoch": made.epoch,
        "witness": made.witness.hex(),
        "key": made.key.hex(),
        "tag": made.tag.hex(),
    }


def _pseudonym(person: Identifier) -> dict[str, str]:
    return {
        "secret": _SECRET.hex(),
        "kind": person.kind.value,
        "country": person.country,
        "canonical": person.canonical,
        "pseudonym": lister_pseudonym(_SECRET, person).hex(),
    }


def _labels() -> list[Label]:
    pseudonym = lister_pseudonym(_SECRET, _PRIMARY)
    return [
        Label(category, severity, *days, band, kind, pseudonym)
        for (category, severity, band, kind), days in zip(_RULES, _DAYS, strict=True)
    ]


def _records(keys: ListingKeys) -> list[Record]:
    randomness = fixed_randomness("entry ids")
    stamps = [lister_stamp(_STAMP_SECRET, lister, keys.tag) for lister in LISTERS]
    sealed = [seal(label, keys, new_entry_id(randomness)) for label in _labels()]
    return [Record(*row) for row in zip(sealed, stamps, strict=True)]


def _record(keys: ListingKeys, label: Label, lister: str, record: Record) -> dict[str, Any]:
    return {
        "epoch": keys.epoch,
        "key": keys.key.hex(),
        "tag": keys.tag.hex(),
        "entry_id": record.sealed.entry_id.hex(),
        "category": label.category.value,
        "severity": label.severity.value,
        "amount_band": label.amount_band.value,
        "member_kind": label.member_kind.value,
        "listed_on": label.listed_on.isoformat(),
        "expires_on": label.expires_on.isoformat(),
        "pseudonym": label.pseudonym.hex(),
        "label": label.to_bytes().hex(),
        "ciphertext": record.sealed.ciphertext.hex(),
        "lister": lister,
        "stamp_secret": _STAMP_SECRET.hex(),
        "stamp": record.stamp.hex(),
        "record": record.to_bytes().hex(),
    }


def _log(records: list[Record]) -> dict[str, Any]:
    first, second, third = (Entry.append(record.to_bytes()) for record in records)
    marks = [Entry.mark(kind, place) for kind, place in ((EntryKind.HOLD, 0), (EntryKind.TOMBSTONE, 1))]
    last = [Entry.mark(kind, place) for kind, place in ((EntryKind.RELEASE, 0), (EntryKind.EXPIRY, 5))]
    point = Point.start(FEDERATION, EPOCH)
    start, entries = point, []
    for entry in (first, second, *marks, last[0], third, last[1]):
        point = point.then(entry)
        entries.append({"kind": entry.kind.name.lower(), "content": entry.content.hex(), "hash": point.hash.hex()})
    key = Ed25519PrivateKey.from_private_bytes(fixed_randomness("identity key")(32))
    signed = sign_head(FEDERATION, EPOCH, point, datetime(2026, 3, 1, 12, tzinfo=UTC), key)
    return {
        "federation": FEDERATION,
        "epoch": EPOCH,
        "start": start.hash.hex(),
        "entries": entries,
        "public_key": public_bytes(key).hex(),
        "head": signed.payload.decode("utf-8"),
        "signature": signed.signature.hex(),
    }


if __name__ == "__main__":
    main()
