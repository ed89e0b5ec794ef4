"""The course of a run over real sockets: refusals, cancellation, watching, broken data, large models."""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError
from jointrisk.federation.contract import contract_from_toml
from jointrisk.federation.policy import RunPolicy
from jointrisk_node.data import DataSettings
from rounds import World, rounds, until

PROBE = 'task = "probe"\naggregation = "plain"\nrounds = 2\n'
TWO = PROBE + "minimum_members = 2\n"
PAIR = RunPolicy(minimum_parties=2, plain_aggregation=True)
CONTRACT = Path(__file__).resolve().parents[2] / "deploy" / "contracts" / "gmsc.toml"


async def test_refusal_reaches_the_coordinator_with_its_reason(tmp_path: Path) -> None:
    """The others go on where there are enough of them; the participant's row names the rule."""
    async with rounds(tmp_path, policy=PAIR) as (world, office, links):
        await links["cedar"].stop(0)
        links["cedar"] = world.link("cedar", policy=RunPolicy(tasks=("default_model",)))
        await links["cedar"].start()
        run = await office.follow(await office.supervisor.start(TWO))
    assert run.state == "done", run.detail
    assert [(p.member_id, p.state) for p in run.participants] == [
        ("alder", "accepted"),
        ("birch", "accepted"),
        ("cedar", "refused"),
    ]
    assert 'refused: policy rule "tasks"' in run.participants[2].reason
    assert run.history[-1].members == ("alder", "birch")


async def test_run_with_too_few_participants_fails_and_says_who_and_why(tmp_path: Path) -> None:
    """Nothing is trained."""
    async with rounds(tmp_path, policy=RunPolicy(minimum_parties=4, plain_aggregation=True)) as (_, office, _links):
        run = await office.follow(await office.supervisor.start(PROBE))
    assert run.state == "failed"
    assert run.detail.startswith("0 of at least 3 members accepted. alder: refused: policy rule")
    assert run.history == ()


async def test_member_that_never_comes_is_left_out(tmp_path: Path) -> None:
    """With enough others it is waited for during the grace only, and the run says for whom it waits."""
    async with rounds(tmp_path, policy=PAIR) as (_, office, links):
        await links["cedar"].stop(0)
        run_id = await office.supervisor.start(TWO + 'rejoin_grace = "1s"\n')
        details = [(run.state, run.detail) async for run in office.supervisor.watch(run_id)]
        run = await office.supervisor.get(run_id)
    assert ("waiting", "waits for cedar to connect") in details
    assert run.state == "done", run.detail
    assert (run.participants[2].state, run.participants[2].reason) == ("left", "did not answer the offer in time")


async def test_cancelled_run_ends_at_the_nodes_too(tmp_path: Path) -> None:
    """Workers end, and what was kept of the run is deleted, at a node that was away as soon as it is back."""
    async with rounds(tmp_path) as (world, office, links):
        run_id = await office.supervisor.start(PROBE + "[task_settings]\nsleep_seconds = 600\n")
        await until(lambda: all(_kept(world, name, run_id) for name in links))
        await links["cedar"].stop(0)
        run = await office.supervisor.cancel(run_id, "wrong settings")
        assert (run.state, run.detail) == ("cancelled", "wrong settings")
        await until(lambda: not any(_kept(world, name, run_id) for name in ("alder", "birch")))
        assert [links[name].runs_active for name in ("alder", "birch")] == [0, 0]
        links["cedar"] = world.link("cedar")
        assert _kept(world, "cedar", run_id)
        await links["cedar"].start()
        await until(lambda: not _kept(world, "cedar", run_id))
        with pytest.raises(ConflictError, match="has ended"):
            await office.supervisor.cancel(run_id, "again")


async def test_watch_shows_every_round_and_ends(tmp_path: Path) -> None:
    """What a person sees: states in order, rounds one after another, the end."""
    async with rounds(tmp_path) as (_, office, _links):
        run_id = await office.supervisor.start(PROBE)
        seen = [run async for run in office.supervisor.watch(run_id[:-2])]
        assert [run.run_id for run in await office.supervisor.list()] == [run_id]
    assert seen[0].state in {"starting", "waiting"}
    assert seen[-1].state == "done"
    assert [run.rounds_done for run in seen] == sorted(run.rounds_done for run in seen)
    assert {run.rounds_done for run in seen} == {0, 1, 2}


