"""Releases of the coordinator's logs: windows, order, heads, expiry, deletion, epochs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from coordinator_at_test import MovableClock
from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError
from jointrisk.listing.head import Head
from jointrisk.listing.log import SEGMENT, Entry, EntryKind, Point, Stretch, extend
from jointrisk.listing.packed import Offered, unpack
from jointrisk_coordinator.listings import log_ledger
from jointrisk_coordinator.listings.heads import Heads
from jointrisk_coordinator.listings.settings import ListingSettings
from listing_coordinator import FEDERATION, ListingCoordinator, offer, random_offers

HOLD, TOMBSTONE, APPEND, EXPIRY = EntryKind.HOLD, EntryKind.TOMBSTONE, EntryKind.APPEND, EntryKind.EXPIRY
WINDOW = ListingSettings(window=timedelta(minutes=15))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ListingCoordinator]:
    """Make a coordinator in a directory of its own."""
    return lambda *args, **options: ListingCoordinator(tmp_path / "coordinator", *args, **options)


def heads_told(coordinator: ListingCoordinator) -> list[Head]:
    """Return a list that every new head of epoch 1 is added to."""
    told: list[Head] = []
    coordinator.log.on_changed.append(lambda: told.append(coordinator.head()))
    return told


def kinds(coordinator: ListingCoordinator) -> list[EntryKind]:
    """Return what the entries of the log of epoch 1 do."""
    return [entry.kind for entry, _ in coordinator.entries()]


def clock_of(coordinator: ListingCoordinator) -> MovableClock:
    """Return its clock."""
    assert isinstance(coordinator.clock, MovableClock)
    return coordinator.clock


def is_on_disk(coordinator: ListingCoordinator, entry: Offered) -> bool:
    """Tell whether an entry's ciphertext, id or tag is in any file of the database."""
    sealed = entry.sealed
    contents = [path.read_bytes() for path in coordinator.root.iterdir()]
    return any(part in content for part in (sealed.ciphertext, sealed.entry_id, sealed.tag) for content in contents)


# -- windows and order -------------------------------------------------------------------------------------------------


def test_nothing_is_released_before_its_window_is_over(make: Callable[..., ListingCoordinator]) -> None:
    """Windows end at whole quarters of an hour, whenever the process began; the next one is announced."""
    coordinator = make(WINDOW)
    clock_of(coordinator).move(minutes=14, seconds=59)
    coordinator.append("ant", offer("Li", "1"))
    coordinator.log.keep()
    coordinator.restart().keep()
    assert coordinator.log.next_release == datetime.fromisoformat("2026-03-01T12:15:00Z")
    assert coordinator.records() == []
    clock_of(coordinator).move(seconds=1)
    coordinator.log.keep()
    assert len(coordinator.records()) == 1
    coordinator.append("ant", offer("Wang", "2"))
    coordinator.log.keep()
    assert len(coordinator.records()) == 1


def test_a_clock_that_was_set_back_neither_stops_releases_nor_heads(make: Callable[..., ListingCoordinator]) -> None:
    """The times of heads stand still until the clock has caught up; sizes go on."""
    coordinator = make(WINDOW)
    clock_of(coordinator).move(days=30)
    coordinator.append("ant", offer("Li", "1"))
    coordinator.log.keep()
    before = coordinator.head()
    clock_of(coordinator).move(days=-29)
    coordinator.append("ant", offer("Wang", "2"))
    coordinator.log.keep()
    after = coordinator.head()
    assert (before.size, after.size) == (1, 2)
    assert before.signed_at == after.signed_at > clock_of(coordinator)()


def test_what_is_released_together_is_in_random_order(make: Callable[..., ListingCoordinator]) -> None:
    """Over all parts of a release: what came first is as likely in the last part, whoever brought it."""
    coordinator = make(part=64)
    entries = random_offers(256)
    coordinator.append("ant", *entries[:128])
    coordinator.append("bee", *entries[128:])
    coordinator.log.release()
    arrival = {one.sealed: number for number, one in enumerate(entries)}
    order = [arrival[record.sealed] for record in coordinator.records()]
    assert sorted(order) == list(range(256)) != order
    # Each part of 64 draws about half of its entries from either half. 10 is more than five deviations away.
    for start in range(0, 256, 64):
        assert 10 < sum(1 for number in order[start : start + 64] if number < 128) < 54


