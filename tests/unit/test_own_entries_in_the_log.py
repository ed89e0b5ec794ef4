"""What a lister finds wrong with its own entries in the log, and what it must not find wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator_at_test import MovableClock
from jointrisk.federation.signing import Signed
from jointrisk.listing.record import Record, Sealed
from jointrisk_node.listings.witnessing import Check, OwnState, Verdict, Watch, judge
from jointrisk_node.listings.witnessing.checks import judge_stamps
from lender_at_test import EPOCH, GRACE, LenderAtTest, row
from listing_coordinator import ListingCoordinator
from listing_sample import UNHURRIED, keys_of, record_of

KEYS = keys_of("Li")
OURS = record_of(KEYS, "ours")
SECOND = record_of(KEYS, "our second")
OTHERS = record_of(KEYS, "theirs", lister="west-bank")


@dataclass(frozen=True)
class _There:
    """An entry of a replica."""

    record: Record
    held: bool = False
    position: int = 7


def _own(*, ended: bool = False, held: bool = False) -> OwnState:
    sealed = OURS.sealed
    return OwnState(sealed.entry_id, sealed.tag, sealed.ciphertext, ended, held)


def _changed(record: Record) -> Record:
    sealed = record.sealed
    return Record(Sealed(sealed.entry_id, sealed.tag, bytes(48)), record.stamp)


@pytest.mark.parametrize(
    ("own", "there", "verdict"),
    [
        (_own(), [_There(OTHERS), _There(OURS)], None),
        (_own(held=True), [_There(OURS, held=True)], None),
        (_own(ended=True), [_There(OTHERS)], None),
        (_own(), [_There(OTHERS)], Verdict(Check.MISSING)),
        (_own(), [_There(OURS), _There(OURS, position=9)], Verdict(Check.REPEATED, 9)),
        (_own(), [_There(_changed(OURS))], Verdict(Check.CHANGED, 7)),
        (_own(held=True), [_There(OURS)], Verdict(Check.HOLD_MISSING, 7)),
        (_own(), [_There(OURS, held=True)], Verdict(Check.HOLD_UNASKED, 7)),
        (_own(ended=True), [_There(OURS)], Verdict(Check.BACK, 7)),
    ],
)
def test_each_check_of_the_protocol_has_its_verdict(
    own: OwnState, there: Sequence[_There], verdict: Verdict | None
) -> None:
    """Docs/protocol.md, 4.7, one by one; other lenders' entries under the tag are none of ours."""
    assert judge(own, there) == verdict


@UNHURRIED
@given(st.lists(st.sampled_from([_There(OTHERS), _There(SECOND), _There(_changed(OTHERS), held=True)])))
def test_what_is_not_ours_never_changes_a_verdict(others: list[_There]) -> None:
    """Whatever else stands under the tag."""
    assert judge(_own(), [_There(OURS), *others]) is None
    assert judge(_own(), others) == Verdict(Check.MISSING)
    assert judge(_own(ended=True), others) is None


def test_two_stamps_on_our_entries_under_one_tag_are_seen() -> None:
    """The coordinator would count this lender as two; another lender's stamp is another anyway."""
    ids = [OURS.sealed.entry_id, SECOND.sealed.entry_id]
    assert judge_stamps(ids, [_There(OURS), _There(SECOND), _There(OTHERS)]) is None
    other = Record(SECOND.sealed, OTHERS.stamp)
    assert judge_stamps(ids, [_There(OURS), _There(other, position=11)]) == Verdict(Check.STAMPS, 11)


@dataclass
class _ReplicaAtTest:
    """A replica that shows what a test says."""

    clock: MovableClock
    size: int = 1
    there: dict[bytes, list[_There]] = field(default_factory=dict)
    looked_up: int = 0

    @property
    def signed_at(self) -> datetime:
        """The time of its head."""
        return self.clock()

    def epochs(self) -> list[int]:
        """Return the one."""
        return [EPOCH]

    def state(self, _epoch: int) -> "_ReplicaAtTest":
        """Return how it stands."""
        return self

    def newest(self, _epoch: int) -> Signed | None:
        """Return no head."""
        return None

    def lookup(self, _epoch: int, tag: bytes) -> list[_There]:
        """Return what stands under a tag."""
        self.looked_up += 1
        return self.there.get(tag, [])