async def test_settings_that_cannot_work_are_refused_at_the_start(tmp_path: Path) -> None:
    """Before anybody is asked."""
    async with rounds(tmp_path) as (_, office, _links):
        for toml, text in [
            ('task = "guess"', 'task: expected one of default_model, probe, got "guess"'),
            ('task = "probe"\n[task_settings]\nsleep = 1', "task_settings.sleep"),
            ('task = "probe"\nstrategy = "fedsgd"', "strategy: expected one of"),
            ('task = "probe"\nmembers = ["alder", "elm", "oak"]', "not in the roster: elm, oak"),
            ('task = "probe"\nround = 1', "round"),
        ]:
            with pytest.raises(InvalidInputError, match=text):
                await office.supervisor.start(toml)
        with pytest.raises(ConflictError, match="needs a feature contract"):
            await office.supervisor.start("")
        with pytest.raises(ConflictError, match="at least 4 members"):
            await office.supervisor.start('task = "probe"\nminimum_members = 4')
        with pytest.raises(NotFoundError):
            await office.supervisor.get("no-such-run")
        assert await office.supervisor.list() == []


async def test_node_whose_data_breaks_the_contract_does_not_train(tmp_path: Path) -> None:
    """It says why: column and rule, never a value; the others train a real model."""
    contract = contract_from_toml(CONTRACT.read_text()).model_copy(update={"version": 1, "minimum_rows": 100})
    world = World(tmp_path, ("alder", "birch", "cedar"), contract=contract.payload(), policy=PAIR)
    office = await world.office()
    for number, name in enumerate(world.members):
        _loans(tmp_path / f"{name}.parquet", number, broken=name == "birch")
    sources = {name: DataSettings(source=str(tmp_path / f"{name}.parquet")) for name in world.members}
    links = [world.link(name, data=sources[name].model_dump(mode="json")) for name in world.members]
    for link in links:
        await link.start()
    asked = 'rounds = 2\naggregation = "plain"\nminimum_members = 2\n[task_settings]\nrefit = false\n'
    run = await office.follow(await office.supervisor.start(asked))
    await asyncio.gather(*(link.stop(0) for link in links))
    await office.stop()
    assert run.state == "done", run.detail
    birch = run.participants[1]
    assert birch.state == "refused"
    assert "data_breach" in birch.reason
    assert "age" in birch.reason
    assert "777" not in birch.reason
    assert set(run.history[-1].metrics) == {"train_loss", "auc", "gini", "ks", "log_loss", "brier", "ece"}
    assert run.history[-1].metrics["log_loss"] < run.history[0].metrics["train_loss"]


@pytest.mark.slow
async def test_model_of_200_mb_passes(tmp_path: Path) -> None:
    """Both ways, three members, evaluation included; the receivers' files are gone afterwards."""
    async with rounds(tmp_path) as (world, office, _links):
        toml = PROBE.replace("rounds = 2", "rounds = 1") + "[task_settings]\npayload_bytes = 200000000\n"
        run_id = await office.supervisor.start(toml)
        run = await office.follow(run_id, 170)
        folder = office.hub.runs_folder / run_id
        assert sorted(path.name for path in folder.iterdir()) == ["begun.json", "checkpoints", "worker.lock"]
        await until(lambda: not any(_kept(world, name, run_id) for name in world.members))
    assert run.state == "done", run.detail
    shutil.rmtree(tmp_path / "coordinator" / "runs")


async def test_run_that_is_done_leaves_no_member_s_reply_behind(tmp_path: Path) -> None:
    """A curious coordinator's disk keeps means, not replies; nodes keep nothing."""
    async with rounds(tmp_path) as (world, office, links):
        run_id = await office.supervisor.start(PROBE)
        await office.follow(run_id)
        folder = office.hub.runs_folder / run_id
        assert sorted(path.name for path in folder.iterdir()) == ["begun.json", "checkpoints", "worker.lock"]
        await until(lambda: not any(_kept(world, name, run_id) for name in links))


def _kept(world: World, name: str, run_id: str) -> bool:
    folder = world.folder / name / "training" / run_id
    return folder.exists() and any(folder.iterdir())


def _loans(path: Path, seed: int, *, broken: bool) -> None:
    """Write a small loan book under the demo's contract; a broken one holds an impossible age."""
    rng, rows = np.random.default_rng(seed), 2000
    contract = contract_from_toml(CONTRACT.read_text())
    columns = {feature.name: rng.integers(0, 30, rows).astype(np.float64) for feature in contract.features}
    columns["age"] += 20
    if broken:
        columns["age"][7] = 777
    risk = sum(columns.values()) / len(columns)
    columns[contract.target.label_column] = (risk + rng.normal(0, 3, rows) > 18).astype(np.int64)
    pq.write_table(pa.table(columns), path)