def test_marks_are_in_random_order_too(make: Callable[..., ListingCoordinator]) -> None:
    """After the entries; several on one entry stay in theirs."""
    coordinator = make()
    entries = random_offers(64)
    coordinator.append("ant", *entries)
    coordinator.log.release()
    coordinator.mark("ant", HOLD, *entries)
    coordinator.mark("ant", EntryKind.RELEASE, entries[0])
    coordinator.append("ant", *random_offers(3, "more"))
    coordinator.log.release()
    tail = [entry for entry, _ in coordinator.entries()][64:]
    assert [entry.kind for entry in tail[:3]] == [APPEND] * 3
    marked = [entry.position for entry in tail[3:] if entry.kind is HOLD]
    first_position = coordinator.states("ant", entries[0])[0].position
    assert sorted(marked) == list(range(64))
    assert marked != [one.position for one in coordinator.states("ant", *entries)]
    on_first = [entry.kind for entry in tail[3:] if entry.position == first_position]
    assert on_first == [HOLD, EntryKind.RELEASE]


def test_a_large_release_is_several_heads_that_each_hold(make: Callable[..., ListingCoordinator]) -> None:
    """Each is the past of the next; in the end everything is there once."""
    coordinator = make(part=8)
    entries = random_offers(30)
    coordinator.append("ant", *entries)
    told = heads_told(coordinator)
    coordinator.log.release()
    coordinator.mark("ant", HOLD, *entries)
    coordinator.log.release()
    assert [head.size for head in told] == [8, 16, 24, 30, 38, 46, 54, 60]
    log = [entry for entry, _ in coordinator.entries()]
    for head in told:
        assert extend(Point.start(FEDERATION, 1), log[: head.size]) == head.point
    assert {record.sealed for record in coordinator.records()} == {one.sealed for one in entries}


# -- corrections -------------------------------------------------------------------------------------------------------


def test_a_correction_shows_at_once_or_not_at_all(make: Callable[..., ListingCoordinator]) -> None:
    """In parts of two: no head has neither of the two entries, nor both."""
    coordinator = make(part=2)
    old, new = random_offers(7, "old"), random_offers(7, "new")
    coordinator.append("ant", *old)
    coordinator.log.release()
    coordinator.append("ant", *new)
    coordinator.mark("ant", TOMBSTONE, *old, replaced_by=new)
    seen: list[set[int]] = []

    def look() -> None:
        live = {record.sealed for record in coordinator.records()}
        seen.append({(old[at].sealed in live) + (new[at].sealed in live) for at in range(7)})

    coordinator.log.on_changed.append(look)
    coordinator.log.release()
    assert seen == [{1}] * 4
    assert {record.sealed for record in coordinator.records()} == {one.sealed for one in new}


def test_a_correction_by_what_is_there_already_or_withdrawn_meanwhile_waits_for_nothing(
    make: Callable[..., ListingCoordinator],
) -> None:
    """A replacement that was released, one that never will be, and one that is itself replaced in the same batch."""
    coordinator = make()
    first, second, third, there, gone, chain, last = random_offers(7)
    coordinator.append("ant", first, second, third, there)
    coordinator.log.release()
    coordinator.append("ant", gone, chain, last)
    coordinator.mark("ant", TOMBSTONE, first, second, replaced_by=[there, gone])
    coordinator.mark("ant", TOMBSTONE, gone)
    coordinator.mark("ant", TOMBSTONE, third, chain, replaced_by=[chain, last])
    coordinator.log.release()
    assert {record.sealed for record in coordinator.records()} == {there.sealed, last.sealed}
    assert coordinator.log.status()[0].pending_marks == 0


# -- expiry and deletion -----------------------------------------------------------------------------------------------


