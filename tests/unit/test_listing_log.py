"""The log: no entry can be changed, left out, added or moved without the signed point telling, and none kept back."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.listing.log import SEGMENT, Entry, EntryKind, Point, Standing, Stretch, extend, record_hash
from listing_sample import UNHURRIED
from oprf_sample import flipped

START = Point.start("test", 1)
MARKS = [kind for kind in EntryKind if kind is not EntryKind.APPEND]
ENDING = [EntryKind.TOMBSTONE, EntryKind.EXPIRY]


@st.composite
def _logs(draw: st.DrawFn) -> list[Entry]:
    """Draw a log of up to twelve entries, with each record in it, and marks on earlier entries."""
    entries: list[Entry] = []
    for place in range(draw(st.integers(1, 12))):
        if place and draw(st.booleans()):
            entries.append(Entry.mark(draw(st.sampled_from(MARKS)), draw(st.integers(0, place - 1))))
        else:
            entries.append(Entry.append(draw(st.binary(max_size=8))))
    return entries


LOGS = _logs()


def verified(known: Point, target: Point, entries: list[Entry]) -> Point:
    """Verify a stretch."""
    stretch = Stretch(known, target)
    for entry in entries:
        stretch.take(entry)
    return stretch.end()


def without_body(entry: Entry) -> Entry:
    """Return an append as it is after its record was deleted."""
    return Entry.deleted(entry.content)


@UNHURRIED
@given(LOGS, st.data())
def test_a_stretch_is_verified_from_any_known_point(entries: list[Entry], data: st.DataObject) -> None:
    """From the start or from where a reader stands, in one go or in two, it leads to the same point."""
    cut = data.draw(st.integers(0, len(entries)))
    middle, end = extend(START, entries[:cut]), extend(START, entries)
    assert (middle.size, end.size) == (cut, len(entries))
    assert verified(START, middle, entries[:cut]) == middle
    assert verified(middle, end, entries[cut:]) == end == verified(START, end, entries)


@UNHURRIED
@given(LOGS, st.data())
def test_no_entry_can_be_changed(entries: list[Entry], data: st.DataObject) -> None:
    """Changed, dropped, doubled, moved or added: the stretch does not lead to what was signed."""
    end = extend(START, entries)
    place = data.draw(st.integers(0, len(entries) - 1))
    before, entry, after = entries[:place], entries[place], entries[place + 1 :]
    damaged = {
        "change": [*before, Entry.append(b"another record"), *after],
        "drop": [*before, *after],
        "double": [*before, entry, entry, *after],
        "add": [*entries, entry],
    }
    if after and after[0] != entry:
        damaged["move"] = [*before, after[0], entry, *after[1:]]
    for changed in damaged.values():
        with pytest.raises(CorruptError):
            verified(START, end, changed)


@UNHURRIED
@given(LOGS, LOGS)
def test_other_logs_end_elsewhere(one: list[Entry], other: list[Entry]) -> None:
    """Two logs have one hash only when they are one log."""
    same = [(each.kind, each.content) for each in one] == [(each.kind, each.content) for each in other]
    assert (extend(START, one) == extend(START, other)) == same


def test_logs_of_federations_and_epochs_begin_differently() -> None:
    """So the log of one epoch, or of another federation, is never taken for that of another."""
    starts = {Point.start(name, epoch).hash for name in ("test", "tes", "test1") for epoch in (0, 1, 2**64 - 1)}
    assert len(starts) == 9


def test_every_bit_of_a_record_is_in_its_hash() -> None:
    """The stamp too, which the lister's seal leaves out."""
    record = bytes(89)
    assert len({record_hash(other) for other in flipped(record)} | {record_hash(record)}) == 8 * 89 + 1


def test_a_records_hash_is_no_hash_of_bare_bytes() -> None:
    """It has a domain of its own, so nothing else that is hashed can stand for a record."""
    assert record_hash(b"x") != sha256(b"x").digest()


@pytest.mark.parametrize("kind", ENDING)
def test_a_record_may_be_gone_when_an_entry_has_ended_it(kind: EntryKind) -> None:
    """A new reader gets the hash alone, and sees in the same stretch that it was withdrawn or has expired."""
    entries = [Entry.append(b"a"), Entry.append(b"b"), Entry.mark(kind, 0)]
    end = extend(START, entries)
    assert verified(START, end, [without_body(entries[0]), *entries[1:]]) == end


@pytest.mark.parametrize("mark", [None, (EntryKind.HOLD, 0), (EntryKind.RELEASE, 0), (EntryKind.TOMBSTONE, 1)])
def test_a_record_cannot_be_kept_back(mark: tuple[EntryKind, int] | None) -> None:
    """Without a mark that ends that very entry, a missing record is told, though every hash is right."""
    entries = [Entry.append(b"a"), Entry.append(b"b"), *([Entry.mark(*mark)] if mark else [])]
    with pytest.raises(CorruptError, match="1 without a body"):
        verified(START, extend(START, entries), [without_body(entries[0]), *entries[1:]])


