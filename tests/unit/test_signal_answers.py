"""What entries about one person say together: statements, lenders, exposure, what does not open."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.identifiers import Identifier
from jointrisk.listing.derive import ListingKeys
from jointrisk.listing.label import AmountBand, Category, Severity
from jointrisk.listing.record import Record, Sealed, Unopened
from jointrisk.listing.stamp import distinct_listers_of_person, lister_stamp
from jointrisk_node.signals.answer import NOTHING, Evidence, Exposure, Signal, compose
from jointrisk_node.signals.lenders import Lenders
from listing_sample import STAMP_SECRET, UNHURRIED, keys_of, label_of, record_of
from signal_sample import OWN, TODAY, Entry, Listed, phone, pseudonym, resident

PERSON = (resident(1), phone(1))
DAY = timedelta(days=1)
Persons = tuple[Identifier, ...]
LOAN: dict[str, Any] = {"category": Category.ACTIVE_LOAN, "severity": Severity.NONE}
APPLICATION: dict[str, Any] = {"category": Category.APPLICATION, "severity": Severity.NONE}


class Federation:
    """Made-up keys in place of evaluated ones: here it matters only that each identifier has its own."""

    def __init__(self) -> None:
        self.listed = Listed(self)

    def keys_of(self, identifier: Identifier, epoch: int) -> ListingKeys:
        """Return an identifier's keys."""
        return keys_of(f"{identifier.kind} {identifier.canonical}", epoch)

    def publish(self, lister: str, identifiers: Persons = PERSON, **fields: Any) -> None:
        """List somebody, for four days by default already."""
        self.listed.publish(lister, identifiers, **{"listed_on": TODAY - 4 * DAY, **fields})

    def signal(self, identifiers: Persons = PERSON, epochs: tuple[int, ...] = (1,)) -> Signal:
        """Compose what east bank is told."""
        keys = [self.keys_of(one, epoch) for epoch in epochs for one in identifiers]
        evidence = [Evidence(one, self.listed.lookup(one.epoch, one.tag)) for one in keys]
        return compose(evidence, [pseudonym(OWN, one) for one in identifiers], TODAY)


@pytest.fixture
def federation() -> Federation:
    """A federation in which nothing is listed."""
    return Federation()


def test_nothing_is_said_about_who_is_not_listed(federation: Federation) -> None:
    """Tags without entries give the empty signal, as no tags do."""
    assert federation.signal() == NOTHING
    assert NOTHING.is_empty


def test_a_listing_says_what_was_sealed(federation: Federation) -> None:
    """Every field of the label comes out, the pseudonym does not."""
    federation.publish("west-bank", severity=Severity.MEDIUM, amount_band=AmountBand.UNDER_5K)
    (listing,) = federation.signal().listings
    assert (listing.category, listing.severity) == (Category.CONFIRMED_DEFAULT, Severity.MEDIUM)
    assert (listing.listed_on, listing.amount_band) == (TODAY - 4 * DAY, AmountBand.UNDER_5K)
    assert (listing.disputed, listing.own, listing.epochs) == (False, False, (1,))
    assert not hasattr(listing, "pseudonym")


def test_a_statement_under_two_identifiers_is_one(federation: Federation) -> None:
    """One lender's entry under resident number and phone is one listing of one lender."""
    federation.publish("west-bank")
    signal = federation.signal()
    assert (len(signal.listings), signal.lenders) == (1, 1)


def test_a_statement_in_two_epochs_is_one(federation: Federation) -> None:
    """What is published again after a rotation is the same listing, and says in which epochs it stands."""
    federation.publish("west-bank", **LOAN)
    federation.publish("west-bank", epoch=2, **LOAN)
    signal = federation.signal(epochs=(1, 2))
    assert [one.epochs for one in signal.listings] == [(1, 2)]
    assert (signal.lenders, signal.exposure.loans, signal.exposure.loan_lenders) == (1, 1, 1)


def test_equal_statements_under_one_tag_are_several(federation: Federation) -> None:
    """Two applications on one day at one lender are two, by one lender, however many identifiers they stand under."""
    federation.publish("west-bank", **APPLICATION)
    federation.publish("west-bank", **APPLICATION)
    assert len(federation.signal().listings) == 2
    assert [(one.lenders, one.applications) for one in federation.signal().exposure.applications] == [(1, 2)] * 3


