"""What batch sizes, times, order and equal tags tell, measured on the real log: the figures of docs/threat-model.md."""

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import combinations, pairwise
from pathlib import Path
from random import Random

from coordinator_at_test import MovableClock
from jointrisk.identifiers import canonicalise
from jointrisk.listing.label import MemberKind
from jointrisk.listing.packed import Offered, unpack_appends
from jointrisk.listing.record import Record
from jointrisk_coordinator.listings.settings import ListingSettings
from lender_at_test import EPOCH, LenderAtTest, keys_for, phone, resident_id, row
from listing_coordinator import ListingCoordinator, offer, random_offers

LENDERS = ("ant", "bee", "cat", "dog", "eel", "fox")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


class Day:
    """Lenders that list now and then, what a holder sees of it, and what every reader of the log sees.

    Args:
        root: of the coordinator.
        window: of its releases.
        listers: who lists.
        seed: decides who lists when and how much.
    """

    def __init__(self, root: Path, window: timedelta, listers: tuple[str, ...], seed: int = 5) -> None:
        self.clock = MovableClock()
        self.coordinator = ListingCoordinator(root, ListingSettings(window=window, head_interval=DAY), self.clock)
        self.lister_of: dict[bytes, str] = {}
        self.evaluated: list[tuple[int, str, int]] = []
        """At the holders: minute, member, number of evaluations for publishing."""
        self.released: list[tuple[int, list[Record]]] = []
        """In the log: minute, records."""
        self._draw = Random(seed)  # noqa: S311 - the same day every time
        self._seen = self.coordinator.head().point
        for minute in range(60):
            self._minute(minute, listers)

    def _minute(self, minute: int, listers: tuple[str, ...]) -> None:
        for name in self._draw.sample(listers, len(listers)):
            if self._draw.random() < 0.2:  # every five minutes, a few rows
                some = random_offers(self._draw.randint(1, 6), f"{minute} {name}")
                self.evaluated.append((minute, name, len(some)))
                self.lister_of |= {one.sealed.entry_id: name for one in some}
                self.coordinator.append(name, *some)
                if not self.coordinator.settings.window:
                    self._keep(minute)
        self.clock.move(minutes=1)
        if minute % 5 == 4:  # windows end then
            self._keep(minute)

    def _keep(self, minute: int) -> None:
        self.coordinator.log.keep()
        point = self.coordinator.head().point
        if point.size > self._seen.size:
            new = self.coordinator.entries(start=self._seen)
            self.released.append((minute, [record for _, record in new if record is not None]))
            self._seen = point

    def guessed_by_a_holder(self) -> float:
        """Return how many entries' listers a holder guesses rightly that also reads the log.

        It takes for each entry the member that had most evaluated since the release before.
        """
        right, begin = 0, 0
        for minute, records in self.released:
            seen: Counter[str] = Counter()
            due = [one for one in self.evaluated[begin:] if one[0] <= minute]
            if self.coordinator.settings.window == timedelta(0):
                due = self._of_this_release(begin, len(records))
            for _, name, number in due:
                seen[name] += number
            begin += len(due)
            guess = seen.most_common(1)[0][0] if seen else ""
            right += sum(self.lister_of[one.sealed.entry_id] == guess for one in records)
        return right / len(self.lister_of)

    def _of_this_release(self, begin: int, size: int) -> list[tuple[int, str, int]]:
        """Return the evaluations that a release of this size follows at once."""
        found, total = [], 0
        for one in self.evaluated[begin:]:
            if total >= size:
                break
            found.append(one)
            total += one[2]
        return found


def test_windows_hide_from_holders_who_listed_what_and_only_among_those_who_did(tmp_path: Path) -> None:
    """A holder sees who evaluates for publishing and when, and reads the log. Without windows it knows every lister.

    With windows of 15 minutes among six lenders that list every five minutes it is right in less than a third; with
    one lender it is always right, as everybody is.
    """
    at_once = Day(tmp_path / "0", timedelta(0), LENDERS)
    windows = Day(tmp_path / "15", 15 * MINUTE, LENDERS)
    two = Day(tmp_path / "two", 15 * MINUTE, LENDERS[:2])
    alone = Day(tmp_path / "alone", 15 * MINUTE, LENDERS[:1])
    found = [round(one.guessed_by_a_holder(), 2) for one in (at_once, windows, two, alone)]
    assert found[0] == found[3] == 1
    assert found[1] < 1 / 3
    assert 1 / 2 <= found[2] < 1
    assert len(windows.released) == 4
    assert len(at_once.released) > 40


