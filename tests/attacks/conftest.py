"""Federations for the attacks of a whole session: attacks are independent, and daemons take long to start."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from attack_arena import Arena
from hostile_coordinator import HostileCoordinator
from victim_node import Victim

HOSTILE = ("mallory", "trudy", "eve", "oscar", "sybil", "flood", "slow", "mute", "leaver")


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A coordinator, an honest node, and members that an attacker has."""
    made = Arena(tmp_path_factory.mktemp("arena"), HOSTILE)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A node's daemon whose coordinator has stopped."""
    made = Victim(tmp_path_factory.mktemp("victim"))
    try:
        yield made
    finally:
        made.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hostile(victim: Victim) -> AsyncIterator[HostileCoordinator]:
    """An attacker in the coordinator's place, with all its keys."""
    made = HostileCoordinator(victim.coordinator)
    await made.start()
    yield made
    await made.stop()
