"""Labels: strict fields, one byte form, one size; pseudonyms that only merge one lender's entries about one person."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.errors import CorruptError, InvalidInputError, VersionMismatchError
from jointrisk.identifiers import Identifier, Kind, canonicalise
from jointrisk.listing.label import AmountBand, Category, Label, MemberKind, Severity, amount_band
from jointrisk.listing.pseudonym import lister_pseudonym
from listing_sample import EVENTS, FIRST_DAY, LABELS, LAST_DAY, UNHURRIED, label_of

RESIDENT = canonicalise("resident_id", "CN", "11010519491231002X")
PHONE = canonicalise("phone", "CN", "+86 138 0013 8000")


@UNHURRIED
@given(LABELS)
def test_what_is_written_is_read(label: Label) -> None:
    """Every label has 32 bytes, and they give it back."""
    written = label.to_bytes()
    assert len(written) == 32
    assert Label.from_bytes(written) == label


@UNHURRIED
@given(LABELS, LABELS)
def test_other_labels_have_other_bytes(one: Label, other: Label) -> None:
    """The byte form loses nothing."""
    assert (one == other) == (one.to_bytes() == other.to_bytes())


@UNHURRIED
@given(st.one_of(st.binary(min_size=32, max_size=32), st.binary(max_size=80)))
def test_bytes_are_a_label_in_one_form_or_none(data: bytes) -> None:
    """Whatever was sealed is read and written again as the same bytes, or refused; nothing else escapes."""
    try:
        label = Label.from_bytes(data)
    except (CorruptError, VersionMismatchError):
        return
    assert label.to_bytes() == data


@UNHURRIED
@given(LABELS, st.integers(1, 31), st.integers(0, 255))
def test_each_byte_counts(label: Label, place: int, value: int) -> None:
    """A changed byte gives another label or none, never the same."""
    data = bytearray(label.to_bytes())
    before, data[place] = data[place], value
    try:
        read = Label.from_bytes(bytes(data))
    except CorruptError:
        return
    assert (read == label) == (value == before)


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, 0), (1, len(Category) + 1), (2, len(Severity)), (2, 0), (3, len(AmountBand)), (4, 0), (4, len(MemberKind) + 1)]
    + [(place, 1) for place in range(25, 32)],
)
def test_unknown_codes_and_filled_padding_are_refused(place: int, value: int) -> None:
    """Codes that nobody gave, a severity that the category can't have, and bytes where zeros belong."""
    data = bytearray(label_of().to_bytes())
    data[place] = value
    with pytest.raises(CorruptError, match="expected a label"):
        Label.from_bytes(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\1", bytes(31), b"\1" + bytes(32), label_of().to_bytes() + b"\0"])
def test_labels_have_one_length(data: bytes) -> None:
    """Shorter and longer ones are none."""
    with pytest.raises(CorruptError):
        Label.from_bytes(data)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_told_apart(version: int) -> None:
    """So that people update instead of suspecting a forgery."""
    with pytest.raises(VersionMismatchError):
        Label.from_bytes(bytes([version]) + label_of().to_bytes()[1:])


def test_all_codes_are_different() -> None:
    """Every value of every field has its byte, and none is given twice."""
    for name, kind, place in (("amount_band", AmountBand, 3), ("member_kind", MemberKind, 4)):
        codes = {label_of(**{name: value}).to_bytes()[place] for value in kind}
        assert len(codes) == len(kind)
    labels = [label_of(category=one, severity=Severity.NONE if one in EVENTS else Severity.LOW) for one in Category]
    assert {label.to_bytes()[1] for label in labels} == {1, 2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"category": "fraud"}, "category: expected one of confirmed_default, fraud"),
        ({"severity": "high"}, "severity: expected one of none, low"),
        ({"severity": Category.FRAUD}, "severity: expected one of"),
        ({"amount_band": 3}, "amount band: expected one of not_stated"),
        ({"member_kind": None}, "member kind: expected one of bank"),
        ({"severity": Severity.NONE}, "severity: expected none for"),
        ({"category": Category.ACTIVE_LOAN}, "severity: expected none for"),
        ({"listed_on": FIRST_DAY - timedelta(days=1)}, "listed on: expected a day from 2000-01-01 to 2179-06-06"),
        ({"expires_on": LAST_DAY + timedelta(days=1)}, "expires on: expected a day from"),
        ({"listed_on": datetime(2026, 1, 31, tzinfo=UTC)}, "listed on: expected a day"),
        ({"expires_on": "2031-01-31"}, "expires on: expected a day"),
        ({"expires_on": date(2026, 1, 31)}, "1 to 3653 days after"),
        ({"expires_on": date(2026, 1, 30)}, "1 to 3653 days after"),
        ({"expires_on": date(2026, 1, 31) + timedelta(days=3654)}, "1 to 3653 days after"),
        ({"pseudonym": bytes(15)}, "a pseudonym of 16 bytes, got 15"),
    ],
)
def test_fields_are_strict(fields: dict[str, Any], message: str) -> None:
    """What a field does not allow is refused before anything is sealed, and the message tells the rule."""
    with pytest.raises(InvalidInputError, match=message):
        label_of(**fields)