def test_the_order_in_a_release_tells_nothing(tmp_path: Path) -> None:
    """All of one lender's entries came before all of another's: in the log they are mixed as by lot."""
    clock = MovableClock()
    coordinator = ListingCoordinator(tmp_path, ListingSettings(window=15 * MINUTE), clock)
    first, second = random_offers(300, "first"), random_offers(300, "second")
    coordinator.append("ant", *first)
    clock.move(minutes=1)
    coordinator.append("bee", *second)
    clock.move(minutes=15)
    coordinator.log.keep()
    of_ant = {one.sealed.entry_id for one in first}
    order = [one.sealed.entry_id in of_ant for one in coordinator.records()]
    assert len(order) == 600
    assert 110 < sum(order[:300]) < 190  # 150, give or take 5 standard deviations
    changes = sum(one != other for one, other in pairwise(order))
    assert changes > 240


def test_the_coordinator_counts_common_customers_exactly(tmp_path: Path) -> None:
    """Equal tags are one person: it knows to the person how many any two members have in common, and no name.

    Readers see how many lenders each person has, and no lender's name: a stamp is never the same under two tags.
    """
    coordinator = ListingCoordinator(tmp_path)
    books = {"ant": range(60), "bee": range(40, 90), "cat": [*range(5), *range(50, 60), 95]}
    seen: dict[str, set[bytes]] = defaultdict(set)
    for lister, persons in books.items():
        offered = [offer(f"person {n}", f"{lister} {n}") for n in persons]
        coordinator.append(lister, *offered)
        seen[lister] |= {one.sealed.tag for one in offered}
    coordinator.log.release()
    for one, other in combinations(books, 2):
        assert len(seen[one] & seen[other]) == len(set(books[one]) & set(books[other]))
    records = coordinator.records()
    per_person = Counter(Counter(record.sealed.tag for record in records).values())
    truth = Counter(sum(n in book for book in books.values()) for n in range(96))
    assert per_person == Counter({number: count for number, count in truth.items() if number})
    assert len({record.stamp for record in records}) == len(records)


async def test_a_persons_identifiers_are_tied_together_by_small_appends_alone(tmp_path: Path) -> None:
    """One row: its two entries come alone, and the coordinator knows that they are one person. A file: by lot."""
    clock = MovableClock()
    coordinator = ListingCoordinator(tmp_path / "coordinator", clock=clock)
    lender = LenderAtTest(tmp_path / "lender", coordinator, clock, member_kind=MemberKind.BANK)
    await lender.publish(row(1))
    (alone,) = lender.calls.sent
    assert len(list(unpack_appends(alone.entries))) == 2
    await lender.publish(*(row(number) for number in range(2, 202)))
    arrived = [one for request in lender.calls.sent[1:] for one in unpack_appends(request.entries)]
    assert len(arrived) == 400
    person_of = {
        keys_for(canonicalise(kind, "CN", of(number)), EPOCH).tag: number
        for number in range(2, 202)
        for kind, of in (("resident_id", resident_id), ("phone", phone))
    }
    assert (
        neighbours_of_one_person(arrived, person_of) <= 8
    )  # one, by lot: 399 pairs of neighbours, one in 399 is right


def neighbours_of_one_person(arrived: list[Offered], person_of: dict[bytes, int]) -> int:
    """Return how often two entries that come one after the other are about one person."""
    persons = [person_of[one.sealed.tag] for one in arrived]
    return sum(one == other for one, other in pairwise(persons))


def test_nothing_ties_a_person_in_one_epoch_to_the_same_in_the_next(tmp_path: Path) -> None:
    """Neither tag nor stamp, id, ciphertext or witness: who keeps both logs has no common bytes."""
    coordinator = ListingCoordinator(tmp_path, epochs=(1, 2))
    both = [offer("Li", f"in {epoch}", epoch=epoch) for epoch in (1, 2)]
    for epoch, one in enumerate(both, start=1):
        coordinator.append("ant", one, epoch=epoch)
    coordinator.log.release()
    (first,), (second,) = coordinator.records(1), coordinator.records(2)
    assert both[0].witness != both[1].witness
    parts = [(one.sealed.tag, one.stamp, one.sealed.entry_id, one.sealed.ciphertext) for one in (first, second)]
    assert all(a != b for a, b in zip(*parts, strict=True))
