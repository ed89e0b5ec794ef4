"""Records: what is sealed opens for who has the keys, unchanged and in its place, and fails beside the others else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixed_randomness import fixed_randomness
from jointrisk.errors import CorruptError, InvalidInputError, VersionMismatchError
from jointrisk.listing import record as record_module
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.listing.label import Category, Label, Severity
from jointrisk.listing.record import RECORD_LENGTH, Record, Sealed, Unopened, new_entry_id, open_all, open_sealed, seal
from listing_sample import EPOCH, EPOCHS, LABELS, OUTPUTS, UNHURRIED, keys_of, label_of, record_of
from oprf_sample import flipped

KEYS = keys_of("somebody")
RECORD = record_of(KEYS, "first")
ENTRY_IDS = st.binary(min_size=16, max_size=16)
STAMP_BITS = range(8 * 33, 8 * 41)


@UNHURRIED
@given(LABELS, OUTPUTS, EPOCHS, ENTRY_IDS)
def test_what_is_sealed_opens(label: Label, output: bytes, epoch: int, entry_id: bytes) -> None:
    """Another asker, with keys of its own derivation, opens it; a retry seals the same bytes; one size for all."""
    sealed = seal(label, derive(output, epoch), entry_id)
    record = Record(sealed, bytes(8))
    assert len(record.to_bytes()) == RECORD_LENGTH == 89
    assert Record.from_bytes(record.to_bytes()) == record
    assert open_sealed(sealed, derive(output, epoch)) == label
    assert seal(label, derive(output, epoch), entry_id) == sealed


def test_every_flipped_bit_is_noticed_but_the_stamps() -> None:
    """Version, entry id, tag and ciphertext are authentic; the stamp is the coordinator's, and the log covers it."""
    for bit, data in enumerate(flipped(RECORD.to_bytes())):
        if bit < 8:
            with pytest.raises(VersionMismatchError):
                Record.from_bytes(data)
            continue
        opened = open_all([Record.from_bytes(data)], KEYS)
        if bit in STAMP_BITS:
            assert [label for _, label in opened.labels] == [label_of()]
        else:
            assert [reason for _, reason in opened.failed] == [Unopened.NOT_AUTHENTIC]


@pytest.mark.parametrize("changed", [{"epoch": EPOCH + 1}, {"tag": bytes(16)}, {"key": bytes(32)}])
def test_other_keys_open_nothing(changed: dict[str, object]) -> None:
    """Epoch, tag and key each have to be the entry's."""
    with pytest.raises(CorruptError, match="does not open"):
        open_sealed(RECORD.sealed, replace(KEYS, **changed))  # type: ignore[arg-type]


def test_the_witness_opens_nothing() -> None:
    """What the coordinator is shown with an append is of no use as a key."""
    with pytest.raises(CorruptError):
        open_sealed(RECORD.sealed, replace(KEYS, key=KEYS.witness + KEYS.witness))


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_bodies_cannot_be_swapped(data: st.DataObject) -> None:
    """A ciphertext under another entry's id or another person's tag is told as not authentic (*swapped labels*)."""
    persons = [keys_of(name) for name in ("a", "b")]
    one = seal(data.draw(LABELS), data.draw(st.sampled_from(persons)), b"1" * 16)
    other = seal(data.draw(LABELS), data.draw(st.sampled_from(persons)), b"2" * 16)
    for keys in persons:
        for mixed in (replace(one, ciphertext=other.ciphertext), replace(one, tag=keys.tag, entry_id=other.entry_id)):
            assert not open_all([Record(mixed, bytes(8))], keys).labels
        moved = replace(one, tag=keys.tag)
        assert bool(open_all([Record(moved, bytes(8))], keys).labels) == (moved == one)


def test_what_fails_is_told_beside_what_opens() -> None:
    """One bad entry keeps no other from being told, and none is left out."""
    good = [record_of(KEYS, "second", "west-credit"), record_of(KEYS, "third", category=Category.FRAUD)]
    bad = Record(replace(RECORD.sealed, ciphertext=bytes(48)), RECORD.stamp)
    strange = record_of(keys_of("somebody else"), "fourth")
    opened = open_all([bad, good[0], strange, good[1]], KEYS)
    assert [record for record, _ in opened.labels] == good
    assert [label.category for _, label in opened.labels] == [Category.CONFIRMED_DEFAULT, Category.FRAUD]
    assert opened.failed == ((bad, Unopened.NOT_AUTHENTIC), (strange, Unopened.NOT_AUTHENTIC))


