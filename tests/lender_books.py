"""Loan books under the sample contract, and nodes that are set up to bring them to a small federation."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contract_sample import LABEL, sample_contract
from jointrisk.federation.contract import contract_to_toml
from local_federation import Daemon, LocalFederation

Row = dict[str, Any]
_PURPOSES = ("car", "home", "it's other")


def sound_rows(count: int = 40) -> list[Row]:
    """Return rows that keep the sample contract, both labels among them."""
    return [
        {
            "income": 1000 + 250 * number,
            "purpose": _PURPOSES[number % 3],
            "branch": f"branch-{number % 4}",
            "has_phone": number % 2,
            LABEL: int(number % 5 == 0),
        }
        for number in range(count)
    ]


def write_book(path: Path, rows: Iterable[Row]) -> Path:
    """Write rows as what the path's ending says, .csv or .parquet, and return the path."""
    table = list(rows)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


def publish_sample(federation: LocalFederation) -> None:
    """Let the coordinator publish the sample contract."""
    path = federation.root / "contract.toml"
    path.write_text(contract_to_toml(sample_contract(version=0)), encoding="utf-8")
    federation.coordinator.command("contract", "publish", str(path))


def add_lender(
    federation: LocalFederation,
    name: str,
    *,
    book: Path | None = None,
    minimum_parties: int = 1,
    tasks: Iterable[str] = ("default_model", "probe"),
    more_toml: str = "",
    environment: Mapping[str, str] | None = None,
) -> Daemon:
    """Let a node join that has this book and policy, and start it."""
    node = federation.add_node(name, join=False)
    quoted = ", ".join(f'"{task}"' for task in tasks)
    policy = f"[policy]\ntasks = [{quoted}]\nminimum_parties = {minimum_parties}\nplain_aggregation = true\n"
    (node.home / "node.toml").write_text(f'[data]\nsource = "{book or ""}"\n\n{policy}{more_toml}')
    node.environment.update(environment or {})
    node.command("join", federation.invite(name), with_key=True)
    node.start()
    return node


def run_settings(task: str = "default_model", *, members: int = 2, rounds: int = 2, more: str = "") -> str:
    """Return run settings that a few rows are enough for."""
    small = 'hidden = 4\nrefit = false\nlabel_shift = "off"\n'
    table = f"\n[task_settings]\n{small}" if task == "default_model" else ""
    return (
        f'task = "{task}"\nrounds = {rounds}\nminimum_members = {members}\n'
        f'aggregation = "{"plain" if members < 3 else "secure"}"\n'
        f'offer_deadline = "60s"\nround_deadline = "60s"\n{more}{table}'
    )