def test_the_ends_of_the_days() -> None:
    """The first and the last day that two bytes can say are days, and ten years are allowed."""
    label = label_of(listed_on=LAST_DAY - timedelta(days=3653), expires_on=LAST_DAY)
    assert Label.from_bytes(label.to_bytes()) == label
    assert label.to_bytes()[7:9] == b"\xff\xff"
    assert label_of(listed_on=FIRST_DAY, expires_on=date(2000, 1, 2)).to_bytes()[5:9] == b"\0\0\0\1"


def test_the_day_of_expiry_is_the_first_without() -> None:
    """The entry counts on the day before."""
    label = label_of()
    assert not label.is_expired(date(2031, 1, 30))
    assert label.is_expired(date(2031, 1, 31))


@pytest.mark.parametrize(
    ("amount", "band"),
    [
        (0, AmountBand.UNDER_1K),
        (999.99, AmountBand.UNDER_1K),
        (1_000, AmountBand.UNDER_5K),
        (19_999, AmountBand.UNDER_20K),
        (20_000, AmountBand.UNDER_50K),
        (199_999, AmountBand.UNDER_200K),
        (200_000, AmountBand.UNDER_1M),
        (1_000_000, AmountBand.FROM_1M),
        (1e15, AmountBand.FROM_1M),
    ],
)
def test_bands_begin_with_their_lower_bound(amount: float, band: AmountBand) -> None:
    """An amount on a bound belongs to the upper band."""
    assert amount_band(amount) is band


@pytest.mark.parametrize("amount", [-0.01, float("nan"), float("inf")])
def test_what_is_no_amount_has_no_band(amount: float) -> None:
    """Instead of falling into the last one."""
    with pytest.raises(InvalidInputError, match="amount"):
        amount_band(amount)


def test_labels_do_not_show_themselves() -> None:
    """A label is personal data: its `repr` is empty."""
    assert repr(label_of()) == "Label()"


def test_pseudonyms_are_one_for_a_lender_and_a_person() -> None:
    """The same wherever the lender computes it; another for another lender, another person, another kind."""
    mine = lister_pseudonym(bytes(32), RESIDENT)
    assert mine == lister_pseudonym(bytes(32), canonicalise("resident_id", "CN", " 11010519491231002x"))
    others = [lister_pseudonym(b"\1" * 32, RESIDENT), lister_pseudonym(bytes(32), PHONE)]
    assert len({mine, *others}) == 3
    assert len(mine) == 16


def test_pseudonyms_keep_kinds_and_countries_apart() -> None:
    """One text under another kind or country is another person."""
    here, there = (canonicalise(Kind.PASSPORT, country, "925076473") for country in ("GB", "US"))
    assert here.canonical == there.canonical
    assert lister_pseudonym(bytes(32), here) != lister_pseudonym(bytes(32), there)
    one, other = (Identifier(kind, "", "x") for kind in (Kind.EMAIL, Kind.DEVICE_ID))
    assert lister_pseudonym(bytes(32), one) != lister_pseudonym(bytes(32), other)


def test_a_listers_secret_has_one_length() -> None:
    """A shorter one is refused rather than used."""
    with pytest.raises(InvalidInputError, match="32 bytes, got 16"):
        lister_pseudonym(bytes(16), RESIDENT)
