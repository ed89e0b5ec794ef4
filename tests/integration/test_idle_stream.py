"""A stream on which nothing happens stays open: both sides are heard of within the lease."""

import time
from pathlib import Path

import pytest

from local_federation import LocalFederation, wait_until

pytestmark = pytest.mark.federation


def test_an_idle_node_stays_online(tmp_path: Path) -> None:
    """With a lease of two seconds, a node that has nothing to do is not taken for lost."""
    with LocalFederation(tmp_path / "federation") as federation:
        federation.init_coordinator('[training]\nlease = "2s"\nheartbeat = "500ms"\n')
        federation.coordinator.start()
        node = federation.add_node("bank")
        federation.wait_online()
        time.sleep(5)
        assert "stream_broke" not in node.log_tail(100)
        assert "training.disconnected" not in federation.coordinator.log_tail(100)

        federation.coordinator.kill()
        wait_until(lambda: not node.json("status")["connected"], "the node to notice")
        federation.coordinator.start()
        federation.wait_online()
