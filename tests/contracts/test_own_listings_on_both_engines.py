"""A lender's own listings on SQLite and on PostgreSQL."""

import asyncio
from pathlib import Path

from coordinator_at_test import MovableClock
from jointrisk.identifiers import canonicalise
from jointrisk.listing.label import Severity
from lender_at_test import EPOCH, LenderAtTest, phone, row
from listing_coordinator import HOLDERS, ListingCoordinator


async def test_the_life_of_entries(database_url: str, tmp_path: Path) -> None:
    """Published, disputed, corrected, withdrawn, renewed, published again, checked, counted, shown."""
    clock = MovableClock()
    coordinator = ListingCoordinator(tmp_path / "coordinator", clock=clock)
    lender = LenderAtTest(tmp_path / "lender", coordinator, clock, database=database_url)
    await lender.publish(*(row(number) for number in range(5)))
    assert (await lender.publish(*(row(number) for number in range(5)))).already == 5
    await lender.desk.dispute(["loan-1"], ended=False)
    await lender.publish(row(2, severity="low"), correcting=True)
    await lender.desk.withdraw(["loan-3"])
    assert await lender.desk.settle() == 0
    clock.move(days=245)
    assert await lender.desk.upkeep.renew() == 8
    assert (await lender.desk.renew(["loan-1"])).taken == 1
    coordinator.epochs[2] = HOLDERS
    coordinator.log.keep()
    assert await lender.desk.upkeep.publish_again(2, 3, pause=lambda: asyncio.sleep(0)) == 4
    clock.move(hours=1)
    assert await lender.checked() == {}
    state = lender.desk.state()
    assert (state.rows, state.again) == ({"listed": 4, "withdrawn": 1, "disputed": 1}, 0)
    assert [(one.live, one.verified) for one in state.epochs.values()] == [(8, 8), (8, 8)]
    shown = {own.row.reference: own for page in lender.desk.own(withdrawn=True) for own in page}
    assert sorted(shown) == ["loan-0", "loan-1", "loan-2", "loan-4"]
    assert (shown["loan-2"].row.severity, shown["loan-1"].disputed) == (Severity.LOW, True)
    assert shown["loan-0"].epochs == (EPOCH, 2)
    for epoch in (EPOCH, 2):
        found = [await lender.found(canonicalise("phone", "CN", phone(number)), epoch) for number in range(5)]
        assert [[held for _, held in one] for one in found] == [[False], [True], [False], [], [False]]
    lender.store.close()
