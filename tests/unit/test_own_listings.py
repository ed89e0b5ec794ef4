"""The life of a lender's entries: published, corrected, disputed, renewed, published again, withdrawn."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from coordinator_at_test import MovableClock
from jointrisk.errors import UnavailableError
from jointrisk.identifiers import Identifier, canonicalise
from jointrisk.listing.label import AmountBand, Category, MemberKind, Severity
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import unpack_appends
from jointrisk.rpc.v1 import listing_pb2 as pb
from lender_at_test import EPOCH, LenderAtTest, phone, resident_id, row
from listing_coordinator import HOLDERS, ListingCoordinator


def _person(number: int) -> Identifier:
    return canonicalise("resident_id", "CN", resident_id(number))


def _phone(number: int) -> Identifier:
    return canonicalise("phone", "CN", phone(number))


class _Setting:
    """A log and a lender."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = MovableClock()
        self.coordinator = ListingCoordinator(root / "coordinator", clock=self.clock)
        self.log = self.coordinator.log
        self.lender = self.restarted()

    def restarted(self, **settings: Any) -> LenderAtTest:
        """Return the lender after its daemon has been started again."""
        said = {"member_kind": MemberKind.BANK} | settings
        self.lender = LenderAtTest(self.root / "lender", self.coordinator, self.clock, **said)
        return self.lender


@pytest.fixture
def setting(tmp_path: Path) -> _Setting:
    """Return a log, and a lender that has listed nothing."""
    return _Setting(tmp_path)


async def test_a_row_is_found_under_each_identifier_and_says_what_the_file_said(setting: _Setting) -> None:
    """Both entries of a person open to one label with one pseudonym; another person has another."""
    progress = await setting.lender.publish(row(1), row(2, category="active_loan", severity=""))
    assert (progress.listed, progress.stored, progress.refused) == (2, 4, 0)
    by_resident_id, by_phone = await setting.lender.found(_person(1)), await setting.lender.found(_phone(1))
    assert by_resident_id == by_phone
    ((label, held),) = by_resident_id
    assert (label.category, label.severity, held) == (Category.CONFIRMED_DEFAULT, Severity.HIGH, False)
    assert (label.amount_band, label.member_kind) == (AmountBand.UNDER_20K, MemberKind.BANK)
    assert (label.expires_on - label.listed_on).days == 1826
    assert label.pseudonym == setting.lender.desk.own_pseudonym(_person(1))
    ((other, _),) = await setting.lender.found(_person(2))
    assert (other.category, other.severity) == (Category.ACTIVE_LOAN, Severity.NONE)
    assert other.pseudonym != label.pseudonym


async def test_the_same_file_again_evaluates_and_appends_nothing(setting: _Setting) -> None:
    """Rows with the same content are skipped; one with other content is refused, and says which command is meant."""
    await setting.lender.publish(row(1), row(2))
    lender = setting.restarted()
    again = await lender.publish(row(1), row(2, severity="low"), row(1))
    assert (again.already, again.listed, again.refused) == (2, 0, 1)
    assert "listings correct" in again.refusals[0].rule
    assert lender.evaluated == []
    assert lender.calls.sent == []


async def test_what_was_stored_before_a_crash_is_sent_byte_for_byte_and_never_evaluated_again(
    setting: _Setting,
) -> None:
    """The coordinator is down, then its answer is lost, then the daemon dies: the same entries arrive, once each."""
    setting.lender.calls.down = True
    with pytest.raises(UnavailableError):
        await setting.lender.publish(row(1), row(2))
    setting.lender.calls.down, setting.lender.calls.lose = False, True
    with pytest.raises(UnavailableError):
        await setting.lender.publish(row(1), row(2))
    (first,) = setting.lender.calls.sent
    assert len(setting.lender.evaluated) == 4
    lender = setting.restarted()
    done = await lender.publish(row(1), row(2))
    (second,) = lender.calls.sent
    assert first.entries == second.entries
    assert (done.already, done.stored, lender.evaluated) == (2, 0, [])
    assert len(await lender.found(_person(1))) == len(await lender.found(_phone(2))) == 1
    assert setting.log.status()[0].size == 4


