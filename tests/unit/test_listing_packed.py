"""The byte forms in which entries travel: docs/protocol.md, section 4.8."""

from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.listing.log import Entry, EntryKind, Point, extend, record_hash
from jointrisk.listing.packed import (
    MOST_ITEMS,
    Offered,
    Packable,
    pack,
    packed_appends,
    starts,
    unpack,
    unpack_appends,
    unpack_ids,
    without_records,
)
from jointrisk.listing.record import Sealed
from listing_sample import UNHURRIED

START = Point.start("testing", 1)
MARKS = [kind for kind in EntryKind if kind is not EntryKind.APPEND]

_records = st.binary(min_size=89, max_size=89)
ITEMS: st.SearchStrategy[list[Packable]] = st.lists(
    st.one_of(
        _records.map(lambda record: (Entry.append(record), record)),
        st.binary(min_size=32, max_size=32).map(lambda digest: (Entry.deleted(digest), None)),
        st.tuples(st.sampled_from(MARKS), st.integers(0, 2**64 - 1)).map(lambda mark: (Entry.mark(*mark), None)),
    ),
    max_size=12,
)


def test_the_bytes_are_those_of_the_protocol_page() -> None:
    """One of each kind, written out; the hash of a record by other means."""
    record = bytes(range(89))
    items: list[Packable] = [
        (Entry.append(record), record),
        (Entry.deleted(b"\xaa" * 32), None),
        (Entry.mark(EntryKind.EXPIRY, 258), None),
    ]
    packed = b"\x01" + record + b"\x81" + b"\xaa" * 32 + b"\x05" + bytes(6) + b"\x01\x02"
    assert pack(items) == packed
    read = list(unpack(packed))
    assert read == items
    assert read[0][0].content == sha256(b"jointrisk/v1/listing-body" + record).digest()


@UNHURRIED
@given(ITEMS)
def test_what_was_packed_is_read_again(items: list[Packable]) -> None:
    """Entries, records, and what the chain's hash is made of; the beginnings are where the entries are."""
    packed = pack(items)
    assert list(unpack(packed)) == items
    assert [packed[at] for at in starts(packed)] == [pack([item])[0] for item in items]


@UNHURRIED
@given(ITEMS, st.data())
def test_hashes_in_place_of_records_lead_to_the_same_point(items: list[Packable], data: st.DataObject) -> None:
    """Of all entries, or of some: what has no record stays, and the chain doesn't change."""
    packed = pack(items)
    places = data.draw(st.none() | st.sets(st.integers(0, len(items)), max_size=5))
    read = list(unpack(without_records(packed, places)))
    assert extend(START, (entry for entry, _ in read)) == extend(START, (entry for entry, _ in items))
    gone = range(len(items)) if places is None else places
    assert [record for _, record in read] == [None if at in gone else one for at, (_, one) in enumerate(items)]


@pytest.mark.parametrize("read", [lambda data: list(unpack(data)), starts, without_records])
@pytest.mark.parametrize("kind", [0, 6, 0x80, 0x82, 0xFF])
def test_an_unknown_kind_is_no_entry(read: Callable[[bytes], object], kind: int) -> None:
    """Nothing is skipped: a reader would lose its place."""
    with pytest.raises(CorruptError, match=f"kind {kind}"):
        read(bytes([2]) + bytes(8) + bytes([kind]) + bytes(200))


@pytest.mark.parametrize("read", [lambda data: list(unpack(data)), starts, without_records])
@pytest.mark.parametrize("whole", [b"\x01" + bytes(89), b"\x81" + bytes(32), b"\x02" + bytes(8)])
def test_a_part_of_an_entry_is_none(read: Callable[[bytes], object], whole: bytes) -> None:
    """Of each kind, cut by one byte or down to one."""
    for cut in (whole[:-1], whole[:1]):
        with pytest.raises(CorruptError, match="part"):
            read(whole + cut)


def test_an_append_is_read_as_it_was_written() -> None:
    """96 bytes an entry, in the order of the protocol page; nothing of it is shown."""
    data = bytes(range(96)) + bytes(reversed(range(96)))
    first, second = unpack_appends(data)
    assert first == Offered(Sealed(data[:16], data[16:32], data[48:96]), data[32:48])
    assert packed_appends([first, second]) == data
    assert repr(first) == "Offered()"


@pytest.mark.parametrize(("read", "length"), [(unpack_appends, 96), (unpack_ids, 16)])
def test_a_batch_has_whole_items_and_not_too_many(read: Callable[[bytes], list[object]], length: int) -> None:
    """None, a part of one, or one more than 4,096 are refused; 4,096 are taken."""
    assert len(read(bytes(length * MOST_ITEMS))) == 4096
    for wrong in (b"", bytes(length - 1), bytes(length + 1), bytes(length * (MOST_ITEMS + 1))):
        with pytest.raises(InvalidInputError, match="expected 1 to 4096"):
            read(wrong)


def test_a_witness_has_its_length() -> None:
    """An entry with another one cannot be made, so that packed ones stay apart."""
    with pytest.raises(InvalidInputError):
        Offered(Sealed(bytes(16), bytes(16), bytes(48)), bytes(15))


def test_the_hash_is_the_readers_own() -> None:
    """Of a record that is there nobody can send another hash."""
    record = bytes(89)
    ((entry, _),) = unpack(pack([(Entry(EntryKind.APPEND, bytes(32), has_body=True), record)]))
    assert entry.content == record_hash(record)
