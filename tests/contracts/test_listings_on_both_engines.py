"""Logs of listings on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from coordinator_at_test import MovableClock
from jointrisk.listing.log import EntryKind
from jointrisk.store import Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.listings.settings import ListingSettings
from jointrisk_coordinator.store.tables import load_tables
from listing_coordinator import ListingCoordinator, offer, random_offers

HOLD, TOMBSTONE, APPEND, EXPIRY = EntryKind.HOLD, EntryKind.TOMBSTONE, EntryKind.APPEND, EntryKind.EXPIRY
LONGEST = "a-member-with-forty-characters-in-a-name"
LAST_EPOCH = 2**32 - 1


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """The coordinator's tables."""
    engine = make_engine(database_url)
    load_tables().create_all(engine)
    opened = Store(engine)
    yield opened
    opened.close()


def test_a_logs_life(tmp_path: Path, store: Store) -> None:
    """Every kind of change, parts and segments, refusals, a restart, expiry, and the end of an epoch."""
    clock = MovableClock()
    settings = ListingSettings(window=timedelta(0), horizon=timedelta(days=10))
    coordinator = ListingCoordinator(tmp_path, settings, clock, store=store, part=700)
    many, pending = random_offers(1500), random_offers(3, "pending")
    old, new = offer("Li", "old"), offer("Li", "new")
    assert coordinator.append("ant", *many) == []
    assert coordinator.append(LONGEST, old) == []
    coordinator.log.keep()
    assert [one.index for one in coordinator.append("ant", many[0], many[0], old)] == [2]
    coordinator.append(LONGEST, new)
    coordinator.append("ant", *pending)
    coordinator.mark(LONGEST, TOMBSTONE, old, replaced_by=[new])
    coordinator.mark("ant", HOLD, *many[:900], pending[0])
    coordinator.mark("ant", TOMBSTONE, *many[800:1000], pending[1])
    coordinator.mark("ant", EntryKind.RELEASE, many[0])
    coordinator.restart().keep()
    kinds = [entry.kind for entry, _ in coordinator.entries()]
    assert [kinds.count(kind) for kind in (APPEND, HOLD, EntryKind.RELEASE, TOMBSTONE)] == [1504, 801, 1, 201]
    status = coordinator.log.status()[0]
    assert (status.live, status.held, status.pending, status.pending_marks, status.listers) == (1303, 800, 0, 0, 2)
    assert coordinator.log.count_tags("ant", 1) == {"ant": 1503, LONGEST: 1}
    assert [one.state for one in coordinator.states("ant", many[0], *pending, many[999])] == [
        "live",
        "held",
        "withdrawn",
        "live",
        "withdrawn",
    ]
    clock.move(days=9)
    assert coordinator.log.intake.renew("ant", 1, many[0].sealed.entry_id) == []
    clock.move(days=1)
    coordinator.log.keep()
    assert [record.sealed for record in coordinator.records()] == [many[0].sealed]
    assert coordinator.log.withdraw_member("ant", ()) == 1
    coordinator.epochs[LAST_EPOCH] = ("ant",)
    coordinator.log.keep()
    assert coordinator.records() == []
    coordinator.append("ant", offer("Li", "last", epoch=LAST_EPOCH), epoch=LAST_EPOCH)
    clock.move(days=30)
    coordinator.log.keep()
    coordinator.restart().keep()
    assert [(one.epoch, one.size, one.served_until) for one in coordinator.log.status()] == [(LAST_EPOCH, 2, None)]
    with store.engine.connect() as connection:
        left = {
            name: connection.execute(select(func.count()).select_from(table).where(table.c.epoch == 1)).scalar_one()
            for name, table in load_tables().tables.items()
            if name.startswith("listing_")
        }
    assert left == {**dict.fromkeys(left, 0), "listing_log": 1}
    coordinator.audit.verify().require_sound()
