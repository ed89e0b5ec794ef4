"""A coordinator that signs what it likes: what its listers, its readers and two members that ask each other notice."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import MovableClock
from evaluation_federation import EPOCH, EvaluationNode, persons
from fixed_randomness import fixed_randomness
from hostile_asker import besieged
from hostile_log import HostileLog
from jointrisk.clock import utc_now
from jointrisk.errors import CorruptError, JointriskError, UnavailableError
from jointrisk.evaluation import Purpose
from jointrisk.listing.head import proven_fork
from jointrisk.listing.label import MemberKind
from jointrisk.listing.log import EntryKind
from jointrisk.listing.record import Record, Sealed, Unopened
from jointrisk_node.asking.outcome import Consent
from jointrisk_node.listings.witnessing import Watch
from jointrisk_node.replica.desk import ReplicaDesk
from jointrisk_node.signals.answer import Evidence, Signal, compose
from lender_at_test import GRACE, TODAY, LenderAtTest, keys_for, row
from listing_coordinator import COORDINATOR_KEY, FEDERATION, ListingCoordinator, offer
from listing_sample import keys_of

CONSENT = Consent("app-1")
OTHER_REFERENCE = {"reference": "loan-1b", "category": "active_loan", "severity": ""}


class Scene:
    """A lender that has listed two persons, one of them twice, and the log that its coordinator signs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = MovableClock()
        self.coordinator = ListingCoordinator(root / "coordinator", clock=self.clock)
        self.lender = LenderAtTest(root / "lender", self.coordinator, self.clock, member_kind=MemberKind.BANK)

    async def publish(self) -> HostileLog:
        """List, and return the log: six entries of the lender, one of somebody else."""
        await self.lender.publish(row(1), row(2), row(1, **OTHER_REFERENCE))
        self.coordinator.append("bee", offer("somebody", "else"))
        return self.released()

    def released(self) -> HostileLog:
        """Return the log as it is now, an hour later."""
        self.clock.move(hours=1)
        return HostileLog(self.coordinator, self.clock)

    async def alarms(self, log: HostileLog) -> dict[str, int]:
        """Return what the lister notices in a log."""
        replica = self.replica(log)
        await replica.refresh()
        watch = Watch(self.lender.witness, replica, grace=GRACE, recheck=timedelta(0), clock=self.clock)
        await asyncio.to_thread(watch.check)
        replica.close()
        return {one.what: one.count for one in self.lender.witness.alarms()}

    def replica(self, log: HostileLog) -> ReplicaDesk:
        """Return a reader's copy."""
        return ReplicaDesk(self.root / "replica", FEDERATION, COORDINATOR_KEY, log, self.lender.audit, clock=self.clock)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return a lender that has listed nothing yet."""
    return Scene(tmp_path)


def own(log: HostileLog, scene: Scene) -> list[int]:
    """Return the positions of the lender's entries."""
    tags = {keys_for(one).tag for _, one in scene.lender.evaluated}
    return [at for at, record in log.records().items() if record.sealed.tag in tags]


def together(log: HostileLog) -> list[int]:
    """Return positions of two entries under one tag."""
    by_tag: dict[bytes, list[int]] = {}
    for at, record in log.records().items():
        by_tag.setdefault(record.sealed.tag, []).append(at)
    return next(places for places in by_tag.values() if len(places) == 2)


Lie = Callable[[HostileLog, Scene], None]


def is_never_appended(log: HostileLog, scene: Scene) -> None:
    """Acknowledge an entry, and leave it out."""
    log.forget(own(log, scene)[0])


def is_ended_unasked(log: HostileLog, scene: Scene) -> None:
    """Withdraw an entry in its lister's place."""
    log.mark(EntryKind.TOMBSTONE, own(log, scene)[0])


def expires_unasked(log: HostileLog, scene: Scene) -> None:
    """Let an entry expire before its time."""
    log.mark(EntryKind.EXPIRY, own(log, scene)[0])


def is_disputed_unasked(log: HostileLog, scene: Scene) -> None:
    """Hold an entry."""
    log.mark(EntryKind.HOLD, own(log, scene)[0])


def has_its_ciphertext_swapped(log: HostileLog, scene: Scene) -> None:
    """Say about one person what was said about another."""
    log.swap_ciphertexts(*own(log, scene)[:2])


def is_moved_to_another_tag(log: HostileLog, scene: Scene) -> None:
    """Show an entry under another person's tag."""
    first, second = own(log, scene)[:2]
    records = log.records()
    other = next(one for one in (second, *own(log, scene)) if records[one].sealed.tag != records[first].sealed.tag)
    log.change(first, replace(records[first], sealed=replace(records[first].sealed, tag=records[other].sealed.tag)))


