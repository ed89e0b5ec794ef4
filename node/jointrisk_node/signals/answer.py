"""What entries about one person say together. Pure; docs/signals.md says it for people.

One statement of a lender stands in the log under each of the person's identifiers, and again in every epoch: labels
that are equal, pseudonym included, are one statement. Equal ones under *one* tag are several, such as two applications
on one day.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol

from jointrisk.listing.derive import ListingKeys
from jointrisk.listing.label import AmountBand, Category, Label, MemberKind, Severity
from jointrisk.listing.record import Record, Unopened, open_all
from jointrisk_node.signals.lenders import Lenders, OpenedEntry

APPLICATION_DAYS: Final = (7, 30, 90)
"""Applications are counted within so many days, today included."""


class Found(Protocol):
    """An entry that the replica has under a tag."""

    @property
    def record(self) -> Record:
        """The entry."""

    @property
    def held(self) -> bool:
        """Whether its lender looks into a dispute about it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The entries under one tag of a person.

    Attributes:
        keys: of the identifier, in one epoch.
        found: what is live there.
    """

    keys: ListingKeys
    found: Sequence[Found] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """One statement of one lender about the person. Personal data: the `repr` shows nothing.

    Attributes:
        category: what is reported.
        severity: how much it weighs; none for active loans and applications.
        listed_on: the day of what is reported.
        expires_on: the first day on which it says nothing any more.
        amount_band: how much it is about.
        member_kind: what kind of lender says it.
        disputed: the person disputes it, and the lender looks into that.
        own: this lender says it.
        epochs: in which epochs it stands.
    """

    category: Category = field(repr=False)
    severity: Severity = field(repr=False)
    listed_on: date = field(repr=False)
    expires_on: date = field(repr=False)
    amount_band: AmountBand = field(repr=False)
    member_kind: MemberKind = field(repr=False)
    disputed: bool = field(repr=False)
    own: bool = field(repr=False)
    epochs: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Applications:
    """Applications for credit within a number of days.

    Attributes:
        days: how many, today included.
        lenders: to how many different lenders.
        applications: how many.
    """

    days: int
    lenders: int = field(repr=False)
    applications: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exposure:
    """In how many lenders' books the person is.

    Attributes:
        loan_lenders: different lenders with an active loan.
        loans: active loans.
        applications: for each of `APPLICATION_DAYS`.
    """

    loan_lenders: int = field(repr=False)
    loans: int = field(repr=False)
    applications: tuple[Applications, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signal:
    """What is listed about one person. The `repr` shows nothing.

    Attributes:
        listings: what has opened and is not over: the newest first.
        unopened: how many entries say nothing, by epoch and reason. They are no listing, and not "nothing found".
        expired: entries whose own time is over.
        lenders: different lenders behind the listings.
        other_lenders: those without this one.
        exposure: over all lenders.
        elsewhere: without this lender's own entries.
    """

    listings: tuple[Listing, ...] = field(repr=False)
    unopened: tuple[tuple[int, Unopened, int], ...] = field(repr=False)
    expired: int = field(repr=False)
    lenders: int = field(repr=False)
    other_lenders: int = field(repr=False)
    exposure: Exposure = field(repr=False)
    elsewhere: Exposure = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is listed: there is no entry, or only such as are over."""
        return not self.listings and not self.unopened


def compose(evidence: Iterable[Evidence], own: Collection[bytes], today: date) -> Signal:
    """Open the entries under all tags of a person, and say what they say together.

    Args:
        evidence: every tag of every identifier of the person in every epoch, each once.
        own: this lender's pseudonyms for the person, one for each identifier that could be its primary one.
        today: decides what has expired, and what was within so many days.
    """
    opened: list[_Said] = []
    failed: Counter[tuple[int, Unopened]] = Counter()
    for one in evidence:
        outcome = open_all((found.record for found in one.found), one.keys)
        held = {found.record.sealed.entry_id for found in one.found if found.held}
        opened += [
            _Said(one.keys.epoch, record, label, record.sealed.entry_id in held) for record, label in outcome.labels
        ]
        failed.update((one.keys.epoch, reason) for _, reason in outcome.failed)
    live = [said for said in opened if not said.label.is_expired(today)]
    expired = [said for said in opened if said.label.is_expired(today)]
    return _signal(live, len(_statements(expired)), failed, frozenset(own), today)


