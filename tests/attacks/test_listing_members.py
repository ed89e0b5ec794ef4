"""A member that lists what it should not: under tags that it only read, in another's name, again, and too much."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator_at_test import MovableClock
from fixed_randomness import fixed_randomness
from jointrisk.errors import (
    ConflictError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
    RefusedError,
    TooLargeError,
)
from jointrisk.listing.derive import ListingKeys
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import Offered
from jointrisk.listing.record import Record, Sealed, Unopened, new_entry_id, seal
from jointrisk.listing.stamp import lister_stamp
from jointrisk.rpc.v1 import listing_pb2 as pb
from jointrisk_node.signals.answer import Evidence, Signal, compose
from listing_coordinator import AT_ONCE, ListingCoordinator, offer, random_offers, read_log
from listing_sample import STAMP_SECRET, UNHURRIED, keys_of, label_of

EPOCH = 1
TODAY = date(2026, 3, 1)
LI = keys_of("Li", EPOCH)


@pytest.fixture
def coordinator(tmp_path: Path) -> ListingCoordinator:
    """Return a log in which ant has listed Li."""
    made = ListingCoordinator(tmp_path / "coordinator", clock=MovableClock())
    made.append("ant", offer("Li", "of ant"))
    made.log.release()
    return made


class Shown:
    """An entry as a replica finds it."""

    held = False

    def __init__(self, record: Record) -> None:
        self.record = record


def told(coordinator: ListingCoordinator, keys: ListingKeys = LI) -> Signal:
    """Return what the log says about a person."""
    coordinator.log.release()
    return compose(
        [Evidence(keys, [Shown(one) for one in coordinator.records() if one.sealed.tag == keys.tag])], (), TODAY
    )


def guesses_of_a_witness() -> Iterator[bytes]:
    """Yield what somebody could try who has not evaluated the person's identifier."""
    yield bytes(16)
    yield LI.tag
    yield keys_of("Li", 2).witness
    yield keys_of("Wang", EPOCH).witness
    yield from (fixed_randomness(f"guess {n}")(16) for n in range(50))


def test_nobody_lists_under_a_tag_that_it_only_read(coordinator: ListingCoordinator) -> None:
    """Without the witness each try is refused and on record; what else is in the batch is taken."""
    (record,) = coordinator.records()
    sealed = Sealed(bytes(16), record.sealed.tag, bytes(48))
    tries = [
        Offered(replace(sealed, entry_id=bytes([n]) * 16), guess) for n, guess in enumerate(guesses_of_a_witness())
    ]
    refused = coordinator.append("bee", *tries, offer("Wang", "of bee"))
    assert [one.index for one in refused] == list(range(len(tries)))
    assert {type(one.error) for one in refused} == {RefusedError}
    assert len(told(coordinator).listings) == 1
    last = coordinator.events()[-2]
    assert (last[0], last[1]["member"], last[1]["refused"]) == ("listing.appended", "bee", len(tries))


def test_a_false_listing_is_one_more_lender_and_hides_nobody(coordinator: ListingCoordinator) -> None:
    """Who has evaluated Li can say anything about Li: as itself, once, whatever pseudonyms it takes."""
    genuine = label_of().pseudonym
    coordinator.append("bee", offer("Li", "copied", pseudonym=genuine))
    assert (told(coordinator).lenders, len(told(coordinator).listings)) == (2, 2)
    for number in range(7):
        coordinator.append("bee", offer("Li", f"{number}", pseudonym=bytes([number]) * 16))
    assert told(coordinator).lenders == 2
    (ninth,) = coordinator.append("bee", offer("Li", "ninth"))
    assert isinstance(ninth.error, TooLargeError)
    without = compose([Evidence(LI, [Shown(one) for one in coordinator.records()])], {genuine}, TODAY)
    assert without.other_lenders == 1


@UNHURRIED
@given(
    st.lists(st.sampled_from([label_of().pseudonym, *(bytes([n]) * 16 for n in range(6))]), max_size=16),
    st.integers(1, 3),
)
def test_one_member_counts_as_one_lender_under_each_tag(pseudonyms: list[bytes], tags: int) -> None:
    """However it spreads copied and invented pseudonyms over a person's tags: at most one lender more for each tag."""
    keys = [keys_of(f"identifier {n}", EPOCH) for n in range(tags)]
    honest = [record("ant", one, label_of().pseudonym, n) for n, one in enumerate(keys)]
    false = [record("bee", keys[n % tags], pseudonym, 100 + n) for n, pseudonym in enumerate(pseudonyms)]
    evidence = [Evidence(one, [Shown(r) for r in (*honest, *false) if r.sealed.tag == one.tag]) for one in keys]
    lenders = compose(evidence, (), TODAY).lenders
    assert 1 <= lenders <= 1 + tags


def record(lister: str, keys: ListingKeys, pseudonym: bytes, entry: int) -> Record:
    """Return an entry of a lister."""
    sealed = seal(label_of(pseudonym=pseudonym), keys, new_entry_id(fixed_randomness(f"{lister} {entry}")))
    return Record(sealed, lister_stamp(STAMP_SECRET, lister, keys.tag))