def test_what_is_not_renewed_expires(make: Callable[..., ListingCoordinator]) -> None:
    """After the horizon, counted from the append or the last renewal; held entries too; a renewal shortens nothing."""
    coordinator = make(ListingSettings(window=timedelta(0), horizon=timedelta(days=10)))
    clock, renew = clock_of(coordinator), coordinator.log.intake.renew
    idle, renewed, held = offer("Li", "1"), offer("Wang", "2"), offer("Zhao", "3")
    coordinator.append("ant", idle, renewed, held)
    coordinator.log.release()
    coordinator.mark("ant", HOLD, held)
    clock.move(days=9)
    assert renew("ant", 1, renewed.sealed.entry_id) == []
    clock.move(days=-8)
    assert renew("ant", 1, renewed.sealed.entry_id) == []
    clock.move(days=9)
    coordinator.log.keep()
    assert [one.state for one in coordinator.states("ant", idle, renewed, held)] == ["expired", "live", "expired"]
    assert sorted(kinds(coordinator)[3:]) == [HOLD, EXPIRY, EXPIRY]
    unknown = [(one.index, type(one.error)) for one in renew("ant", 1, idle.sealed.entry_id + bytes(16))]
    assert unknown == [(0, ConflictError), (1, NotFoundError)]
    assert [type(one.error) for one in renew("bee", 1, renewed.sealed.entry_id)] == [NotFoundError]
    clock.move(days=9)
    coordinator.log.keep()
    assert coordinator.records() == []
    assert coordinator.log.status()[0].live == 0
    assert coordinator.events()[-1] == ("listing.released", {"epoch": 1, "size": 7, "entries": 0, "marks": 1})


def test_many_expire_in_parts(make: Callable[..., ListingCoordinator]) -> None:
    """More than one transaction takes: all of them, each once."""
    coordinator = make(ListingSettings(window=timedelta(0), horizon=timedelta(days=10)), part=8)
    coordinator.append("ant", *random_offers(20))
    coordinator.log.release()
    clock_of(coordinator).move(days=10)
    coordinator.log.keep()
    assert kinds(coordinator) == [APPEND] * 20 + [EXPIRY] * 20


@pytest.mark.parametrize("end", ["withdrawn", "withdrawn before its release", "expired", "corrected"])
def test_of_what_has_ended_nothing_is_left_on_the_disk(make: Callable[..., ListingCoordinator], end: str) -> None:
    """Neither the sealed label, nor the id, nor the tag, in no file; readers verify the log all the same."""
    coordinator = make(ListingSettings(window=timedelta(0), horizon=timedelta(days=10)))
    entry, other = offer("Li", "1"), offer("Wang", "2")
    if end != "expired":
        clock_of(coordinator).move(days=-1)
    coordinator.append("ant", entry)
    assert is_on_disk(coordinator, entry)
    if end == "withdrawn before its release":
        coordinator.mark("ant", TOMBSTONE, entry)
    coordinator.append("ant", other)
    coordinator.log.intake.renew("ant", 1, other.sealed.entry_id)
    coordinator.log.release()
    if end == "corrected":
        coordinator.mark("ant", TOMBSTONE, entry, replaced_by=[other])
    if end == "withdrawn":
        coordinator.mark("ant", TOMBSTONE, entry)
    if end == "expired":
        clock_of(coordinator).move(days=9)
        coordinator.log.intake.renew("ant", 1, other.sealed.entry_id)
        clock_of(coordinator).move(days=1)
    coordinator.log.keep()
    assert not is_on_disk(coordinator, entry)
    assert is_on_disk(coordinator, other)
    assert [record.sealed for record in coordinator.records()] == [other.sealed]


def test_deletion_that_could_not_be_finished_is_done_after_a_restart(make: Callable[..., ListingCoordinator]) -> None:
    """A reader of an older snapshot, or a kill, right after the release."""
    coordinator = make()
    entry = offer("Li", "1")
    coordinator.append("ant", entry)
    coordinator.log.release()
    coordinator.mark("ant", TOMBSTONE, entry)
    coordinator.log.release()
    assert is_on_disk(coordinator, entry)
    coordinator.restart().keep()
    assert not is_on_disk(coordinator, entry)