@dataclass(frozen=True, slots=True)
class _Said:
    epoch: int
    record: Record
    label: Label
    held: bool


def _signal(
    live: Sequence[_Said], expired: int, failed: Counter[tuple[int, Unopened]], own: frozenset[bytes], today: date
) -> Signal:
    statements = _statements(live)
    everything = [(said.record, said.label) for said in live]
    lenders = Lenders(everything)
    behind, exposure = lenders.count(everything), _exposure(statements, lenders, frozenset(), today)
    others_alone = own.isdisjoint(said.label.pseudonym for said in live)  # the usual case: nothing to leave out
    return Signal(
        listings=tuple(sorted((_listing(one, own) for one in statements), key=_newest_first)),
        unopened=tuple((epoch, reason, count) for (epoch, reason), count in sorted(failed.items())),
        expired=expired,
        lenders=behind,
        other_lenders=behind if others_alone else lenders.count(everything, without=own),
        exposure=exposure,
        elsewhere=exposure if others_alone else _exposure(statements, lenders, own, today),
    )


@dataclass(frozen=True, slots=True)
class _Statement:
    """One statement: the label, where it stands, and whether it is disputed there."""

    label: Label
    places: tuple[OpenedEntry, ...]
    held: bool
    epochs: tuple[int, ...]


def _statements(said: Iterable[_Said]) -> list[_Statement]:
    """Return the statements that entries make: equal labels are as many as stand under one tag, at most."""
    alike: dict[bytes, list[_Said]] = defaultdict(list)
    for one in said:
        alike[one.label.to_bytes()].append(one)
    return [statement for group in alike.values() for statement in _told_apart(group)]


def _told_apart(group: Sequence[_Said]) -> list[_Statement]:
    by_tag: dict[bytes, list[_Said]] = defaultdict(list)
    for one in group:
        by_tag[one.record.sealed.tag].append(one)
    # Disputed ones first: which entry under one tag goes with which under another is not told, and does not matter.
    ranks = [sorted(under, key=lambda one: not one.held) for under in by_tag.values()]
    return [_statement([under[rank] for under in ranks if rank < len(under)]) for rank in range(max(map(len, ranks)))]


def _statement(said: Sequence[_Said]) -> _Statement:
    return _Statement(
        said[0].label,
        tuple((one.record, one.label) for one in said),
        any(one.held for one in said),
        tuple(sorted({one.epoch for one in said})),
    )


def _listing(statement: _Statement, own: frozenset[bytes]) -> Listing:
    label = statement.label
    return Listing(
        label.category,
        label.severity,
        label.listed_on,
        label.expires_on,
        label.amount_band,
        label.member_kind,
        statement.held,
        label.pseudonym in own,
        statement.epochs,
    )


def _newest_first(listing: Listing) -> tuple[int, str]:
    return -listing.listed_on.toordinal(), listing.category


def _exposure(statements: Iterable[_Statement], lenders: Lenders, own: frozenset[bytes], today: date) -> Exposure:
    """Count loans and applications; with ``own`` those of other lenders alone."""
    counted = list(statements)
    loans = [one for one in counted if one.label.category is Category.ACTIVE_LOAN]
    asked = [one for one in counted if one.label.category is Category.APPLICATION]
    if not loans and not asked:
        return _NO_EXPOSURE
    applications = []
    for days in APPLICATION_DAYS:
        # A lender east of here can be a day ahead: what was listed "tomorrow" counts as well.
        within = [one for one in asked if (today - one.label.listed_on).days < days]
        applications.append(Applications(days, _behind(within, lenders, own), _number(within, own)))
    return Exposure(_behind(loans, lenders, own), _number(loans, own), tuple(applications))


def _behind(statements: Iterable[_Statement], lenders: Lenders, own: frozenset[bytes]) -> int:
    return lenders.count((place for one in statements for place in one.places), without=own)


def _number(statements: Iterable[_Statement], own: frozenset[bytes]) -> int:
    return sum(one.label.pseudonym not in own for one in statements)


_NO_EXPOSURE: Final = Exposure(0, 0, tuple(Applications(days, 0, 0) for days in APPLICATION_DAYS))

NOTHING: Final = compose((), (), date(2000, 1, 1))
"""What is said about a person without an entry."""
