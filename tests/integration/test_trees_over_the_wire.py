"""Trees in a federation of real daemons under secure sums, with workers killed on the way, up to a node's scores."""

import csv
import tomllib
from pathlib import Path

import lightgbm
import numpy as np
import psutil
import pytest
from safetensors.numpy import load

from contract_sample import sample_contract
from jointrisk.learning.bundle import read_unsigned
from jointrisk.learning.encoding import with_buckets
from jointrisk.learning.flower import values
from jointrisk.learning.tasks import MemberData, load_task, task_settings
from jointrisk_coordinator.runs.settings import RunSettings
from jointrisk_node.data import DataSettings, LoanBook
from lender_books import Row, add_lender, publish_sample, write_book
from local_federation import LocalFederation, wait_until
from rounds_in_one_process import OneProcess

pytestmark = [pytest.mark.federation, pytest.mark.slow]

LENDERS = ("bank", "finance", "leasing")
WORKERS = {"jointrisk_node.training.worker", "jointrisk_coordinator.runs.worker"}
TOML = """
rounds = 3
[task_settings]
architecture = "trees"
[task_settings.trees]
depth = 2
learning_rate = 0.3
"""
BLEND = """
rounds = 2
[task_settings]
architecture = "blend"
hidden = 8
networks = 1
learning_rate = 0.05
[task_settings.trees]
depth = 2
learning_rate = 0.2
"""


def rows(seed: int, count: int = 500) -> list[Row]:
    """Return rows whose risk falls with income and is high for one purpose."""
    rng = np.random.default_rng(seed)
    found: list[Row] = []
    for number in range(count):
        income, purpose = float(round(rng.lognormal(10, 0.7))), ("car", "home", "it's other")[number % 3]
        odds = 2 * (10 - np.log(income)) + (2 if purpose == "home" else -1)
        found.append(
            {
                "income": income,
                "purpose": purpose,
                "branch": f"branch-{number % 9}",
                "has_phone": number % 2,
                "bad": int(rng.random() < 1 / (1 + np.exp(-odds))),
            }
        )
    return found


def test_nodes_grow_the_trees_of_one_process_and_score_with_them(tmp_path: Path) -> None:
    """To the last bit those of plain sums in one process, though both sides' workers are killed meanwhile."""
    books = {name: write_book(tmp_path / f"{name}.csv", rows(place)) for place, name in enumerate(LENDERS)}
    with LocalFederation(tmp_path / "f", founding_members=len(LENDERS)) as federation:
        federation.init_coordinator()
        federation.coordinator.start()
        publish_sample(federation)
        for name in LENDERS:
            add_lender(federation, name, book=books[name])
        federation.wait_online()
        run_id = federation.run(TOML, wait=False)["run_id"]
        folder = federation.coordinator.home / "runs" / run_id
        wait_until(lambda: any(folder.glob("growth/*-1.sum")), "the sum of a level", timeout=60)
        _kill_workers()
        run = federation.watch(run_id)
        assert run["state"] == "done", run["detail"]
        stages = [entry["stage"] for entry in run["history"]]
        assert list(dict.fromkeys(stages)) == ["trees", "trees.all"]
        left = read_unsigned(folder)
        assert left is not None
        assert (left.facts.architecture, left.facts.privacy.aggregation) == ("trees", "secure")
        bank = federation.nodes["bank"]
        wait_until((bank.home / "models" / f"{run_id}.bundle").exists, "the model at a node")
        bank.command("models", "activate", run_id)
        applications = [{**row, "branch": "branch-1"} for row in rows(9, 60)]
        scored = csv.DictReader(bank.command("score", str(write_book(tmp_path / "a.csv", applications))).splitlines())
        assert len({row["pd"] for row in scored}) > 3
        bank.command("models", "export", run_id[:-1], "--out", str(tmp_path / "model.txt"))
        assert lightgbm.Booster(model_file=str(tmp_path / "model.txt")).num_trees() == 1 + left.facts.best_round
        _blend(federation, tmp_path, applications)
    arrays = load(left.tensors)
    expected = _in_one_process(tmp_path / "one", books)
    assert arrays.keys() == expected.keys()
    assert all(arrays[name].dtype == value.dtype for name, value in expected.items())
    assert all(np.array_equal(arrays[name], value) for name, value in expected.items())


def _blend(federation: LocalFederation, folder: Path, applications: list[Row]) -> None:
    """Train a blend under secure sums, and score with it at a node, with reasons."""
    run = federation.run(BLEND)
    assert run["state"] == "done", run["detail"]
    stages = dict.fromkeys(entry["stage"] for entry in run["history"])
    assert list(stages)[:5] == ["trial.off", "trial.on", "mlp", "trees", "weights"]
    assert all(entry["guarantee_figures"]["mode"] == "secure" for entry in run["history"])
    bank = federation.nodes["bank"]
    wait_until((bank.home / "models" / f"{run['run_id']}.bundle").exists, "the blend at a node")
    bank.command("models", "activate", run["run_id"])
    file = str(write_book(folder / "b.csv", applications))
    scored = list(csv.DictReader(bank.command("score", file, "--reasons", "2").splitlines()))
    assert len({row["pd"] for row in scored}) > 3
    assert any(row["reason_1"] and row["reason_1_zh"] for row in scored)


def _kill_workers() -> None:
    """Kill the run's workers at coordinator and nodes: those among this process's descendants."""
    for process in psutil.Process().children(recursive=True):
        if any(
            part in {"jointrisk_node.training.worker", "jointrisk_coordinator.runs.worker"} for part in _line(process)
        ):
            process.kill()


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _in_one_process(folder: Path, books: dict[str, Path]) -> dict[str, np.ndarray]:
    contract = sample_contract()
    tables = {name: LoanBook.open(DataSettings(source=str(path))).arrays(contract) for name, path in books.items()}
    data = {
        name: MemberData(with_buckets(contract, table.features, table.vocabularies), table.labels)
        for name, table in tables.items()
    }
    settings = RunSettings.model_validate(tomllib.loads(TOML))
    run = OneProcess(folder, settings, members=LENDERS, contract=contract, books=data)
    last = run.loop.run(run.beginning())
    chosen = task_settings("default_model", settings.task_settings)
    model = load_task("default_model").model(chosen, last.prepared, last.done)
    assert model is not None
    return {name: values(array) for name, array in model.arrays.items()}
