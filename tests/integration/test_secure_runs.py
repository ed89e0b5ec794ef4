"""Runs with secure sums over real sockets, with real worker processes: what they give, and what stays when some die."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from jointrisk.learning import checkpoint
from jointrisk.learning.flower import values
from jointrisk_coordinator.runs.ledger import RunView
from jointrisk_node.training.link import Link
from rounds import Office, World, rounds

ROUNDS = 3
PROBE = f"""
task = "probe"
rounds = {ROUNDS}
rejoin_grace = "20s"
[task_settings]
payload_bytes = 4000
"""
PLAIN = 'aggregation = "plain"\n' + PROBE
NAMES = ("alder", "birch", "cedar")
STEPS = ("keys", "shares", "masked", "sign", "release")
WORKERS = ("jointrisk_node.training.worker", "jointrisk_coordinator.runs.worker")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    """The arrays of a plain run that nobody disturbs."""

    async def course(folder: Path) -> NDArray[np.float64]:
        async with rounds(folder) as (world, office, _links):
            return trained(world, await office.follow(await office.supervisor.start(PLAIN)))

    return asyncio.run(course(tmp_path_factory.mktemp("plain")))


async def test_a_secure_run_gives_what_a_plain_one_gives(tmp_path: Path, plain: NDArray[np.float64]) -> None:
    """To the fixed point's step in every round; who was protected how is on record on both sides; nothing else is."""
    async with rounds(tmp_path) as (world, office, _links):
        run = await office.follow(await office.supervisor.start(PROBE))
        assert_as(plain, world, run)
        assert not np.array_equal(trained(world, run), plain)
        assert abs(run.history[-1].metrics["rounds_kept"] - ROUNDS) < 1e-6
        kept = run.history[-1].guarantee
        assert [kept[name] for name in ("mode", "members", "colluders", "threshold", "minimum")] == [
            "secure",
            3,
            1,
            3,
            3,
        ]
        answered = [dict(entry.fields) for entry in world.audits["birch"].entries(event="training.sum_answered")]
        assert [(one["round"], one["statistic"]) for one in answered] == [
            (number, what) for number in range(1, ROUNDS + 1) for what in ("train", "evaluate")
        ]
        assert not list((tmp_path / "coordinator" / "runs" / run.run_id / "secure").iterdir())


class Scene:
    """A federation, and what can happen to it."""

    def __init__(self, world: World, office: Office, links: dict[str, Link]) -> None:
        self.world, self.office, self.links = world, office, links

    async def kill_node_worker(self) -> None:
        """One node's process that computes."""
        _kill(WORKERS[0], 1)

    async def kill_run_worker(self) -> None:
        """The coordinator's."""
        _kill(WORKERS[1], 0)

    async def restart_node(self) -> None:
        """One node's daemon part."""
        await self.links["birch"].stop(0)
        self.links["birch"] = self.world.link("birch")
        await self.links["birch"].start()

    async def restart_coordinator(self) -> None:
        """The coordinator's."""
        await self.office.stop()
        self.office = await self.world.office()

    async def reached(self, run_id: str, number: int, step: str) -> None:
        """Wait until a node holds a task of this step."""
        folder = self.world.folder / "birch" / "training" / run_id / "messages"
        async with asyncio.timeout(60):
            while not _holds(folder, number, f"query.secure_{step}"):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.002)


async def _disturbed(folder: Path, expected: NDArray[np.float64], step: str, disturb: str) -> None:
    async with rounds(folder) as (world, office, links):
        scene = Scene(world, office, links)
        run_id = await office.supervisor.start(PROBE)
        for number in (1, 2):
            await scene.reached(run_id, number, step)
            await getattr(scene, disturb)()
        assert_as(expected, world, await scene.office.follow(run_id, 120))


DISTURBANCES = ("kill_node_worker", "kill_run_worker", "restart_node", "restart_coordinator")


@pytest.mark.parametrize("disturb", DISTURBANCES)
async def test_who_is_killed_while_survivors_sign_goes_on(
    tmp_path: Path, plain: NDArray[np.float64], disturb: str
) -> None:
    """The moment after which there is no other attempt: every sum is the right one, of all."""
    await _disturbed(tmp_path, plain, "sign", disturb)


@pytest.mark.slow
@pytest.mark.parametrize("disturb", DISTURBANCES)
@pytest.mark.parametrize("step", STEPS)
async def test_who_is_killed_at_any_step_goes_on(
    tmp_path: Path, plain: NDArray[np.float64], step: str, disturb: str
) -> None:
    """Every step of the first two rounds."""
    await _disturbed(tmp_path, plain, step, disturb)


def assert_as(expected: NDArray[np.float64], world: World, run: RunView) -> None:
    """Compare a run with the undisturbed plain one."""
    assert run.state == "done", run.detail
    assert [done.members for done in run.history] == [NAMES] * ROUNDS
    assert np.abs(trained(world, run) - expected).max() < 1e-6


def trained(world: World, run: RunView) -> NDArray[np.float64]:
    """Return the arrays after a run's last round."""
    folder = world.folder / "coordinator" / "runs" / run.run_id / "checkpoints"
    assert run.state == "done", run.detail
    return values(checkpoint.load(folder, run.rounds_done, run.arrays_sha256).arrays["payload"]).astype(np.float64)


def _holds(folder: Path, number: int, kind: str) -> bool:
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError):
            record = json.loads(path.read_bytes())
            if (record["round"], record["kind"]) == (number, kind):
                return True
    return False


def _kill(module: str, which: int) -> None:
    found = [child for child in psutil.Process().children(recursive=True) if module in " ".join(child.cmdline())]
    if found:
        os.kill(found[which % len(found)].pid, signal.SIGKILL)
