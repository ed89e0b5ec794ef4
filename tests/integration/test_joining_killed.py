"""kill -9 of a joining node: the same command goes on with the same keys."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from coordinator_served import served
from joining_process import STEPS
from joining_steps import FOUNDERS, approve, found, wait_for_candidate
from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.signing import public_bytes
from node_at_test import NodeAtTest

TESTS = Path(__file__).parent.parent


async def process(root: Path, token: str, step: str = "never") -> asyncio.subprocess.Process:
    """Start a joining node in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "joining_process", str(root), token, step, env=environment
    )


# -- kill -9 -----------------------------------------------------------------------------------------------------------


@pytest.mark.federation
@pytest.mark.parametrize("step", STEPS)
async def test_a_join_that_was_killed_goes_on_with_the_same_keys(tmp_path: Path, step: str) -> None:
    """Kill -9 after each step, then the same command: one member, one identity, and it works."""
    async with served(tmp_path / "c") as coordinator:
        token, root = coordinator.invitation("ant"), tmp_path / "ant"
        killed = await process(root, token, step)
        assert await killed.wait() == -signal.SIGKILL
        identity = public_bytes(NodeAtTest(root).keys.identity())
        assert await (await process(root, token)).wait() == 0
        node = NodeAtTest(root)
        assert coordinator.office.history.members["ant"].identity_key == identity
        assert list(coordinator.office.history.members) == ["ant"]
        assert not node.state.path("keys/joining.sealed").exists()
        async with node.link() as link:
            assert not await link.refresh_roster()


@pytest.mark.federation
async def test_a_candidate_killed_while_it_waits_goes_on(tmp_path: Path) -> None:
    """Killed from outside while approvals are missing; the approvals given meanwhile count."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        token, root = coordinator.invitation("dog"), tmp_path / "dog"
        waiting = await process(root, token)
        await wait_for_candidate(coordinator, "dog")
        waiting.send_signal(signal.SIGKILL)
        await waiting.wait()
        dog = NodeAtTest(root)
        compared = fingerprint(public_bytes(dog.keys.identity()))
        for name in ("bee", "cat"):
            await approve(nodes[name], "dog", compared)
        assert list((await dog.join(token)).trusted()) == [*FOUNDERS, "dog"]
