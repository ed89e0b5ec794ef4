"""What members bring to the coordinator's logs: what is taken, refused, and durable."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError, TooLargeError
from jointrisk.listing.label import AmountBand
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import Offered, packed_appends
from jointrisk.listing.record import Sealed
from jointrisk.listing.stamp import distinct_listers, one_stamp_each
from jointrisk_coordinator.listings.intake import Refusal
from jointrisk_coordinator.listings.settings import ListingSettings
from listing_coordinator import ListingCoordinator, offer, random_offers

HOLD, RELEASE, TOMBSTONE = EntryKind.HOLD, EntryKind.RELEASE, EntryKind.TOMBSTONE


@pytest.fixture
def coordinator(tmp_path: Path) -> ListingCoordinator:
    """A coordinator with the log of epoch 1."""
    return ListingCoordinator(tmp_path / "coordinator")


def refused(refusals: list[Refusal]) -> list[tuple[int, type[Exception]]]:
    """Return the places and classes of refusals."""
    return [(one.index, type(one.error)) for one in refusals]


def states(coordinator: ListingCoordinator, lister: str, *entries: Offered) -> list[str]:
    """Return the states of entries."""
    return [one.state for one in coordinator.states(lister, *entries)]


def test_what_is_taken_outlives_the_process_and_bears_the_listers_stamp(coordinator: ListingCoordinator) -> None:
    """Pending until the release, across a restart; one lister has one stamp under a tag, another has another."""
    first, second, third = offer("Li", "1"), offer("Li", "2"), offer("Li", "3")
    assert coordinator.append("ant", first, second) == []
    assert coordinator.append("bee", third) == []
    assert coordinator.records() == []
    assert states(coordinator, "ant", first, second, third) == ["pending", "pending", "unknown"]
    coordinator.restart().release()
    records = coordinator.records()
    assert {one.sealed for one in records} == {first.sealed, second.sealed, third.sealed}
    one_stamp_each(one for one in records if one.sealed in (first.sealed, second.sealed))
    assert distinct_listers(records) == {first.sealed.tag: 2}
    live = coordinator.states("ant", first)[0]
    assert (live.state, records[live.position or 0].sealed) == ("live", first.sealed)


def test_the_same_entry_again_is_the_same_entry(coordinator: ListingCoordinator) -> None:
    """In one request, in the next, and after the release: acknowledged, and once in the log."""
    entry = offer("Li", "1")
    assert coordinator.append("ant", entry, entry) == []
    assert coordinator.append("ant", entry) == []
    coordinator.log.release()
    assert coordinator.append("ant", entry) == []
    coordinator.log.release()
    assert [one.sealed for one in coordinator.records()] == [entry.sealed]
    assert coordinator.log.count_tags("ant", 1) == {"ant": 1}


def test_one_id_is_one_entry(coordinator: ListingCoordinator) -> None:
    """Other content, another tag, or the same by another member is refused; in one request too."""
    entry, other, elsewhere = offer("Li", "1"), offer("Li", "1", amount_band=AmountBand.NOT_STATED), offer("Wang", "1")
    assert entry.sealed != other.sealed
    assert refused(coordinator.append("ant", entry, other)) == [(1, ConflictError)]
    assert refused(coordinator.append("ant", other, elsewhere, entry)) == [(0, ConflictError), (1, ConflictError)]
    assert refused(coordinator.append("bee", entry)) == [(0, ConflictError)]
    coordinator.log.release()
    assert [one.sealed for one in coordinator.records()] == [entry.sealed]


def test_nobody_appends_under_a_tag_that_it_has_only_read(coordinator: ListingCoordinator) -> None:
    """Tag squatting: without the witness the entry is refused, and the rest of the batch is taken."""
    seen, own = offer("Li", "1").sealed, offer("Wang", "2")
    squatting = [Offered(Sealed(bytes([at]) * 16, seen.tag, bytes(48)), own.witness) for at in (1, 2)]
    assert refused(coordinator.append("ant", squatting[0], own, squatting[1])) == [(0, RefusedError), (2, RefusedError)]
    coordinator.log.release()
    assert [one.sealed for one in coordinator.records()] == [own.sealed]
    assert coordinator.log.count_tags("bee", 1) == {"ant": 1}


def test_eight_entries_of_one_member_under_one_tag(coordinator: ListingCoordinator) -> None:
    """The ninth is refused, pending or live; another member has eight of its own; withdrawing makes room."""
    entries = [offer("Li", str(number)) for number in range(20)]
    assert refused(coordinator.append("ant", *entries[:9])) == [(8, TooLargeError)]
    assert coordinator.append("bee", *entries[10:18]) == []
    coordinator.mark("ant", TOMBSTONE, entries[0])
    assert coordinator.append("ant", entries[8]) == []
    coordinator.log.release()
    assert refused(coordinator.append("ant", entries[9])) == [(0, TooLargeError)]
    coordinator.mark("ant", TOMBSTONE, entries[1])
    # Readers would count nine until the tombstone is in the log.
    assert refused(coordinator.append("ant", entries[9])) == [(0, TooLargeError)]
    coordinator.log.release()
    assert coordinator.append("ant", entries[9]) == []
    coordinator.log.release()
    assert len(coordinator.records()) == 16


def test_one_member_does_not_fill_the_log(tmp_path: Path) -> None:
    """So many pending and live entries of one are taken; what it withdraws makes room, others are not concerned."""
    settings = ListingSettings(window=timedelta(0), entries_per_member=3)
    coordinator = ListingCoordinator(tmp_path / "coordinator", settings)
    entries = random_offers(6)
    assert refused(coordinator.append("ant", *entries[:4])) == [(3, TooLargeError)]
    assert coordinator.append("bee", *entries[4:]) == []
    coordinator.log.release()
    assert refused(coordinator.append("ant", entries[0], entries[3])) == [(1, TooLargeError)]
    coordinator.mark("ant", TOMBSTONE, entries[0])
    coordinator.log.release()
    assert coordinator.append("ant", entries[3]) == []


def test_what_was_withdrawn_does_not_come_back(coordinator: ListingCoordinator) -> None:
    """Neither from before its release nor from after it, nor while its tombstone waits is it appended again."""
    early, late = offer("Li", "1"), offer("Wang", "2")
    coordinator.append("ant", early)
    assert coordinator.mark("ant", TOMBSTONE, early) == []
    coordinator.append("ant", late)
    coordinator.log.release()
    assert [one.sealed for one in coordinator.records()] == [late.sealed]
    coordinator.mark("ant", TOMBSTONE, late)
    coordinator.log.release()
    assert states(coordinator, "ant", early, late) == ["withdrawn", "withdrawn"]
    assert refused(coordinator.append("ant", early, late)) == [(0, RefusedError), (1, RefusedError)]
    coordinator.log.release()
    assert coordinator.records() == []
    assert [entry.kind for entry, _ in coordinator.entries()] == [EntryKind.APPEND, TOMBSTONE]


def test_disputes_begin_and_end(coordinator: ListingCoordinator) -> None:
    """Said twice is said once; what waits counts; a pending entry is held from its first moment in the log."""
    live, pending = offer("Li", "1"), offer("Wang", "2")
    coordinator.append("ant", live)
    coordinator.log.release()
    coordinator.append("ant", pending)
    for kind in (HOLD, HOLD):
        assert coordinator.mark("ant", kind, live, pending, live) == []
    coordinator.log.release()
    assert states(coordinator, "ant", live, pending) == ["held", "held"]
    assert [entry.kind for entry, _ in coordinator.entries()].count(HOLD) == 2
    coordinator.mark("ant", RELEASE, live)
    coordinator.mark("ant", HOLD, live)
    coordinator.mark("ant", RELEASE, live)
    coordinator.log.release()
    assert states(coordinator, "ant", live, pending) == ["live", "held"]
    assert [(one.live, one.held) for one in coordinator.log.status()] == [(2, 1)]


def test_marks_are_on_entries_of_ones_own_that_go_on(coordinator: ListingCoordinator) -> None:
    """Another's entry is like none; what has ended, or is about to, is not held; withdrawing again is no error."""
    own, other, ended, ending = offer("Li", "1"), offer("Li", "2"), offer("Wang", "3"), offer("Wang", "4")
    coordinator.append("ant", own, ended, ending)
    coordinator.append("bee", other)
    coordinator.log.release()
    coordinator.mark("ant", TOMBSTONE, ended)
    coordinator.log.release()
    coordinator.mark("ant", TOMBSTONE, ending)
    never = offer("Zhao", "5")
    assert refused(coordinator.mark("ant", HOLD, other, never, ended, ending, own)) == [
        (0, NotFoundError),
        (1, NotFoundError),
        (2, ConflictError),
        (3, ConflictError),
    ]
    assert refused(coordinator.mark("ant", TOMBSTONE, other, ended, ending)) == [(0, NotFoundError)]
    coordinator.log.release()
    assert states(coordinator, "bee", other) == ["live"]
    assert states(coordinator, "ant", own, ending) == ["held", "withdrawn"]


