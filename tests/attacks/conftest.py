"""One federation for the attacks of a whole session: they are independent, and daemons take long to start."""

from collections.abc import Iterator

import pytest

from attack_arena import Arena

HOSTILE = ("mallory", "trudy", "eve", "oscar", "sybil", "flood", "slow", "mute", "leaver")


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A coordinator, an honest node, and members that an attacker has."""
    made = Arena(tmp_path_factory.mktemp("arena"), HOSTILE)
    try:
        yield made
    finally:
        made.stop()
