"""Runs that are disturbed: workers killed, streams cut, the coordinator restarted. Same arrays in the end."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from jointrisk.federation.policy import RunPolicy
from jointrisk_coordinator.runs.ledger import RunView
from rounds import Office, World, rounds, until

ROUNDS = 5
PROBE = f"""
task = "probe"
aggregation = "plain"
strategy = "fedadam"
rounds = {ROUNDS}
rejoin_grace = "20s"
minimum_members = 3
quorum = 3
[task_settings]
sleep_seconds = 0.1
"""
NODE_WORKER = "jointrisk_node.training.worker"
RUN_WORKER = "jointrisk_coordinator.runs.worker"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """A run that nobody disturbs."""
    return asyncio.run(_undisturbed(tmp_path_factory.mktemp("undisturbed")))


async def _undisturbed(folder: Path) -> RunView:
    async with rounds(folder) as (_, office, _links):
        return await office.follow(await office.supervisor.start(PROBE))


async def kill(module: str, place: int) -> None:
    """Kill -9 one of this process's children that runs ``module``, as soon as there is one."""
    await until(lambda: bool(_running(module)))
    found = _running(module)
    os.kill(found[place % len(found)].pid, signal.SIGKILL)


def _running(module: str) -> list[psutil.Process]:
    children = psutil.Process().children()
    return [c for c in children if c.status() != psutil.STATUS_ZOMBIE and module in c.cmdline()]


def assert_same(run: RunView, expected: RunView) -> None:
    """Compare a disturbed run with the undisturbed one."""
    assert run.state == "done", run.detail
    assert [done.arrays_sha256 for done in run.history] == [done.arrays_sha256 for done in expected.history]
    assert [done.members for done in run.history] == [done.members for done in expected.history]
    assert [done.metrics for done in run.history] == [done.metrics for done in expected.history]


@pytest.mark.parametrize("module", [NODE_WORKER, RUN_WORKER])
async def test_workers_killed_again_and_again(tmp_path: Path, undisturbed: RunView, module: str) -> None:
    """A worker process is killed once in every round, at different moments; the arrays stay the same to the bit."""
    async with rounds(tmp_path) as (_, office, _links):
        run_id = await office.supervisor.start(PROBE)
        for number in range(ROUNDS - 2):
            await _round_done(office, run_id, number)
            await asyncio.sleep(0.07 * number)
            await kill(module, number)
        assert_same(await office.follow(run_id), undisturbed)


async def test_coordinator_restarted_in_every_round(tmp_path: Path, undisturbed: RunView) -> None:
    """The coordinator's daemon part is stopped and started in every round; runs and streams go on by themselves."""
    async with rounds(tmp_path) as (world, first, _links):
        office = first
        run_id = await office.supervisor.start(PROBE)
        for number in range(ROUNDS):
            await _round_done(office, run_id, number)
            await asyncio.sleep(0.06 * number)
            office = await _restarted(world, office)
        run = await office.follow(run_id)
    assert_same(run, undisturbed)


async def test_node_restarted_in_every_round(tmp_path: Path, undisturbed: RunView) -> None:
    """A node's daemon part is stopped without grace and started; it is waited for, and answers as before."""
    async with rounds(tmp_path) as (world, office, links):
        run_id = await office.supervisor.start(PROBE)
        for number in range(ROUNDS):
            await _round_done(office, run_id, number)
            await asyncio.sleep(0.06 * number)
            await links["birch"].stop(0)
            links["birch"] = world.link("birch")
            await links["birch"].start()
        assert_same(await office.follow(run_id), undisturbed)


async def test_member_that_leaves_is_missing_and_may_come_back(tmp_path: Path) -> None:
    """A lost member that the quorum does not need is waited for during the grace only; later it takes part again."""
    settings = PROBE.replace('rejoin_grace = "20s"', 'rejoin_grace = "300ms"')
    settings = settings.replace("quorum = 3", "quorum = 2").replace("minimum_members = 3", "minimum_members = 2")
    settings = settings.replace(f"rounds = {ROUNDS}", "rounds = 12")
    policy = RunPolicy(minimum_parties=2, plain_aggregation=True)
    async with rounds(tmp_path, policy=policy) as (world, office, links):
        run_id = await office.supervisor.start(settings)
        await _round_done(office, run_id, 2)
        await links["cedar"].stop(0)
        await _round_done(office, run_id, 5)
        links["cedar"] = world.link("cedar")
        await links["cedar"].start()
        run = await office.follow(run_id)
    took_part = ["cedar" in done.members for done in run.history]
    assert run.state == "done", run.detail
    assert took_part[0]
    assert not took_part[4]
    assert took_part[-1]
    assert {done.missing for done in run.history if "cedar" not in done.members} == {("cedar",)}


async def _round_done(office: Office, run_id: str, number: int) -> None:
    async with asyncio.timeout(60):
        async for run in office.supervisor.watch(run_id):
            if (run.state in {"running", "waiting"} and run.rounds_done >= number and run.accepted) or run.ended:
                return


async def _restarted(world: World, office: Office) -> Office:
    await office.stop()
    return await world.office()