def test_lenders_with_equal_statements_are_several(federation: Federation) -> None:
    """Two lenders who say the same about somebody are two lenders and two listings."""
    federation.publish("west-bank", **LOAN)
    federation.publish("far-bank", **LOAN)
    signal = federation.signal()
    assert (len(signal.listings), signal.lenders) == (2, 2)
    assert (signal.exposure.loan_lenders, signal.exposure.loans) == (2, 2)


def test_one_lender_with_two_loans_is_one_lender(federation: Federation) -> None:
    """Loans are counted as well as lenders."""
    federation.publish("west-bank", **LOAN, amount_band=AmountBand.UNDER_1K)
    federation.publish("west-bank", **LOAN, amount_band=AmountBand.UNDER_5K)
    assert (federation.signal().exposure.loan_lenders, federation.signal().exposure.loans) == (1, 2)


@pytest.mark.parametrize(
    ("days_ago", "within"), [(-1, (1, 1, 1)), (0, (1, 1, 1)), (6, (1, 1, 1)), (7, (0, 1, 1)), (29, (0, 1, 1)),
                             (30, (0, 0, 1)), (89, (0, 0, 1)), (90, (0, 0, 0))],
)  # fmt: skip
def test_applications_are_counted_within_days(federation: Federation, days_ago: int, within: tuple[int, ...]) -> None:
    """7 days are today and the six before; what a lender east of here listed tomorrow counts."""
    federation.publish("west-bank", **APPLICATION, listed_on=TODAY - days_ago * DAY, expires_on=TODAY + 30 * DAY)
    exposure = federation.signal().exposure
    assert [one.days for one in exposure.applications] == [7, 30, 90]
    assert tuple(one.applications for one in exposure.applications) == within
    assert tuple(one.lenders for one in exposure.applications) == within


def test_own_listings_are_shown_and_left_out_elsewhere(federation: Federation) -> None:
    """East bank sees its own loan as its own; the exposure elsewhere and the other lenders are without it."""
    federation.publish(OWN, **LOAN)
    federation.publish("west-bank", **LOAN)
    signal = federation.signal()
    assert sorted(one.own for one in signal.listings) == [False, True]
    assert (signal.lenders, signal.other_lenders) == (2, 1)
    assert (signal.exposure.loan_lenders, signal.elsewhere.loan_lenders, signal.elsewhere.loans) == (2, 1, 1)


def test_own_listings_are_known_whichever_identifier_was_primary(federation: Federation) -> None:
    """What east bank listed with the phone as the primary identifier is its own when asked with both."""
    federation.publish(OWN, PERSON[::-1])
    signal = federation.signal()
    assert [one.own for one in signal.listings] == [True]
    assert (signal.lenders, signal.other_lenders) == (1, 0)


def test_own_with_two_primary_identifiers_is_no_other_lender(federation: Federation) -> None:
    """East bank's own rows with different primary identifiers never make another lender of it."""
    federation.publish(OWN, PERSON[:1], **LOAN)
    federation.publish(OWN, PERSON[1:], **LOAN)
    assert federation.signal().other_lenders == 0
    assert federation.signal().elsewhere.loan_lenders == 0


def test_who_copies_the_own_pseudonym_is_counted_beside_the_own_entry(federation: Federation) -> None:
    """*A member hides behind this lender's pseudonym*: another stamp under the same tag is another lender."""
    federation.publish(OWN, **LOAN)
    federation.publish("west-bank", **LOAN, pseudonym=pseudonym(OWN, PERSON[0]), amount_band=AmountBand.FROM_1M)
    signal = federation.signal()
    assert (signal.lenders, signal.other_lenders, signal.elsewhere.loan_lenders) == (2, 1, 1)


def test_invented_pseudonyms_stand_for_one_lender(federation: Federation) -> None:
    """*A member invents pseudonyms to look like many lenders*: under one tag it has one stamp."""
    for number in range(5):
        federation.publish("west-bank", PERSON[:1], **LOAN, pseudonym=bytes([number]) * 16)
    signal = federation.signal()
    assert (signal.lenders, signal.exposure.loan_lenders, signal.exposure.loans) == (1, 1, 5)


def test_expired_statements_are_only_counted(federation: Federation) -> None:
    """From the day on which an entry expires it is no listing, no exposure and no lender; it is counted once."""
    federation.publish("west-bank", **LOAN, expires_on=TODAY)
    signal = federation.signal()
    assert signal == replace(NOTHING, expired=1)
    assert signal.is_empty