async def test_entries_are_sent_in_an_order_that_tells_no_neighbours(setting: _Setting) -> None:
    """Entries come in the order of their random ids, whatever the order of the file."""
    await setting.lender.publish(*(row(number) for number in range(40)))
    (request,) = setting.lender.calls.sent
    ids = [one.sealed.entry_id for one in unpack_appends(request.entries)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 80


async def test_a_withdrawal_asked_for_while_the_coordinator_is_down_is_carried_out_later(setting: _Setting) -> None:
    """It is durable, survives a restart, ends both entries, and what the row said is deleted then."""
    await setting.lender.publish(row(1), row(2))
    setting.lender.calls.down = True
    outcome = await setting.lender.desk.withdraw(["loan-1", "no such", " loan-1 "])
    assert (outcome.taken, outcome.unknown) == (1, (1,))
    assert await setting.lender.desk.settle() == 2
    assert [one.state for page in setting.lender.desk.own(withdrawn=True) for one in page].count("withdrawing") == 1
    lender = setting.restarted()
    assert (await lender.desk.withdraw(["loan-1"])).already == 1
    assert await lender.desk.settle() == 0
    assert await lender.found(_person(1)) == await lender.found(_phone(1)) == []
    assert len(await lender.found(_person(2))) == 1
    assert (await lender.desk.withdraw(["loan-1"])).unknown == (0,)
    assert [one.row.reference for page in lender.desk.own(withdrawn=True) for one in page] == ["loan-2"]


async def test_a_row_that_was_withdrawn_can_be_listed_again_with_new_entries(setting: _Setting) -> None:
    """Ids that have ended are never used again."""
    await setting.lender.publish(row(1))
    await setting.lender.desk.withdraw(["loan-1"])
    assert await setting.lender.desk.settle() == 0
    assert (await setting.lender.publish(row(1))).listed == 1
    assert len(await setting.lender.found(_person(1))) == 1
    first, _, second = setting.lender.calls.sent
    assert {one.sealed.entry_id for one in unpack_appends(first.entries)}.isdisjoint(
        one.sealed.entry_id for one in unpack_appends(second.entries)
    )


async def test_what_is_withdrawn_before_it_was_ever_sent_is_never_seen(setting: _Setting) -> None:
    """Its tombstone names an entry that the coordinator doesn't know, and nothing waits on."""
    setting.lender.calls.down = True
    with pytest.raises(UnavailableError):
        await setting.lender.publish(row(1))
    await setting.lender.desk.withdraw(["loan-1"])
    setting.lender.calls.down = False
    assert await setting.lender.desk.settle() == 0
    assert [type(one) for one in setting.lender.calls.sent] == [pb.MarkRequest]
    assert await setting.lender.found(_person(1)) == []


async def test_a_correction_ends_the_old_entry_together_with_the_new_one_and_keeps_the_dispute(
    setting: _Setting,
) -> None:
    """Every old entry names the new one of its kind; a kind that is gone, another of the row. The hold goes on."""
    await setting.lender.publish(row(1), row(2))
    await setting.lender.desk.dispute(["loan-1"], ended=False)
    await setting.lender.desk.settle()
    setting.lender.calls.sent.clear()
    done = await setting.lender.publish(row(1, severity="low", phone=""), row(2), row(3), correcting=True)
    assert (done.listed, done.already, done.refused) == (1, 1, 1)
    append, tombstone, hold = setting.lender.calls.sent
    assert (tombstone.kind, hold.kind) == (EntryKind.TOMBSTONE, EntryKind.HOLD)
    assert tombstone.replaced_by == unpack_appends(append.entries)[0].sealed.entry_id * 2
    ((label, held),) = await setting.lender.found(_person(1))
    assert (label.severity, held) == (Severity.LOW, True)
    assert await setting.lender.found(_phone(1)) == []


async def test_corrections_of_corrections_leave_the_last_one(setting: _Setting) -> None:
    """Three contents while the coordinator is down: each old entry ends, the last one stays."""
    await setting.lender.publish(row(1, severity="low"))
    setting.lender.calls.down = True
    for severity in ("medium", "high"):
        with pytest.raises(UnavailableError):
            await setting.lender.publish(row(1, severity=severity), correcting=True)
    setting.lender.calls.down = False
    assert await setting.lender.desk.settle() == 0
    assert [label.severity for label, _ in await setting.lender.found(_person(1))] == [Severity.HIGH]


async def test_a_dispute_is_told_to_readers_until_it_ends(setting: _Setting) -> None:
    """Hold and release reach both entries; saying so again changes nothing."""
    await setting.lender.publish(row(1))
    assert (await setting.lender.desk.dispute(["loan-1"], ended=False)).taken == 1
    assert (await setting.lender.desk.dispute(["loan-1"], ended=False)).already == 1
    await setting.lender.desk.settle()
    assert [held for _, held in await setting.lender.found(_phone(1))] == [True]
    await setting.lender.desk.dispute(["loan-1"], ended=True)
    await setting.lender.desk.settle()
    assert [held for _, held in await setting.lender.found(_person(1))] == [False]


async def test_entries_are_renewed_at_two_thirds_of_the_horizon_and_expired_ones_are_not(setting: _Setting) -> None:
    """After a year and a half what still says something is live, and what doesn't has ended."""
    await setting.lender.publish(row(1), row(2, category="application", severity=""))
    setting.clock.move(days=200)
    assert await setting.lender.desk.upkeep.renew() == 0
    setting.clock.move(days=44)
    assert await setting.lender.desk.upkeep.renew() == 2
    assert await setting.lender.desk.upkeep.renew() == 0
    setting.clock.move(days=240)
    assert len(await setting.lender.found(_person(1))) == 1
    assert await setting.lender.found(_person(2)) == []
    assert setting.lender.ledger.row_counts() == {"listed": 1, "expired": 1, "disputed": 0}


async def test_after_a_rotation_every_live_row_is_listed_in_the_new_epoch(setting: _Setting) -> None:
    """Disputed rows are held there, too; withdrawn and expired ones do not come; it goes on after a cut-off."""
    await setting.lender.publish(*(row(number) for number in range(8)), row(20, category="application", severity=""))
    await setting.lender.desk.dispute(["loan-3"], ended=False)
    await setting.lender.desk.withdraw(["loan-5"])
    await setting.lender.desk.settle()
    setting.clock.move(days=91)
    setting.coordinator.epochs[2] = HOLDERS
    setting.log.keep()
    lender = setting.restarted()

    async def cut_off() -> None:
        lender.calls.down = True

    with pytest.raises(UnavailableError):
        await lender.desk.upkeep.publish_again(2, 3, pause=cut_off)
    lender.calls.down = False
    assert await lender.desk.upkeep.publish_again(2, 3, pause=lambda: asyncio.sleep(0)) > 0
    assert lender.ledger.lacking(2) == 0
    assert len(lender.evaluated) == 14
    there = {number: await lender.found(_person(number), 2) for number in (0, 3, 5, 20)}
    assert {number: [held for _, held in found] for number, found in there.items()} == {
        0: [False],
        3: [True],
        5: [],
        20: [],
    }
    ((label, _),) = there[0]
    ((before, _),) = await lender.found(_person(0), EPOCH)
    assert label == before


async def test_an_epoch_whose_log_is_gone_waits_for_nothing(setting: _Setting) -> None:
    """Once entries stand in a later epoch, marks on those of a log that is not served any more are given up."""
    await setting.lender.publish(row(1))
    setting.coordinator.epochs[2] = HOLDERS
    setting.log.keep()
    await setting.lender.desk.upkeep.publish_again(2, 10, pause=lambda: asyncio.sleep(0))
    setting.clock.move(days=31)
    setting.log.keep()
    await setting.lender.desk.withdraw(["loan-1"])
    assert await setting.lender.desk.settle() == 0
    assert await setting.lender.found(_person(1), 2) == []


async def test_more_than_eight_entries_under_one_tag_are_refused_and_told(setting: _Setting) -> None:
    """What the coordinator doesn't take waits for nothing, is counted, and is tried again with the same file."""
    rows = [row(number, phone=phone(0)) for number in range(9)]
    await setting.lender.publish(*rows)
    counts = setting.lender.waiting.counts()[EPOCH]
    assert (counts.live, counts.refused, counts.to_append) == (17, 1, 0)
    await setting.lender.desk.withdraw(["loan-8"])
    await setting.lender.desk.withdraw(["loan-7"])
    await setting.lender.desk.settle()
    await setting.lender.publish(*rows[:7])
    assert setting.lender.waiting.counts()[EPOCH].refused == 0


async def test_nothing_personal_or_secret_is_in_the_database_s_files(setting: _Setting) -> None:
    """Neither references nor identifiers nor witnesses are readable without the master key."""
    setting.lender.calls.down = True
    with pytest.raises(UnavailableError):
        await setting.lender.publish(row(1))
    (offered, *_) = setting.lender.waiting.to_append(EPOCH)
    needles = [b"loan-1", resident_id(1).encode(), phone(1).encode(), offered.witness, b"confirmed_default"]
    files = b"".join(path.read_bytes() for path in setting.lender.file.parent.glob("state.db*"))
    assert offered.sealed.tag in files
    assert not [place for place, needle in enumerate(needles) if needle in files]


async def test_the_audit_log_counts_and_names_nobody(setting: _Setting) -> None:
    """Every step leaves a record with numbers only."""
    await setting.lender.publish(row(1))
    await setting.lender.desk.dispute(["loan-1"], ended=False)
    await setting.lender.desk.withdraw(["loan-1"])
    await setting.lender.desk.settle()
    assert setting.lender.events() == [
        "listings.published",
        "listings.appended",
        "listings.disputed",
        "listings.withdrawn",
        "listings.marked",
    ]
    values = [
        str(value) for entry in setting.lender.audit.entries(event="listings.") for value in entry.fields.values()
    ]
    assert not [value for value in values if "loan" in value or phone(1)[2:] in value]


async def test_listings_are_checked_in_the_log_once_the_window_is_over(setting: _Setting) -> None:
    """Entries, holds and withdrawals that are as they should be raise no alarm, and count as verified."""
    await setting.lender.publish(row(1), row(2), row(3))
    await setting.lender.desk.dispute(["loan-2"], ended=False)
    await setting.lender.desk.withdraw(["loan-3"])
    await setting.lender.desk.settle()
    assert await setting.lender.checked() == {}
    assert setting.lender.waiting.counts()[EPOCH].verified == 0
    setting.clock.move(minutes=31)
    assert await setting.lender.checked() == {}
    assert setting.lender.waiting.counts()[EPOCH].verified == 4


@pytest.mark.parametrize("kind", [EntryKind.TOMBSTONE, EntryKind.HOLD])
async def test_a_mark_that_the_lister_did_not_ask_for_is_an_alarm(setting: _Setting, kind: EntryKind) -> None:
    """A coordinator that ends or holds an entry by itself is found out; the alarm ends when the entry is as it was."""
    await setting.lender.publish(row(1))
    entry_id = unpack_appends(setting.lender.calls.sent[0].entries)[0].sealed.entry_id
    setting.log.intake.mark("ant", EPOCH, kind, entry_id)
    setting.clock.move(minutes=31)
    what = "own_entry_missing" if kind is EntryKind.TOMBSTONE else "own_hold_unasked"
    assert await setting.lender.checked() == {what: 1}
    assert await setting.lender.checked() == {what: 1}
    assert setting.lender.events().count(f"listings.{what}") == 1
    if kind is EntryKind.HOLD:
        setting.log.intake.mark("ant", EPOCH, EntryKind.RELEASE, entry_id)
        setting.clock.move(minutes=1)
        assert await setting.lender.checked() == {}
        assert "listings.alarm_ended" in setting.lender.events()


async def test_no_group_key_is_an_error_and_lists_nothing(setting: _Setting) -> None:
    """Before the first key ceremony there is nothing to list under."""
    setting.coordinator.epochs.clear()
    with pytest.raises(UnavailableError, match="no group key"):
        await setting.lender.publish(row(1))
    assert setting.lender.ledger.row_counts() == {"disputed": 0}


async def test_an_entry_of_a_coordinator_that_is_near_its_horizon_is_renewed_on_demand(setting: _Setting) -> None:
    """The operator's `renew` puts off what isn't due yet."""
    await setting.lender.publish(row(1), row(2))
    setting.clock.move(days=10)
    assert (await setting.lender.desk.renew(["loan-1"])).taken == 1
    await setting.lender.desk.settle()
    (request,) = [one for one in setting.lender.calls.sent if isinstance(one, pb.RenewEntriesRequest)]
    assert len(request.entry_ids) == 32
    setting.clock.move(days=360)
    assert len(await setting.lender.found(_person(1))) == 1
    assert await setting.lender.found(_person(2)) == []