def test_anothers_entry_cannot_be_listed_again(coordinator: ListingCoordinator) -> None:
    """With its witness, by who has evaluated Li too: while it is live, after it has ended, under a new id."""
    of_ant = offer("Li", "of ant")
    (refused,) = coordinator.append("bee", replace(of_ant, sealed=replace(of_ant.sealed, ciphertext=bytes(48))))
    assert isinstance(refused.error, ConflictError)
    renamed = Offered(replace(of_ant.sealed, entry_id=b"n" * 16), of_ant.witness)
    assert coordinator.append("bee", renamed) == []
    signal = told(coordinator)
    assert (len(signal.listings), signal.lenders) == (1, 1)
    assert signal.unopened == ((EPOCH, Unopened.NOT_AUTHENTIC, 1),)
    coordinator.mark("ant", EntryKind.TOMBSTONE, of_ant)
    coordinator.log.release()
    for member in ("ant", "bee"):
        (refused,) = coordinator.append(member, of_ant)
        assert isinstance(refused.error, RefusedError | ConflictError)
    assert told(coordinator).listings == ()


def test_a_copied_entry_gets_its_copiers_stamp_or_none(coordinator: ListingCoordinator) -> None:
    """The very bytes again, from another member: it stays ant's entry, once."""
    before = coordinator.records()
    coordinator.append("bee", offer("Li", "of ant"))
    coordinator.log.release()
    assert coordinator.records() == before


def test_nobody_marks_renews_or_sees_anothers_entry(coordinator: ListingCoordinator) -> None:
    """It is as unknown: no withdrawal, no dispute, no end of a dispute, no renewal, no state."""
    of_ant, of_bee = offer("Li", "of ant"), offer("Li", "of bee")
    coordinator.append("bee", of_bee)
    coordinator.log.release()
    for kind in (EntryKind.TOMBSTONE, EntryKind.HOLD, EntryKind.RELEASE):
        (refused,) = coordinator.mark("bee", kind, of_ant)
        assert isinstance(refused.error, NotFoundError)
    (replaced,) = coordinator.mark("bee", EntryKind.TOMBSTONE, of_bee, replaced_by=[of_ant])
    assert isinstance(replaced.error, NotFoundError)
    (renewed,) = coordinator.log.intake.renew("bee", EPOCH, of_ant.sealed.entry_id)
    assert isinstance(renewed.error, NotFoundError)
    assert coordinator.states("bee", of_ant)[0].state == "unknown"
    assert coordinator.states("ant", of_ant)[0].state == "live"
    assert len(told(coordinator).listings) == 2


def test_garbage_and_giants_are_refused_whole(coordinator: ListingCoordinator) -> None:
    """Parts of entries, too many of them, other epochs, other marks; the log is as it was."""
    size = coordinator.head().size
    for entries in (b"", bytes(95), bytes(97), bytes(96 * 4097)):
        with pytest.raises((InvalidInputError, TooLargeError)):
            coordinator.log.intake.append("bee", EPOCH, entries)
    for epoch in (0, 2, 2**53):
        with pytest.raises(NotFoundError):
            coordinator.append("bee", offer("Li", "elsewhere"), epoch=epoch)
    for kind in (EntryKind.APPEND, EntryKind.EXPIRY):
        with pytest.raises(InvalidInputError):
            coordinator.mark("bee", kind, offer("Li", "of ant"))
    coordinator.log.release()
    assert coordinator.head().size == size


def test_one_member_fills_no_log(tmp_path: Path) -> None:
    """What is over a member's part is refused, others go on; what was withdrawn makes room, and no flood of it."""
    coordinator = ListingCoordinator(tmp_path, AT_ONCE.model_copy(update={"entries_per_member": 40}))
    many = random_offers(60)
    assert len(coordinator.append("bee", *many)) == 20
    assert coordinator.append("ant", offer("Li", "of ant")) == []
    coordinator.log.release()
    assert coordinator.head().size == 41


async def test_a_removed_member_neither_reads_nor_lists(tmp_path: Path) -> None:
    """Every call is refused from then on, and a watch that was open ends."""
    coordinator = ListingCoordinator(tmp_path)
    coordinator.append("ant", offer("Li", "of ant"))
    async with coordinator.running(), coordinator.channel("bee") as calls:
        await read_log(calls)
        watch = calls.watch_listing_heads()
        await anext(watch)
        coordinator.removed.add("bee")
        coordinator.append("ant", offer("Wang", "of ant too"))
        coordinator.log.release()
        with pytest.raises(RefusedError):
            await to_its_end(watch)
        for call in (
            calls.append_listings(pb.AppendRequest(epoch=EPOCH)),
            calls.mark_listings(pb.MarkRequest(epoch=EPOCH, kind=pb.TOMBSTONE)),
            calls.count_tags(pb.CountTagsRequest(epoch=EPOCH)),
            read_log(calls),
        ):
            with pytest.raises(RefusedError):
                await call


async def to_its_end(watch: AsyncIterator[pb.Heads]) -> None:
    """Read heads until there are no more."""
    async for _ in watch:
        pass


async def test_numbers_of_tags_are_for_holders(tmp_path: Path) -> None:
    """They say how much each member lists: another member is refused."""
    coordinator = ListingCoordinator(tmp_path)
    async with coordinator.running():
        await coordinator.calls("ant").count_tags(pb.CountTagsRequest(epoch=EPOCH))
        with pytest.raises(JointriskError):
            await coordinator.calls("dog").count_tags(pb.CountTagsRequest(epoch=EPOCH))