def test_a_tombstone_takes_the_place_of_marks_that_wait(coordinator: ListingCoordinator) -> None:
    """What was to be held and is withdrawn is only withdrawn."""
    entry = offer("Li", "1")
    coordinator.append("ant", entry)
    coordinator.log.release()
    coordinator.mark("ant", HOLD, entry)
    coordinator.mark("ant", TOMBSTONE, entry)
    assert coordinator.log.status()[0].pending_marks == 1
    coordinator.log.release()
    assert [item.kind for item, _ in coordinator.entries()] == [EntryKind.APPEND, TOMBSTONE]


def test_a_correction_needs_a_replacement_of_ones_own_that_goes_on(coordinator: ListingCoordinator) -> None:
    """Not another's, not one that has ended, not itself; what is refused stays as it was."""
    old, ended, foreign = offer("Li", "1"), offer("Li", "2"), offer("Li", "3")
    coordinator.append("ant", old, ended)
    coordinator.append("bee", foreign)
    coordinator.mark("ant", TOMBSTONE, ended)
    coordinator.log.release()
    for other, error in ((foreign, NotFoundError), (ended, ConflictError), (old, ConflictError)):
        assert refused(coordinator.mark("ant", TOMBSTONE, old, replaced_by=[other])) == [(0, error)]
    coordinator.log.release()
    assert states(coordinator, "ant", old) == ["live"]