def test_nothing_found_is_nothing_failed() -> None:
    """A miss has neither labels nor failures; an entry that fails is no miss."""
    assert open_all([], KEYS) == record_module.Opened((), ())
    assert open_all([record_of(keys_of("somebody else"), "x")], KEYS).failed


def test_a_copy_under_another_stamp_counts_once() -> None:
    """The coordinator can't make one lender two by repeating its entry with a second stamp."""
    copy = replace(RECORD, stamp=bytes(8))
    opened = open_all([RECORD, copy], KEYS)
    assert [record for record, _ in opened.labels] == [RECORD]
    assert opened.failed == ((copy, Unopened.REPEATED),)


def test_a_broken_copy_does_not_hide_the_entry() -> None:
    """A forgery with the id of an entry, put before it, is told and the entry opens."""
    forged = Record(replace(RECORD.sealed, ciphertext=bytes(48)), RECORD.stamp)
    opened = open_all([forged, RECORD], KEYS)
    assert [record for record, _ in opened.labels] == [RECORD]
    assert opened.failed == ((forged, Unopened.NOT_AUTHENTIC),)


@pytest.mark.parametrize(
    ("plaintext", "reason"),
    [
        (b"\2" + bytes(31), Unopened.UNKNOWN_VERSION),
        (b"\1" + bytes(31), Unopened.MALFORMED),
        (label_of().to_bytes()[:-1] + b"x", Unopened.MALFORMED),
    ],
)
def test_what_a_member_seals_in_place_of_a_label_is_told(plaintext: bytes, reason: Unopened) -> None:
    """It opens, and is no label of this version: a reason of its own, beside the others."""
    opened = open_all([Record(_seal_bytes(plaintext, KEYS), bytes(8)), RECORD], KEYS)
    assert [why for _, why in opened.failed] == [reason]
    assert len(opened.labels) == 1


def _seal_bytes(plaintext: bytes, keys: ListingKeys) -> Sealed:
    """Seal what is no label, as a member with a program of its own can."""
    entry_id = b"x" * 16
    cipher, context = record_module._cipher(keys.key, entry_id), record_module._context(keys.epoch, keys.tag, entry_id)
    return Sealed(entry_id, keys.tag, cipher.encrypt(bytes(12), plaintext, context))


@UNHURRIED
@given(LABELS, LABELS, ENTRY_IDS)
def test_an_entry_id_used_twice_shows_equality_alone(one: Label, other: Label, entry_id: bytes) -> None:
    """Two labels under one id, which must not be, still share no part of their ciphertexts unless they are equal."""
    first, second = seal(one, KEYS, entry_id).ciphertext, seal(other, KEYS, entry_id).ciphertext
    assert (first == second) == (one == other)
    assert one == other or first[:16] != second[:16]


def test_entry_ids_are_drawn() -> None:
    """16 bytes of the randomness that is handed in; a source that gives others is refused."""
    assert new_entry_id(fixed_randomness("x")) == fixed_randomness("x")(16)
    with pytest.raises(InvalidInputError, match="an entry id of 16 bytes, got 4"):
        new_entry_id(lambda _: bytes(4))
    with pytest.raises(InvalidInputError, match="an entry id"):
        seal(label_of(), KEYS, bytes(15))


@pytest.mark.parametrize("data", [b"", b"\1", RECORD.to_bytes()[:-1], RECORD.to_bytes() + b"\0"])
def test_records_have_one_length(data: bytes) -> None:
    """Shorter and longer ones are none."""
    with pytest.raises(CorruptError, match=f"expected a record of 89 bytes, got {len(data)}"):
        Record.from_bytes(data)


@pytest.mark.parametrize(
    "changed", [{"entry_id": bytes(15)}, {"tag": bytes(17)}, {"ciphertext": bytes(47)}, {"ciphertext": b""}]
)
def test_parts_of_a_record_have_one_length(changed: dict[str, bytes]) -> None:
    """An append with other lengths is refused where it comes in, and so is another stamp."""
    with pytest.raises(InvalidInputError, match="expected a"):
        replace(RECORD.sealed, **changed)
    with pytest.raises(InvalidInputError, match="a stamp of 8 bytes, got 7"):
        Record(RECORD.sealed, bytes(7))


def test_all_labels_have_one_size() -> None:
    """The size of a record doesn't tell a default from an application."""
    event = record_of(KEYS, "e", category=Category.APPLICATION, severity=Severity.NONE)
    assert len(event.to_bytes()) == len(RECORD.to_bytes())


def test_records_do_not_show_themselves() -> None:
    """A `repr` holds no tag: beside a name in a log, it would say who was asked for."""
    assert repr(RECORD) == "Record(sealed=Sealed())"