def test_the_day_before_it_expires_it_counts(federation: Federation) -> None:
    """The sealed day is the first on which an entry says nothing."""
    federation.publish("west-bank", **LOAN, expires_on=TODAY + DAY)
    assert federation.signal().exposure.loan_lenders == 1


def test_disputes_are_shown(federation: Federation) -> None:
    """A held entry is disputed, under whichever identifier it is held; it still counts as exposure."""
    federation.publish("west-bank", PERSON[:1], **LOAN, pseudonym=bytes(16))
    federation.publish("west-bank", PERSON[1:], held=True, **LOAN, pseudonym=bytes(16))
    signal = federation.signal()
    assert [one.disputed for one in signal.listings] == [True]
    assert signal.exposure.loan_lenders == 1


def test_one_of_two_equal_statements_is_disputed(federation: Federation) -> None:
    """The other one is not."""
    federation.publish("west-bank", **APPLICATION)
    federation.publish("west-bank", held=True, **APPLICATION)
    assert sorted(one.disputed for one in federation.signal().listings) == [False, True]


def test_the_newest_listing_comes_first(federation: Federation) -> None:
    """Listings are in the order of their days."""
    for days in (30, 2, 200):
        federation.publish("west-bank", listed_on=TODAY - days * DAY)
    assert [(TODAY - one.listed_on).days for one in federation.signal().listings] == [2, 30, 200]


def test_what_does_not_open_is_told_and_counts_for_nothing(federation: Federation) -> None:
    """A forged entry is no listing and no lender, and the person is not "nothing found"."""
    keys = federation.keys_of(PERSON[0], 1)
    federation.listed.put(keys, label_of(**LOAN), "west-bank")
    (entry,) = federation.listed.lookup(1, keys.tag)
    sealed = entry.record.sealed
    forged = Sealed(bytes(16), sealed.tag, sealed.ciphertext)
    copied = Record(sealed, lister_stamp(STAMP_SECRET, "far-bank", keys.tag))
    federation.listed.by_tag[1, keys.tag] += [Entry(Record(forged, entry.record.stamp)), Entry(copied)]
    signal = federation.signal()
    assert signal.unopened == ((1, Unopened.NOT_AUTHENTIC, 1), (1, Unopened.REPEATED, 1))
    assert (signal.lenders, signal.exposure.loan_lenders, signal.exposure.loans) == (1, 1, 1)
    federation.listed.by_tag[1, keys.tag] = [Entry(Record(forged, entry.record.stamp))]
    alone = federation.signal()
    assert (alone.lenders, alone.is_empty) == (0, False)


def test_no_repr_tells_of_a_person(federation: Federation) -> None:
    """Answers can end up in a traceback: nothing of them is shown."""
    federation.publish("west-bank")
    signal = federation.signal()
    shown = repr(signal) + repr(signal.listings[0]) + repr(signal.exposure)
    assert not any(word in shown for word in ("default", "high", "2026", "bank", "1"))


_PLACES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["west-bank", "far-bank", "third"]), st.integers(0, 3)),
    max_size=12,
)


@UNHURRIED
@given(_PLACES, st.data())
def test_lenders_are_those_of_the_protocol_and_parts_have_no_more(
    places: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    """The number over all entries is docs/protocol.md's, and some of the entries never stand for more lenders."""
    entries = []
    for number, (tag, lister, name) in enumerate(places):
        fields = {"pseudonym": bytes([name]) * 16}
        entries.append((record_of(keys_of(tag), f"{number}", lister, **fields), label_of(**fields)))
    lenders = Lenders(entries)
    assert lenders.count(entries) == distinct_listers_of_person(entries)
    some = data.draw(st.lists(st.sampled_from(entries), max_size=12)) if entries else []
    assert lenders.count(some) <= lenders.count(entries)
    assert (lenders.count(some) == 0) is (not some)
    assert 0 <= lenders.count(some, without=[bytes([0]) * 16]) <= lenders.count(some)


def test_an_exposure_of_nobody_is_zero() -> None:
    """Numbers are there where nothing is."""
    assert NOTHING.exposure == Exposure(0, 0, NOTHING.elsewhere.applications)
    assert [(one.days, one.lenders, one.applications) for one in NOTHING.exposure.applications] == [
        (7, 0, 0), (30, 0, 0), (90, 0, 0)
    ]  # fmt: skip