@pytest.mark.parametrize(
    "mark",
    [
        lambda intake: intake.mark("ant", 1, EntryKind.APPEND, bytes(16)),
        lambda intake: intake.mark("ant", 1, EntryKind.EXPIRY, bytes(16)),
        lambda intake: intake.mark("ant", 1, HOLD, bytes(16), bytes(16)),
        lambda intake: intake.mark("ant", 1, TOMBSTONE, bytes(32), bytes(16)),
        lambda intake: intake.mark("ant", 1, TOMBSTONE, bytes(15)),
        lambda intake: intake.append("ant", 1, bytes(95)),
        lambda intake: intake.renew("ant", 1, b""),
        lambda intake: intake.states("ant", 1, bytes(16 * 4097)),
    ],
)
def test_what_is_no_batch_is_refused_whole(coordinator: ListingCoordinator, mark: Callable[..., object]) -> None:
    """Marks that members don't make, replacements that don't fit, other lengths."""
    with pytest.raises(InvalidInputError):
        mark(coordinator.log.intake)


@pytest.mark.parametrize("epoch", [0, 2, 2**32 - 1])
def test_an_epoch_without_a_key_has_no_log(coordinator: ListingCoordinator, epoch: int) -> None:
    """No call makes one."""
    intake, entry = coordinator.log.intake, offer("Li", "1")
    calls: list[Callable[[], object]] = [
        lambda: intake.append("ant", epoch, packed_appends([entry])),
        lambda: intake.mark("ant", epoch, HOLD, bytes(16)),
        lambda: intake.renew("ant", epoch, bytes(16)),
        lambda: intake.states("ant", epoch, bytes(16)),
        lambda: coordinator.log.read(epoch, 0),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match=f"epoch {epoch}"):
            call()


def test_tags_are_counted_once_and_for_ever(coordinator: ListingCoordinator) -> None:
    """Whatever was withdrawn, however many entries there are under one; for holders, and nobody else."""
    entries = random_offers(6)
    coordinator.append("ant", *entries[:4], offer("Li", "1"), offer("Li", "2"))
    coordinator.append("bee", *random_offers(2, "other"))
    coordinator.mark("ant", TOMBSTONE, *entries[:2])
    coordinator.log.release()
    coordinator.append("ant", offer("Li", "3"))
    assert coordinator.log.count_tags("cat", 1) == {"ant": 5, "bee": 2}
    for stranger, epoch in (("dog", 1), ("ant", 2)):
        with pytest.raises(RefusedError, match="holders"):
            coordinator.log.count_tags(stranger, epoch)


def test_what_a_former_member_listed_is_withdrawn_for_it(coordinator: ListingCoordinator) -> None:
    """Live, held and pending, in every log; not for a present member, and nobody else's."""
    coordinator.epochs[2] = ("ant",)
    coordinator.log.keep()
    live, pending, held, kept = offer("Li", "1"), offer("Li", "2"), offer("Wang", "3"), offer("Li", "4")
    newer = offer("Li", "5", epoch=2)
    coordinator.append("ant", live, held)
    coordinator.append("ant", newer, epoch=2)
    coordinator.append("bee", kept)
    coordinator.mark("ant", HOLD, held)
    coordinator.log.release()
    coordinator.append("ant", pending)
    with pytest.raises(ConflictError, match="ant is a member"):
        coordinator.log.withdraw_member("ant", {"ant", "bee"})
    assert coordinator.log.withdraw_member("ant", {"bee"}) == 4
    coordinator.log.release()
    assert [one.sealed for one in coordinator.records()] == [kept.sealed]
    assert coordinator.records(2) == []
    assert coordinator.log.withdraw_member("ant", {"bee"}) == 0
    status = coordinator.log.status()[0]
    assert (status.live, status.held, status.pending, status.listers) == (1, 0, 0, 1)


def test_the_audit_log_tells_who_and_how_much(coordinator: ListingCoordinator) -> None:
    """Counts, and nothing that names an entry; a retry that changes nothing is not told."""
    entry = offer("Li", "1")
    for _ in range(2):
        coordinator.append("ant", entry)
    coordinator.append("ant", Offered(entry.sealed, bytes(16)))
    coordinator.mark("ant", HOLD, entry)
    coordinator.log.release()
    who = {"member": "ant", "epoch": 1}
    assert coordinator.events() == [
        ("listing.log_opened", {"epoch": 1}),
        ("listing.appended", {**who, "taken": 1, "refused": 0}),
        ("listing.appended", {**who, "taken": 0, "refused": 1}),
        ("listing.hold", {**who, "taken": 1, "refused": 0}),
        ("listing.released", {"epoch": 1, "size": 2, "entries": 1, "marks": 1}),
    ]
