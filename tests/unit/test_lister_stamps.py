"""Stamps: the coordinator's word on which lender lists, and how many lenders that makes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixed_randomness import fixed_randomness
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.listing.derive import ListingKeys
from jointrisk.listing.label import Label
from jointrisk.listing.record import Record
from jointrisk.listing.stamp import distinct_listers, distinct_listers_of_person, lister_stamp, one_stamp_each
from listing_sample import STAMP_SECRET, UNHURRIED, keys_of, label_of, record_of
from oprf_sample import flipped

ID, PHONE, DEVICE = (keys_of(name) for name in ("id", "phone", "device"))
TAGS = st.binary(min_size=16, max_size=16)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True).filter(lambda name: name != "coordinator")


def entry(keys: ListingKeys, lister: str, pseudonym: str) -> tuple[Record, Label]:
    """Return an opened entry."""
    label = label_of(pseudonym=fixed_randomness(pseudonym)(16))
    record = record_of(keys, f"{keys.tag.hex()}/{lister}/{pseudonym}", lister)
    return record, label


@UNHURRIED
@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), NAMES, TAGS), min_size=2, max_size=5, unique=True))
def test_stamps_differ_where_anything_does(inputs: list[tuple[bytes, str, bytes]]) -> None:
    """Another secret, lister or tag gives another stamp, and the same the same; 8 bytes each."""
    stamps = [lister_stamp(*one) for one in inputs]
    assert len(set(stamps)) == len(inputs)
    assert stamps == [lister_stamp(*one) for one in inputs]
    assert {len(stamp) for stamp in stamps} == {8}


def test_each_bit_of_secret_and_tag_counts() -> None:
    """No two of the stamps that follow from a changed bit are equal."""
    stamps = [lister_stamp(secret, "east-bank", bytes(16)) for secret in flipped(STAMP_SECRET)]
    stamps += [lister_stamp(STAMP_SECRET, "east-bank", tag) for tag in flipped(bytes(16))]
    assert len(set(stamps)) == 8 * 48


@pytest.mark.parametrize(
    ("secret", "lister", "tag"),
    [
        (bytes(31), "a", bytes(16)),
        (bytes(32), "", bytes(16)),
        (bytes(32), "coordinator", bytes(16)),
        (bytes(32), "A", bytes(16)),
        (bytes(32), "a", bytes(15)),
    ],
)
def test_malformed_arguments_are_refused(secret: bytes, lister: str, tag: bytes) -> None:
    """A short secret above all."""
    with pytest.raises(InvalidInputError):
        lister_stamp(secret, lister, tag)


def test_lenders_are_counted_by_stamp_whatever_they_call_themselves() -> None:
    """A lender with three pseudonyms is one; the same lender under another tag is counted there."""
    rows = [entry(ID, "east-bank", name) for name in "abc"]
    rows += [entry(ID, "west-credit", "a"), entry(PHONE, "east-bank", "a")]
    assert distinct_listers(record for record, _ in rows) == {ID.tag: 2, PHONE.tag: 1}
    assert distinct_listers([]) == {}


def test_one_lender_under_several_tags_is_one() -> None:
    """Entries for resident ID and phone of one person are merged by the pseudonym."""
    rows = [entry(keys, "east-bank", "east") for keys in (ID, PHONE, DEVICE)]
    rows += [entry(PHONE, "west-credit", "west")]
    assert distinct_listers_of_person(rows) == 2
    assert distinct_listers_of_person([]) == 0


def test_copying_a_pseudonym_hides_no_other_lender() -> None:
    """Two honest lenders stay two when a third uses the pseudonym of either or both."""
    honest = [entry(ID, "east-bank", "east"), entry(PHONE, "east-bank", "east"), entry(PHONE, "west-credit", "west")]
    for copied in (["east"], ["west"], ["east", "west"]):
        forged = [entry(keys, "liar", name) for keys in (ID, PHONE) for name in copied]
        assert 2 <= distinct_listers_of_person([*honest, *forged]) <= 4


def test_inventing_pseudonyms_counts_once_for_each_tag() -> None:
    """However many a lender makes up, it stands for at most as many lenders as the person has tags."""
    rows = [entry(keys, "liar", f"{place}/{number}") for place, keys in enumerate((ID, PHONE)) for number in range(8)]
    assert distinct_listers_of_person(rows) == 2


@UNHURRIED
@given(st.lists(st.tuples(st.sampled_from((ID, PHONE, DEVICE)), st.sampled_from("abcdef")), max_size=12))
def test_honest_lenders_are_counted_exactly(entries: list[tuple[ListingKeys, str]]) -> None:
    """Each with its own pseudonym, under whatever tags."""
    rows = [entry(keys, f"lender-{name}", name) for keys, name in entries]
    assert distinct_listers_of_person(rows) == len({name for _, name in entries})


@UNHURRIED
@given(
    st.lists(st.tuples(st.sampled_from((ID, PHONE)), st.sampled_from("abc")), max_size=8),
    st.lists(st.tuples(st.sampled_from((ID, PHONE)), st.sampled_from("abcxyz")), max_size=8),
)
def test_a_liar_moves_the_count_within_its_bounds(
    honest: list[tuple[ListingKeys, str]], lies: list[tuple[ListingKeys, str]]
) -> None:
    """Never below the honest lenders, never above them by more than the tags that the liar lists under."""
    rows = [entry(keys, f"lender-{name}", name) for keys, name in honest]
    rows += [entry(keys, "liar", name) for keys, name in lies]
    most = len({keys.tag for keys, _ in lies})
    lenders = len({name for _, name in honest})
    assert lenders <= distinct_listers_of_person(rows) <= lenders + most
    assert distinct_listers_of_person(rows) == distinct_listers_of_person(rows[::-1])


@UNHURRIED
@given(st.lists(st.tuples(st.sampled_from(["east-bank", "west-credit", "liar"]), st.sampled_from("abc")), max_size=8))
def test_under_one_tag_stamps_alone_decide(entries: list[tuple[str, str]]) -> None:
    """Whatever the pseudonyms are: the number is that of the tag."""
    rows = [entry(ID, lister, name) for lister, name in entries]
    assert distinct_listers_of_person(rows) == distinct_listers(record for record, _ in rows).get(ID.tag, 0)


def test_a_lister_notices_that_it_is_counted_twice() -> None:
    """Its own entries under one tag bear one stamp; two stamps are the coordinator's doing."""
    mine = [record_of(ID, "a"), record_of(ID, "b"), record_of(PHONE, "c")]
    one_stamp_each(mine)
    with pytest.raises(CorruptError, match="one stamp"):
        one_stamp_each([*mine[1:], replace(mine[0], stamp=bytes(8))])
