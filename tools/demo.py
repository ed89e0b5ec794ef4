"""``make demo``: a coordinator and three lenders on this machine train a model together.

Real processes, real mutual TLS, real loans (GMSC). Everything lies under build/demo, which is made anew each time.
Ctrl-C leaves no process behind; KEEP=1 leaves the federation running and prints how to talk to it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from demo_data import CONTRACT, LABEL, LenderFiles, write_lenders
from local_federation import Daemon, LocalFederation, wait_until

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "build" / "demo"
ROUNDS = 12
RUN = f"""\
task = "default_model"
strategy = "fedavg"
rounds = {ROUNDS}
"""
console = Console(highlight=False)


def main() -> None:
    """Run the demo; exit 1 when a step fails."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    shutil.rmtree(DEMO, ignore_errors=True)
    with LocalFederation(DEMO) as federation:
        try:
            report = _show(federation)
        except KeyboardInterrupt:
            console.print("\ninterrupted: stopping every process")
            sys.exit(130)
        report["seconds_total"] = round(time.monotonic() - began, 1)
        path = DEMO / "report.json"
        path.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"\n{report['seconds_total']} s in all. The figures: {path.relative_to(ROOT)}")
        if os.environ.get("KEEP", "0") not in ("", "0"):
            _keep(federation)


def _show(federation: LocalFederation) -> dict[str, Any]:
    with _step("Dealing 150,000 real loans out to three lenders"):
        lenders = write_lenders(DEMO / "data")
    with _step("Starting the coordinator"):
        federation.init_coordinator()
        federation.coordinator.start()
        federation.coordinator.command("contract", "publish", str(CONTRACT))
    for lender in lenders:
        with _step(f"{lender.name} joins by token, and starts its node"):
            federation.add_node(lender.name, source=str(lender.train))
    with _step("Waiting for the three streams, and for the feature contract to reach every node"):
        federation.wait_online()
        for node in federation.nodes.values():
            wait_until(partial(_has_contract, node), f"{node.name} to have the contract")
    _fingerprints(federation)
    checks = {}
    for lender in lenders:
        with _step(f"{lender.name} checks its data against the feature contract"):
            checks[lender.name] = federation.nodes[lender.name].json("data", "check")
    run = _train(federation)
    _lender_table(lenders)
    return _report(lenders, checks, run)


def _has_contract(node: Daemon) -> bool:
    return bool(node.json("status")["contract_version"])


@contextmanager
def _step(text: str) -> Iterator[None]:
    began = time.monotonic()
    with console.status(text):
        yield
    console.print(f"[green]done[/green] {text} [dim]{time.monotonic() - began:.1f} s[/dim]")


def _fingerprints(federation: LocalFederation) -> None:
    seen = {name: node.json("fingerprints")["federation"] for name, node in federation.nodes.items()}
    if len(set(seen.values())) != 1:
        raise RuntimeError("the founding members' fingerprints differ")
    console.print(f"     The founders compare by telephone, and all read: [bold]{next(iter(seen.values()))}[/bold]")


def _train(federation: LocalFederation) -> dict[str, Any]:
    console.print()
    started = federation.run(RUN, wait=False)
    home = str(federation.coordinator.home)
    watch = [sys.executable, "-m", "jointrisk.cli", "coordinator", "--home", home, "runs", "watch", started["run_id"]]
    subprocess.run(watch, check=False)
    run = federation.show(started["run_id"])
    if run["state"] != "done":
        raise RuntimeError(f"the run ended as {run['state']}: {run['detail']}")
    return run


def _bad_rate(lender: LenderFiles) -> float:
    labels = pq.read_table(lender.train, columns=[LABEL])[LABEL].to_numpy()
    return float(labels.mean())


def _lender_table(lenders: tuple[LenderFiles, ...]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False, title="\nWho trained (rows never left their node)")
    for column in ("lender", "rows", "bad rate", "held out for later"):
        table.add_column(column, justify="left" if column == "lender" else "right")
    for lender in lenders:
        table.add_row(lender.name, f"{lender.rows:,}", f"{_bad_rate(lender):.1%}", f"{lender.test_rows:,}")
    console.print(table)


def _report(lenders: tuple[LenderFiles, ...], checks: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    history = run["history"]
    return {
        "lenders": {
            lender.name: {
                "rows": lender.rows,
                "bad_rate": round(_bad_rate(lender), 4),
                "data_check": checks[lender.name],
            }
            for lender in lenders
        },
        "run_id": run["run_id"],
        "rounds": run["rounds_done"],
        "seconds_per_round": round(sum(entry["seconds"] for entry in history) / len(history), 3),
        "metrics_by_round": [entry["metrics"] for entry in history],
        "metrics": history[-1]["metrics"],
        "arrays_sha256": run["arrays_sha256"],
    }


def _keep(federation: LocalFederation) -> None:
    console.print("\nKEEP=1: the federation goes on running until Ctrl-C. In another terminal, for example:")
    jointrisk = Path(sys.executable).with_name("jointrisk")
    console.print(f"  {jointrisk} coordinator --home {federation.coordinator.home} members")
    console.print(f"  {jointrisk} coordinator --home {federation.coordinator.home} runs list")
    for node in federation.nodes.values():
        console.print(f"  {jointrisk} node --home {node.home} status")
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("\nstopping every process")


if __name__ == "__main__":
    main()