def counts_one_lender_as_two(log: HostileLog, scene: Scene) -> None:
    """Give one of two entries under a tag another stamp."""
    at = together(log)[1]
    log.change(at, replace(log.records()[at], stamp=b"another!"))


@pytest.mark.parametrize(
    ("lie", "alarm"),
    [
        (is_never_appended, {"own_entry_missing": 1}),
        (is_ended_unasked, {"own_entry_missing": 1}),
        (expires_unasked, {"own_entry_missing": 1}),
        (is_disputed_unasked, {"own_hold_unasked": 1}),
        (has_its_ciphertext_swapped, {"own_entry_changed": 2}),
        (is_moved_to_another_tag, {"own_entry_missing": 1}),
        (counts_one_lender_as_two, {"own_stamps_differ": 1}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_a_lister_notices_what_becomes_of_its_entry(scene: Scene, lie: Lie, alarm: dict[str, int]) -> None:
    """Every other reader takes the log for a good one; the honest log raises nothing."""
    honest = await scene.publish()
    log = scene.released()
    lie(log, scene)
    assert await scene.alarms(log) == alarm
    assert await Scene.alarms(scene_beside(scene), honest) == {}


def scene_beside(scene: Scene) -> Scene:
    """Return the same lender with a copy of its own, which has seen nothing yet."""
    beside = Scene.__new__(Scene)
    beside.__dict__.update(scene.__dict__, root=scene.root / "beside")
    beside.root.mkdir()
    return beside


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_withdrawal_that_is_forgotten_or_undone_is_an_alarm(scene: Scene, comes_back: bool) -> None:
    """The tombstone is left out; or it is there, and the old record is appended again, which opens as ever."""
    before = await scene.publish()
    await scene.lender.desk.withdraw(["loan-2"])
    await scene.lender.desk.settle()
    log = scene.released()
    gone = [at for at in before.records() if log.items[at][1] is None]
    assert len(gone) == 2
    if comes_back:
        log.append(before.records()[gone[0]])
    else:
        log.items = before.items
    assert await scene.alarms(log) == {"withdrawn_entry_served": 1 if comes_back else 2}


async def test_a_dispute_that_is_kept_from_readers_is_an_alarm(scene: Scene) -> None:
    """The hold was acknowledged, and is not in the log."""
    await scene.publish()
    await scene.lender.desk.dispute(["loan-2"], ended=False)
    await scene.lender.desk.settle()
    log = scene.released()
    assert await Scene.alarms(scene_beside(scene), log) == {}
    log.items = [item for item in log.items if item[0].kind is not EntryKind.HOLD]
    assert await scene.alarms(log) == {"own_hold_missing": 2}


def withheld(log: HostileLog) -> None:
    """Keep a record back, with no mark that would end it."""
    log.withhold(0)


def one_id_twice(log: HostileLog) -> None:
    """Append a live entry again."""
    log.append(log.records()[0])


def nine_of_one_lister(log: HostileLog) -> None:
    """More than eight live entries under one tag and stamp."""
    record = log.records()[0]
    log.append(
        *(Record(Sealed(bytes([n]) * 16, record.sealed.tag, record.sealed.ciphertext), record.stamp) for n in range(8))
    )


@pytest.mark.parametrize("lie", [withheld, one_id_twice, nine_of_one_lister])
async def test_a_log_that_breaks_a_rule_is_served_by_nobody(scene: Scene, lie: Callable[[HostileLog], None]) -> None:
    """Every reader refuses it, whoever's entries they are: an error, never an answer with less in it."""
    log = await scene.publish()
    tag = log.records()[0].sealed.tag
    lie(log)
    replica = scene.replica(log)
    with pytest.raises(CorruptError):
        await replica.refresh()
    with pytest.raises(UnavailableError):
        replica.lookup(EPOCH, tag)


async def test_a_log_that_is_shown_and_taken_back_is_an_alarm(scene: Scene) -> None:
    """A head over fewer entries, later: the two heads prove it, and what was served stays served."""
    log = await scene.publish()
    replica = scene.replica(log)
    await replica.refresh()
    tag, last = log.records()[0].sealed.tag, len(log.items) - 1
    before = [one.position for one in replica.lookup(EPOCH, tag)]
    log.forget(last)
    scene.clock.move(minutes=1)
    with pytest.raises(JointriskError):
        await replica.refresh()
    assert [one.reason for one in replica.forks()] == ["shrunk"]
    assert [one.position for one in replica.lookup(EPOCH, tag)] == before


# -- what readers are told ---------------------------------------------------------------------------------------------


def told(log: HostileLog, person: str) -> Signal:
    """Return what is listed about a person in a log."""
    keys = keys_of(person, EPOCH)
    found = [Shown(record) for record in log.records().values() if record.sealed.tag == keys.tag]
    return compose([Evidence(keys, found)], (), TODAY)


class Shown:
    """An entry as a replica finds it."""

    held = False

    def __init__(self, record: Record) -> None:
        self.record = record


async def test_made_up_entries_are_no_listings_and_no_lenders(scene: Scene) -> None:
    """The coordinator has seen every witness and sets every stamp; what it appends itself opens to nobody."""
    scene.coordinator.append("ant", offer("Li", "first"))
    log = scene.released()
    (record,) = log.records().values()
    draw = fixed_randomness("coordinator")
    for _ in range(30):
        log.append(Record(Sealed(draw(16), record.sealed.tag, draw(48)), draw(8)))
    signal = told(log, "Li")
    assert (len(signal.listings), signal.lenders) == (1, 1)
    assert signal.unopened == ((EPOCH, Unopened.NOT_AUTHENTIC, 30),)


async def test_swapped_replayed_and_moved_records_say_nothing_about_anybody(scene: Scene) -> None:
    """Between persons, under new ids, from another epoch, under another stamp: not opened, and told as that."""
    scene.coordinator.append("ant", offer("Li", "first"), offer("Wang", "second"))
    honest = scene.released().records()
    by_person = {person: told(scene.released(), person).listings for person in ("Li", "Wang")}
    assert [len(listings) for listings in by_person.values()] == [1, 1]
    first, second = honest.values()
    other_epoch = offer("Li", "first", epoch=2).sealed
    cases = (
        replace(first.sealed, ciphertext=second.sealed.ciphertext),
        replace(first.sealed, entry_id=bytes(16)),
        replace(first.sealed, tag=second.sealed.tag),
        replace(second.sealed, tag=first.sealed.tag),
        replace(other_epoch, tag=first.sealed.tag),
    )
    for sealed in cases:
        log = scene.released()
        for at in honest:
            log.change(at, Record(sealed, first.stamp))
        signals = [told(log, person) for person in ("Li", "Wang")]
        assert [len(signal.listings) for signal in signals] == [0, 0]
        assert sum(count for signal in signals for _, _, count in signal.unopened) == 2
        assert not all(signal.is_empty for signal in signals)


# -- two members that are shown different logs -------------------------------------------------------------------------


@pytest.mark.parametrize("longer", [False, True])
async def test_a_log_of_its_own_for_one_member_shows_with_the_first_question(tmp_path: Path, longer: bool) -> None:
    """An entry is kept from ant alone. Ant asks bee: both hold what proves it, and an outsider can judge it."""
    clock = MovableClock(utc_now())
    coordinator = ListingCoordinator(tmp_path / "coordinator", clock=clock)
    coordinator.append("cat", *(offer(f"person {n}", f"entry {n}") for n in range(5)))
    true, forked = (HostileLog(coordinator, clock) for _ in range(2))
    if longer:
        true.append(Record(Sealed(b"i" * 16, b"t" * 16, b"c" * 48), b"stamp..."))
    sealed = replace(forked.records()[2].sealed, entry_id=b"x" * 16)
    forked.change(2, replace(forked.records()[2], sealed=sealed))
    async with besieged(tmp_path / "members", clock) as siege:
        bee = await siege.hold("bee")
        ant = siege.node("ant")
        desks = [await reading(node, log, clock) for node, log in ((ant, forked), (bee, true))]
        assert [desk.forks() for desk in desks] == [[], []]
        await ant.asker.evaluate(persons(1), Purpose.ADMISSION, CONSENT, epoch=EPOCH)
        for desk in desks:
            await desk._judge()
    alarms = [[(one.brought_by, one.reason) for one in desk.forks()] for desk in desks]
    if longer:  # ant's log has not come so far, so it keeps bee's head until it has
        assert alarms == [[], [("ant", "diverged")]]
    else:
        assert alarms == [[("bee", "other_history")], [("ant", "other_history")]]
        assert proven_fork(true.signed, forked.signed, COORDINATOR_KEY) is not None
    for desk in desks:
        desk.close()


async def reading(node: EvaluationNode, log: HostileLog, clock: MovableClock) -> ReplicaDesk:
    """Give a node a copy of a log, whose heads go with its questions and answers."""
    desk = ReplicaDesk(node.node.state.root / "replica", FEDERATION, COORDINATOR_KEY, log, node.node.audit, clock=clock)
    await desk.refresh()
    node.heads.newest = desk.newest  # type: ignore[method-assign]
    node.heads.compare = desk.compare  # type: ignore[method-assign]
    return desk
