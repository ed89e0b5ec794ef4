"""A lister with real holders, a real log and a real replica: mutual TLS between the members, proofs verified."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from coordinator_at_test import MASTER
from evaluation_federation import EPOCH, DealtKey, EvaluationFederation, EvaluationNode, with_whole_key
from jointrisk.clock import utc_now
from jointrisk.identifiers import canonicalise
from jointrisk.listing.label import Severity
from jointrisk.listing.record import open_sealed
from jointrisk_coordinator.listings.settings import ListingSettings
from jointrisk_node.listings.assembling import Lister, make_lister
from jointrisk_node.listings.examining import NumberedRow
from jointrisk_node.listings.settings import ListingsSettings
from jointrisk_node.replica.desk import ReplicaDesk
from lender_at_test import COLUMNS, SourceAtTest, numbered, phone, row
from listing_coordinator import ListingCoordinator
from roster_forge import public_of

HOLDERS = ("ant", "bee", "cat")
OFTEN = ListingSettings(window=timedelta(0), head_interval=timedelta(seconds=1))


def _lister(node: EvaluationNode, coordinator: ListingCoordinator, root: Path) -> tuple[Lister, ReplicaDesk]:
    source = SourceAtTest(coordinator.log)
    replica = ReplicaDesk(root / "replica", "testing", public_of("coordinator key"), source, node.node.audit)
    settings = ListingsSettings(release_grace=timedelta(0), deliver_every=timedelta(milliseconds=50))
    calls = coordinator.calls(node.name)
    own = node.node
    lister = make_lister(own.store, MASTER, own.audit, calls, node.asker, lambda: [EPOCH], replica, settings)
    return lister, replica


async def _publish(lister: Lister, *numbers: int) -> int:
    async def batches() -> AsyncIterator[list[NumberedRow]]:
        yield numbered([row(number) for number in numbers])

    return [progress.stored async for progress in lister.desk.publish(COLUMNS, batches())][-1]


async def _verified(lister: Lister, replica: ReplicaDesk, entries: int) -> None:
    """Wait until so many entries have been found in the log, at later heads."""
    for _ in range(100):
        await replica.refresh()
        if lister.desk.state().epochs[EPOCH].verified == entries:
            return
        await asyncio.sleep(0.2)
    raise AssertionError("they are not found")


async def test_what_a_lister_publishes_opens_with_the_group_key_and_stands_its_own_checks(tmp_path: Path) -> None:
    """2 of 3; the loops run as in the daemon; the holders' audit logs say that it was for publishing."""
    federation = EvaluationFederation(tmp_path / "federation", *HOLDERS)
    coordinator = ListingCoordinator(tmp_path / "coordinator", OFTEN, utc_now)
    nodes = {name: federation.node(name) for name in HOLDERS}
    async with AsyncExitStack() as stack:
        for node in nodes.values():
            stack.push_async_callback(node.close)
            node.keep(DealtKey(1, 2, HOLDERS))
        for name in ("bee", "cat"):
            await stack.enter_async_context(nodes[name].serving())
        await stack.enter_async_context(coordinator.running())
        lister, replica = _lister(nodes["ant"], coordinator, tmp_path)
        assert await _publish(lister, 1, 2) == 4
        coordinator.log.keep()
        await replica.refresh()
        (keys,) = with_whole_key([canonicalise("phone", "CN", phone(1))])
        (found,) = replica.lookup(EPOCH, keys.tag)
        assert open_sealed(found.record.sealed, keys).severity is Severity.HIGH
        tasks = [asyncio.create_task(loop) for loop in lister.loops()]
        await _verified(lister, replica, 4)
        for task in tasks:
            task.cancel()
        assert lister.desk.state().alarms == []
        answered = [record for name in ("bee", "cat") for record in nodes[name].records("evaluation.answered")]
        assert {record["purpose"] for record in answered} == {"publishing"}
        assert sum(int(record["count"]) for record in answered) == 4
