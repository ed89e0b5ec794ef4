"""The committed vectors of listings: what the code makes, and what docs/protocol.md says, computed by other means."""

import hmac
import json
import subprocess
import sys
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

import make_listing_vectors

DOCUMENT: dict[str, Any] = json.loads(make_listing_vectors.PATH.read_text())
LOG = DOCUMENT["log"]
TOOL = Path(make_listing_vectors.__file__)
CODES = {
    "category": {"confirmed_default": 1, "fraud": 2, "active_loan": 6},
    "severity": {"none": 0, "low": 1, "high": 3},
    "amount_band": {"not_stated": 0, "5k_to_20k": 3, "from_1m": 7},
    "member_kind": {"bank": 1, "consumer_finance": 2, "other": 5},
}


def mac(key: bytes, *parts: bytes) -> bytes:
    """Return HMAC-SHA256 over the joined parts."""
    return hmac.digest(key, b"".join(parts), "sha256")


def raw(values: dict[str, Any], name: str) -> bytes:
    """Return a value's bytes."""
    return bytes.fromhex(values[name])


def test_the_vectors_are_what_the_code_makes() -> None:
    """``--check`` finds nothing: who changes the bytes of listings has to change this file."""
    subprocess.run([sys.executable, TOOL, "--check"], check=True)


def test_a_changed_file_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One other digit is noticed, and a file that is not there."""
    other = tmp_path / "vectors.json"
    monkeypatch.setattr(make_listing_vectors, "PATH", other)
    monkeypatch.setattr(sys, "argv", ["make_listing_vectors", "--check"])
    with pytest.raises(SystemExit):
        make_listing_vectors.main()
    other.write_text(json.dumps(make_listing_vectors.document(), indent=1) + "\n")
    make_listing_vectors.main()
    other.write_text(other.read_text().replace('"epoch": 7', '"epoch": 8', 1))
    with pytest.raises(SystemExit):
        make_listing_vectors.main()


@pytest.mark.parametrize("values", DOCUMENT["keys"])
def test_keys_are_hkdf_of_the_output(values: dict[str, Any]) -> None:
    """RFC 5869 by hand: extract with 32 zeros, two blocks of expansion; the tag is a hash of the witness."""
    info = b"jointrisk/v1/listing" + values["epoch"].to_bytes(8)
    extracted = mac(bytes(32), raw(values, "output"))
    first = mac(extracted, info, b"\1")
    expanded = first + mac(extracted, first, info, b"\2")
    assert expanded[:48] == raw(values, "witness") + raw(values, "key")
    assert raw(values, "tag") == sha256(raw(values, "witness")).digest()[:16]


@pytest.mark.parametrize("values", DOCUMENT["pseudonyms"])
def test_pseudonyms_are_a_mac_of_the_identifier(values: dict[str, Any]) -> None:
    """Kind, country and canonical form, each after its length."""
    parts = [values[name].encode() for name in ("kind", "country", "canonical")]
    message = b"jointrisk/v1/lister-pseudonym" + b"".join(len(part).to_bytes(2) + part for part in parts)
    assert raw(values, "pseudonym") == mac(raw(values, "secret"), message)[:16]


@pytest.mark.parametrize("values", DOCUMENT["records"])
def test_labels_are_laid_out_as_the_page_says(values: dict[str, Any]) -> None:
    """A version, four codes, two days, a pseudonym, zeros."""
    codes = bytes([1, *(CODES[name][values[name]] for name in CODES)])
    days = [date.fromisoformat(values[name]).toordinal() for name in ("listed_on", "expires_on")]
    written = b"".join((day - date(2000, 1, 1).toordinal()).to_bytes(2) for day in days)
    assert raw(values, "label") == codes + written + raw(values, "pseudonym") + bytes(7)


@pytest.mark.parametrize("values", DOCUMENT["records"])
def test_records_are_sealed_as_the_page_says(values: dict[str, Any]) -> None:
    """The record key, the associated data, and the order of the parts."""
    tag, entry_id = raw(values, "tag"), raw(values, "entry_id")
    key = mac(raw(values, "key"), b"jointrisk/v1/listing-record", entry_id, b"\1")
    context = b"\1" + values["epoch"].to_bytes(8) + tag + entry_id
    assert AESGCMSIV(key).decrypt(bytes(12), raw(values, "ciphertext"), context) == raw(values, "label")
    assert raw(values, "record") == b"\1" + entry_id + tag + raw(values, "stamp") + raw(values, "ciphertext")


@pytest.mark.parametrize("values", DOCUMENT["records"])
def test_stamps_are_a_mac_of_lister_and_tag(values: dict[str, Any]) -> None:
    """With the lister's name after its length."""
    name = values["lister"].encode()
    message = b"jointrisk/v1/lister-stamp" + bytes([len(name)]) + name + raw(values, "tag")
    assert raw(values, "stamp") == mac(raw(values, "stamp_secret"), message)[:8]


def test_the_log_is_a_chain() -> None:
    """From a start that names federation and epoch, each hash covers the one before, the position and the entry."""
    kinds = {"append": 1, "tombstone": 2, "hold": 3, "release": 4, "expiry": 5}
    name = LOG["federation"].encode()
    digest = sha256(b"jointrisk/v1/listing-log" + bytes([len(name)]) + name + LOG["epoch"].to_bytes(8)).digest()
    assert raw(LOG, "start") == digest
    for place, entry in enumerate(LOG["entries"]):
        content = bytes([kinds[entry["kind"]]]) + raw(entry, "content")
        digest = sha256(b"jointrisk/v1/listing-entry" + digest + place.to_bytes(8) + content).digest()
        assert raw(entry, "hash") == digest
    assert {entry["kind"] for entry in LOG["entries"]} == set(kinds)


def test_appends_hold_the_hash_of_their_record() -> None:
    """Of all 89 bytes, the stamp too."""
    appended = [raw(entry, "content") for entry in LOG["entries"] if entry["kind"] == "append"]
    assert appended == [
        sha256(b"jointrisk/v1/listing-body" + raw(one, "record")).digest() for one in DOCUMENT["records"]
    ]


def test_the_head_is_signed() -> None:
    """Over the payload's bytes and what kind of document it is."""
    message = b"jointrisk/v1/document\0listing-head\0" + LOG["head"].encode()
    Ed25519PublicKey.from_public_bytes(raw(LOG, "public_key")).verify(raw(LOG, "signature"), message)
    head = json.loads(LOG["head"])
    assert (head["size"], head["hash"]) == (len(LOG["entries"]), LOG["entries"][-1]["hash"])