class _Scene:
    """A lender with one row listed, and a replica that shows it as it should be."""

    def __init__(self, root: Path) -> None:
        self.clock = MovableClock()
        self.lender = LenderAtTest(
            root / "lender", ListingCoordinator(root / "coordinator", clock=self.clock), self.clock
        )
        self.replica = _ReplicaAtTest(self.clock)
        self.watch = Watch(self.lender.witness, self.replica, grace=GRACE, recheck=timedelta(hours=1), clock=self.clock)

    async def publish(self, *numbers: int) -> None:
        """List rows, and show them."""
        await self.lender.publish(*(row(number) for number in numbers))
        for page in self.lender.witness.page(EPOCH, b"", told_before=self.clock(), unverified=False):
            self.replica.there[page[0].tag] = [self._shown(one) for one in page]

    def _shown(self, own: OwnState) -> _There:
        return _There(Record(Sealed(own.entry_id, own.tag, own.ciphertext), bytes(8)))

    def alarms(self) -> dict[str, int]:
        """Check, and return the alarms."""
        self.watch.check()
        return {one.what: one.count for one in self.lender.witness.alarms()}


@pytest.fixture
def scene(tmp_path: Path) -> _Scene:
    """Return a scene before anything is listed."""
    return _Scene(tmp_path)


async def test_nothing_is_wrong_before_the_window_is_over(scene: _Scene) -> None:
    """An entry that is not there yet is an alarm only after the grace, and one in the end."""
    await scene.publish(1, 2)
    scene.replica.there.clear()
    assert scene.alarms() == {}
    scene.clock.move(minutes=29)
    assert scene.alarms() == {}
    scene.clock.move(minutes=1)
    assert scene.alarms() == {"own_entry_missing": 4}


async def test_what_is_verified_is_not_looked_up_again_until_the_log_has_grown_for_a_while(scene: _Scene) -> None:
    """New heads without entries cost nothing; a larger log is gone through once in an hour."""
    await scene.publish(1, 2, 3)
    scene.clock.move(hours=1)
    assert scene.alarms() == {}
    assert scene.replica.looked_up == 6
    scene.alarms()
    scene.clock.move(hours=2)
    scene.alarms()
    assert scene.replica.looked_up == 6
    scene.replica.size = 2
    scene.alarms()
    assert scene.replica.looked_up == 12


async def test_an_entry_in_doubt_is_looked_at_at_every_head(scene: _Scene) -> None:
    """The alarm stays while it is wrong, also without a whole check, and ends when it isn't any more."""
    await scene.publish(1)
    scene.clock.move(hours=1)
    scene.alarms()
    scene.clock.move(hours=1)
    kept, scene.replica.there, scene.replica.size = scene.replica.there, {}, 2
    assert scene.alarms() == {"own_entry_missing": 2}
    scene.clock.move(minutes=1)
    assert scene.alarms() == {"own_entry_missing": 2}
    scene.replica.there = kept
    assert scene.alarms() == {}
    assert scene.lender.events().count("listings.own_entry_missing") == 1
    assert scene.lender.events().count("listings.alarm_ended") == 1


async def test_a_withdrawn_entry_that_is_served_on_is_an_alarm(scene: _Scene) -> None:
    """Also one that is appended again under its old id; only its lister knows that it was withdrawn."""
    await scene.publish(1)
    await scene.lender.desk.withdraw(["loan-1"])
    await scene.lender.desk.settle()
    assert scene.alarms() == {}
    scene.clock.move(minutes=31)
    assert scene.alarms() == {"withdrawn_entry_served": 2}


async def test_what_is_on_its_way_is_no_alarm(scene: _Scene) -> None:
    """A withdrawal that the coordinator may have carried out, and hasn't acknowledged, is neither here nor there."""
    await scene.publish(1)
    scene.clock.move(hours=1)
    scene.lender.calls.down = True
    await scene.lender.desk.withdraw(["loan-1"])
    scene.replica.there.clear()
    assert scene.alarms() == {}
    own = scene.lender.witness
    assert own.page(EPOCH, b"", told_before=scene.clock(), unverified=False) == []