def test_a_reader_that_is_overtaken_by_a_deletion_verifies_what_it_got(
    make: Callable[..., ListingCoordinator],
) -> None:
    """Records of later segments go while it reads; it goes on up to the newest head, which says why."""
    coordinator = make()
    entries = random_offers(4000)
    coordinator.append("ant", *entries)
    coordinator.log.release()
    first = coordinator.log.read(1, 0)
    assert not first.is_last
    states = zip(entries, coordinator.states("ant", *entries), strict=True)
    late = [entry for entry, state in states if state.position is not None and state.position >= first.end][:5]
    coordinator.mark("ant", TOMBSTONE, *late)
    coordinator.log.release()
    items, position = list(unpack(first.entries)), first.end
    while position < coordinator.head().size:
        part = coordinator.log.read(1, position)
        items.extend(unpack(part.entries))
        position = part.end
    stretch = Stretch(Point.start(FEDERATION, 1), coordinator.head().point)
    for entry, _ in items:
        stretch.take(entry)
    stretch.end()
    assert sum(1 for entry, record in items if entry.kind is APPEND and record is None) == 5


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_log_is_read_from_any_position_to_any_size(make: Callable[..., ListingCoordinator]) -> None:
    """Within segments and over their ends; without records by their hashes; the head comes with its size alone."""
    coordinator = make()
    entries = random_offers(2 * SEGMENT + 100)
    coordinator.append("ant", *entries)
    coordinator.log.release()
    coordinator.mark("ant", TOMBSTONE, *entries[:3])
    coordinator.log.release()
    whole = coordinator.entries()
    size = 2 * SEGMENT + 103
    for start, end in ((0, 1), (5, 1024), (1023, 1025), (1024, 2048), (2047, size), (size, size), (700, size)):
        part = coordinator.log.read(1, start, end)
        assert [entry for entry, _ in unpack(part.entries)] == [entry for entry, _ in whole[start:end]]
        assert (part.start, part.end, part.is_last, part.head is None) == (start, end, True, end < size)
    bare = coordinator.log.read(1, 1000, 1100, records=False)
    assert list(unpack(bare.entries)) == [
        (Entry.deleted(entry.content) if entry.kind is APPEND else entry, None) for entry, _ in whole[1000:1100]
    ]
    for start, end in ((size + 1, 0), (0, size + 1), (5, 4)):
        with pytest.raises(InvalidInputError, match="positions"):
            coordinator.log.read(1, start, end)


# -- heads and epochs --------------------------------------------------------------------------------------------------


def test_heads_are_signed_again_in_time(make: Callable[..., ListingCoordinator]) -> None:
    """Each minute, without a release; told to who waits for it."""
    coordinator = make()
    told = heads_told(coordinator)
    for _ in range(2):
        clock_of(coordinator).move(seconds=59)
        coordinator.log.keep()
    clock_of(coordinator).move(seconds=1)
    coordinator.log.keep()
    assert [head.signed_at.second for head in told] == [58]
    assert [head.size for head in told] == [0]


def test_a_release_that_fails_changes_nothing(make: Callable[..., ListingCoordinator]) -> None:
    """The head is signed in the transaction: without it there are no entries, and what waited still waits."""
    coordinator = make()
    entry = offer("Li", "1")
    coordinator.append("ant", entry)
    before = coordinator.log.heads()
    with patch.object(Heads, "sign", side_effect=OSError("no key")), pytest.raises(OSError, match="no key"):
        coordinator.log.release()
    assert (coordinator.log.heads(), coordinator.records()) == (before, [])
    coordinator.restart().release()
    assert [record.sealed for record in coordinator.records()] == [entry.sealed]