def test_a_stretch_that_was_cut_off_remembers_what_is_missing() -> None:
    """The second half goes on with the first half's positions, and with a newer head; else they would be forgotten."""
    entries = [Entry.append(b"a"), Entry.append(b"b"), Entry.append(b"c"), Entry.mark(EntryKind.EXPIRY, 1)]
    older, newer = extend(START, entries[:3]), extend(START, entries)
    first = Stretch(START, older)
    first.take(entries[0])
    first.take(without_body(entries[1]))
    assert first.missing == {1}
    second = Stretch(first.point, newer, first.missing)
    second.take(entries[2])
    second.take(entries[3])
    assert second.end() == newer
    third = Stretch(first.point, older, first.missing)
    third.take(entries[2])
    with pytest.raises(CorruptError, match="1 without a body"):
        third.end()


def test_a_first_half_that_was_forged_is_told_at_the_end() -> None:
    """Going on from an unverified point proves that point, too."""
    entries = [Entry.append(b"a"), Entry.append(b"b")]
    stretch = Stretch(START, extend(START, entries))
    stretch.take(Entry.append(b"forged"))
    rest = Stretch(stretch.point, extend(START, entries), stretch.missing)
    rest.take(entries[1])
    with pytest.raises(CorruptError, match="expected the 2 entries"):
        rest.end()


@pytest.mark.parametrize("position", [1, 2, 2**64 - 1])
def test_marks_are_on_earlier_entries(position: int) -> None:
    """A mark on itself or on what is to come is refused, signed or not."""
    entries = [Entry.append(b"a"), Entry.mark(EntryKind.HOLD, position)]
    with pytest.raises(CorruptError, match="earlier entry"):
        verified(START, extend(START, entries), entries)


def test_more_entries_than_signed_are_refused_as_they_come() -> None:
    """A coordinator that never stops sending fills no disk."""
    stretch = Stretch(START, extend(START, [Entry.append(b"a")]))
    stretch.take(Entry.append(b"a"))
    with pytest.raises(CorruptError, match="got more"):
        stretch.take(Entry.append(b"b"))


def test_an_older_head_is_no_target() -> None:
    """A log never goes back."""
    with pytest.raises(InvalidInputError, match="older"):
        Stretch(extend(START, [Entry.append(b"a")]), START)


def test_nothing_new_is_a_stretch() -> None:
    """A head that was signed again over the same log is verified without an entry; another hash there is told."""
    assert verified(START, START, []) == START
    with pytest.raises(CorruptError):
        verified(START, Point(0, bytes(32)), [])


def test_segments_end_at_each_1024_entries() -> None:
    """The points to keep, from which the hash at any size is made again by less than a segment of entries."""
    entries = [Entry.append(number.to_bytes(2)) for number in range(2 * SEGMENT + 5)]
    kept, point = [START], START
    for entry in entries:
        point = point.then(entry)
        if point.ends_segment:
            kept.append(point)
    assert [one.size for one in kept] == [0, 1024, 2048]
    wanted = 1500
    assert extend(kept[1], entries[kept[1].size : wanted]) == extend(START, entries[:wanted])


@UNHURRIED
@given(st.lists(st.sampled_from(MARKS), max_size=8))
def test_what_has_ended_stays_ended(marks: list[EntryKind]) -> None:
    """No later mark brings an entry back; before that, the last of hold and release counts."""
    standing = Standing.LIVE
    for mark in marks:
        standing = standing.after(mark)
    if any(mark in ENDING for mark in marks):
        assert standing is Standing.ENDED
    else:
        assert standing is (Standing.HELD if marks and marks[-1] is EntryKind.HOLD else Standing.LIVE)


def test_appends_and_marks_are_not_mixed_up() -> None:
    """Each refuses what only the other has."""
    with pytest.raises(InvalidInputError, match="expected a mark"):
        Standing.LIVE.after(EntryKind.APPEND)
    with pytest.raises(InvalidInputError, match="expected a mark"):
        _ = Entry.append(b"a").position
    for kind, position in ((EntryKind.APPEND, 0), (EntryKind.HOLD, -1), (EntryKind.HOLD, 2**64)):
        with pytest.raises(InvalidInputError, match="expected a mark"):
            Entry.mark(kind, position)
    with pytest.raises(InvalidInputError, match="32 bytes"):
        Entry.deleted(bytes(31))
    assert Entry.mark(EntryKind.HOLD, 258).position == 258


def test_a_log_belongs_to_a_federation() -> None:
    """It starts with a name that a federation can have."""
    with pytest.raises(InvalidInputError, match="federation"):
        Point.start("Not A Name", 1)
