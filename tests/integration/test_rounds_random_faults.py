"""Random lists of faults against a run: whatever happens and whenever, the arrays come out the same.

A list is made from a seed, which a failure names; a seed that once found a bug stays in ``FOUND``.
"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from jointrisk_coordinator.runs.ledger import RunView
from jointrisk_node.training.link import Link
from rounds import World, rounds

RUN = """
task = "probe"
aggregation = "plain"
strategy = "fedadam"
rounds = 8
quorum = 3
retries = 20
retry_pause = "100ms"
[task_settings]
payload_bytes = 3000000
sleep_seconds = 0.05
"""
FOUND: tuple[int, ...] = ()
FAULTS = 14
WORKERS = ("jointrisk_node.training.worker", "jointrisk_coordinator.runs.worker")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Digests of a run without faults."""
    return asyncio.run(_course(tmp_path_factory.mktemp("undisturbed"), None))


@pytest.mark.parametrize("seed", [*FOUND, *range(4)])
async def test_faults_change_nothing(tmp_path: Path, undisturbed: list[str], seed: int) -> None:
    """Workers killed, streams broken, nodes and coordinator restarted, in a random order at random moments."""
    assert await _course(tmp_path, random.Random(seed)) == undisturbed  # noqa: S311 - faults, no secrets


async def _course(folder: Path, rng: random.Random | None) -> list[str]:
    async with rounds(folder) as (world, office, links):
        run_id = await office.supervisor.start(RUN)
        if rng is not None:
            faults = _faults(world, links, rng, run_id)
            for _ in range(FAULTS):
                await asyncio.sleep(rng.uniform(0.0, 0.5))
                await rng.choice(faults)()
        assert world.present is not None
        run: RunView = await world.present.follow(run_id, 120)
    assert run.state == "done", run.detail
    return [done.arrays_sha256 for done in run.history]


def _faults(
    world: World, links: dict[str, Link], rng: random.Random, run_id: str
) -> list[Callable[[], Awaitable[None]]]:
    async def kill_a_worker() -> None:
        if world.present is None or not (await world.present.supervisor.get(run_id)).accepted:
            return  # an offer is not begun afresh: a node whose worker dies again and again does not take part
        running = [c for c in psutil.Process().children() if c.status() != psutil.STATUS_ZOMBIE]
        workers = [c for c in running if set(WORKERS) & set(c.cmdline())]
        if workers:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(sorted(workers, key=lambda c: c.pid)).pid, signal.SIGKILL)

    async def break_a_stream() -> None:
        links[rng.choice(sorted(links))].reconnect()

    async def replace_a_node() -> None:
        name = rng.choice(sorted(links))
        await links[name].stop(0)
        links[name] = world.link(name)
        await links[name].start()

    async def replace_the_coordinator() -> None:
        assert world.present is not None
        await world.present.stop()
        await world.office()

    return [kill_a_worker, kill_a_worker, break_a_stream, break_a_stream, replace_a_node, replace_the_coordinator]
