"""The audit chain: its bytes, and what verification finds. Storage is tested in tests/contracts."""

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from jointrisk import audit
from jointrisk.audit import GENESIS, AuditEntry, AuditHead, AuditRecord

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
ENTRY = AuditEntry(1, "2026-03-01T12:00:00.000005Z", "member.joined", {"serial": 7, "member_id": "银行"})
FIELDS = st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=20) | st.integers(), max_size=4)


def log_of(all_fields: list[dict[str, str | int]]) -> list[AuditRecord]:
    """Link records, one a day."""
    records: list[AuditRecord] = []
    for seq, fields in enumerate(all_fields, 1):
        previous = records[-1].hash if records else GENESIS
        entry = AuditEntry(seq, f"2026-03-{seq:02}T00:00:00.000000Z", "test.happened", fields)
        records.append(AuditRecord(entry, previous, audit.link(previous, entry)))
    return records


def heads_of(records: list[AuditRecord]) -> list[AuditHead]:
    """Sign a head for each record."""
    return [audit.sign_head(record, KEY) for record in records]


def test_the_hash_is_as_documented() -> None:
    """Domain, previous hash, canonical entry: whoever has the page can compute it."""
    fields, time = '{"member_id":"银行","serial":7}', "2026-03-01T12:00:00.000005Z"
    written = f'{{"event":"member.joined","fields":{fields},"seq":1,"time":"{time}"}}'
    expected = hashlib.sha256(b"jointrisk/v1/audit-record\x00" + bytes(32) + written.encode()).digest()
    assert audit.link(GENESIS, ENTRY) == expected


def test_the_head_is_signed_as_documented() -> None:
    """Domain and canonical day, hash and place, under Ed25519."""
    record = AuditRecord(ENTRY, GENESIS, audit.link(GENESIS, ENTRY))
    message = f'{{"day":"2026-03-01","hash":"{record.hash.hex()}","seq":1}}'.encode()
    head = audit.sign_head(record, KEY)
    KEY.public_key().verify(head.signature, b"jointrisk/v1/audit-head\x00" + message)
    assert head.signer == PUBLIC


@given(st.lists(FIELDS, max_size=8))
def test_a_sound_log_is_sound(all_fields: list[dict[str, str | int]]) -> None:
    """Whatever the fields hold, with heads or without."""
    records = log_of(all_fields)
    assert audit.verify(records) is None
    assert audit.verify(records, heads_of(records), trusted=[PUBLIC]) is None


@given(st.lists(FIELDS, min_size=1, max_size=8), st.data())
def test_any_change_is_found_where_it_is(all_fields: list[dict[str, str | int]], data: st.DataObject) -> None:
    """A changed entry is named; a dropped or doubled one is named by its place."""
    records = log_of(all_fields)
    heads = heads_of(records)
    place = data.draw(st.integers(0, len(records) - 1))
    record = records[place]
    changed = replace(record, entry=replace(record.entry, event="test.changed"))
    damage = data.draw(st.sampled_from(["change", "drop", "double"]))
    replacement = {"change": [changed], "drop": [], "double": [record, record]}[damage]
    flaw = audit.verify([*records[:place], *replacement, *records[place + 1 :]], heads, trusted=[PUBLIC])
    assert flaw is not None
    assert flaw.seq == place + 1 + (damage == "double")


def test_a_chain_of_another_start_is_told() -> None:
    """The first record follows the fixed beginning, so nothing can be cut from the front."""
    records = log_of([{}, {}, {}])
    flaw = audit.verify([replace(one, entry=replace(one.entry, seq=one.entry.seq - 1)) for one in records[1:]])
    assert flaw is not None
    assert (flaw.seq, flaw.reason) == (1, "record 1 does not follow the record before it")


@pytest.mark.parametrize("signer", [b"", b"short", bytes(32), b"\xff" * 32])
def test_a_head_with_a_malformed_key_is_told(signer: bytes) -> None:
    """Even where someone listed it as trusted, it ends as a flaw and not as an exception."""
    (record,) = log_of([{}])
    flaw = audit.verify([record], [replace(audit.sign_head(record, KEY), signer=signer)], trusted=[signer])
    assert flaw is not None
    assert "not signed" in flaw.reason


def test_a_head_for_nothing_is_told() -> None:
    """A head below the first record, or beside a record with a head, signs nothing that is there."""
    records = log_of([{}, {}])
    head = audit.sign_head(records[0], KEY)
    assert audit.verify(records, [head, head], trusted=[PUBLIC]) is None
    flaw = audit.verify(records, [replace(head, seq=0)], trusted=[PUBLIC])
    assert flaw is not None