def test_a_release_that_is_cut_off_goes_on_after_a_restart(make: Callable[..., ListingCoordinator]) -> None:
    """What was released stays as it was signed; the rest follows, nothing twice."""
    coordinator = make(part=4)
    entries = random_offers(10)
    coordinator.append("ant", *entries)

    def die() -> None:
        raise KeyboardInterrupt

    coordinator.log.on_changed.append(die)
    with pytest.raises(KeyboardInterrupt):
        coordinator.log.release()
    cut = coordinator.head()
    assert cut.size == 4
    coordinator.restart().release()
    log = [entry for entry, _ in coordinator.entries()]
    assert extend(Point.start(FEDERATION, 1), log[:4]) == cut.point
    assert {record.sealed for record in coordinator.records()} == {one.sealed for one in entries}
    assert len(log) == 10


def test_each_epoch_has_a_log_of_its_own(make: Callable[..., ListingCoordinator]) -> None:
    """Both are served after a rotation, and the old one for its time; then it is gone, and does not come back."""
    coordinator = make()
    old, new = offer("Li", "1"), offer("Li", "2", epoch=2)
    coordinator.append("ant", old)
    coordinator.log.release()
    stamp = coordinator.records()[0].stamp
    coordinator.epochs[2] = ("ant", "bee")
    coordinator.log.keep()
    coordinator.append("ant", new, epoch=2)
    coordinator.log.release()
    assert [Head.parse(signed.payload).epoch for signed in coordinator.log.heads()] == [1, 2]
    assert coordinator.records(2)[0].stamp != stamp
    until = clock_of(coordinator)() + timedelta(days=30)
    assert [one.served_until for one in coordinator.log.status()] == [until, None]
    clock_of(coordinator).move(days=29)
    coordinator.append("ant", offer("Wang", "3"))
    coordinator.log.keep()
    assert len(coordinator.records()) == 2
    clock_of(coordinator).move(days=1)
    with pytest.raises(NotFoundError):
        coordinator.log.read(1, 0)
    coordinator.log.keep()
    coordinator.restart().keep()
    assert not is_on_disk(coordinator, old)
    assert [one.epoch for one in coordinator.log.status()] == [2]
    assert len(coordinator.records(2)) == 1
    assert ("listing.log_deleted", {"epoch": 1, "size": 2}) in coordinator.events()


def test_an_old_log_is_deleted_in_parts(make: Callable[..., ListingCoordinator]) -> None:
    """Each a transaction, so that nobody waits long; after a kill in between the rest goes with the next start."""
    coordinator = make(epochs=(1, 2))
    entries = random_offers(2 * SEGMENT)
    coordinator.append("ant", *entries)
    coordinator.log.release()
    coordinator.append("ant", *random_offers(100, "pending"))
    clock_of(coordinator).move(days=31)
    parts = 0
    delete_some = log_ledger.delete_some

    def dies_at_third(*args: Any) -> bool:
        nonlocal parts
        parts += 1
        if parts == 3:
            raise KeyboardInterrupt
        return delete_some(*args)

    with patch("jointrisk_coordinator.listings.heads._ROWS", 1000):
        with patch.object(log_ledger, "delete_some", dies_at_third), pytest.raises(KeyboardInterrupt):
            coordinator.log.keep()
        assert ("listing.log_deleted", {"epoch": 1, "size": 2 * SEGMENT}) not in coordinator.events()
        coordinator.restart().keep()
    assert [event for event, _ in coordinator.events()].count("listing.log_deleted") == 1
    assert not any(is_on_disk(coordinator, one) for one in entries[::500])


def test_stamps_are_the_same_after_a_restart_and_their_secret_is_sealed(
    make: Callable[..., ListingCoordinator],
) -> None:
    """One lister under one tag, before and after; the secret is in no file."""
    drawn: list[bytes] = []

    def randomness(number: int) -> bytes:
        drawn.append(bytes(range(100, 100 + number)))
        return drawn[-1]

    with patch("listing_coordinator.os.urandom", randomness):
        coordinator = make()
    coordinator.append("ant", offer("Li", "1"))
    coordinator.restart()
    coordinator.append("ant", offer("Li", "2"))
    coordinator.log.release()
    assert len({record.stamp for record in coordinator.records()}) == 1
    contents: list[Any] = [path.read_bytes() for path in coordinator.root.iterdir()]
    assert drawn
    assert not any(drawn[0] in content for content in contents)
