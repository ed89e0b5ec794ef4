"""``make demo``: a coordinator and three lenders on this machine train a model together, and share listings.

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
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from demo_data import CONTRACT, LABEL, LenderFiles, write_lenders
from demo_evaluation import Book, fit_alone, plot, read_book
from demo_listings import (
    SAMPLE,
    Asked,
    Plan,
    Screened,
    ask,
    hold_ceremony,
    publish,
    screen,
    settings_of,
    write_listings,
)
from demo_theft import Stolen, steal
from jointrisk.learning.areas import Labels, Scores, area, difference
from local_federation import Daemon, LocalFederation, wait_until

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "build" / "demo"
RUN = """
rounds = 40
[task_settings]
architecture = "blend"
networks = 1
label_shift = "off"
[task_settings.trees]
depth = 4
learning_rate = 0.15
"""
"""A blend of a network and at most 40 small trees: what is shared between three processes on two cores in a minute."""

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
        federation.init_coordinator('[listings]\nwindow = "0s"\n')
        federation.coordinator.start()
        federation.coordinator.command("contract", "publish", str(CONTRACT))
    for lender in lenders:
        with _step(f"{lender.name} joins by token, and starts its node"):
            federation.add_node(lender.name, source=str(lender.train), extra_toml=settings_of(lender.name), listen=True)
    with _step("Waiting for three streams, and the contract at every node"):
        federation.wait_online()
        for node in federation.nodes.values():
            wait_until(partial(_has_contract, node), f"{node.name} to have the contract")
    _fingerprints(federation)
    checks = {}
    for lender in lenders:
        with _step(f"{lender.name} checks its data against the feature contract"):
            checks[lender.name] = federation.nodes[lender.name].json("data", "check")
    run = _train(federation)
    result = _evaluate(federation, lenders)
    _show_results(lenders, result)
    books = {name: book.labels for name, book in result.books.items()}
    plot(DEMO / "report.png", books, result.shared, {name: result.alone_on_own(name) for name in books})
    console.print(f"ROC and lift of every lender: {(DEMO / 'report.png').relative_to(ROOT)}")
    return _report(lenders, checks, run, result) | _listings(federation, lenders)


def _listings(federation: LocalFederation, lenders: tuple[LenderFiles, ...]) -> dict[str, Any]:
    """Show the second half: a key that nobody has, listings, questions, thieves; return the figures."""
    console.print()
    with _step("A key ceremony: any two of the three lenders can evaluate an identifier, none alone"):
        hold_ceremony(federation)
    with _step("Making up persons for the loans: resident IDs and phone numbers, some at several lenders"):
        plan = write_listings(lenders)
    with _step(f"Each lender lists its real defaulters, and every {SAMPLE}th good loan: {plan.rows:,} rows"):
        rates = publish(federation, plan)
    with _step("The bank asks about single persons"):
        asked = ask(federation, plan)
    with _step("The bank screens a part of its book"):
        screened = screen(federation, plan, DEMO / "data" / "bank")
    (DEMO / "stolen").mkdir()
    with _step("Thieves take the coordinator's database and a lender's disk, and try every identifier"):
        stolen = steal(federation, plan, DEMO / "stolen")
    _show_listings(asked, screened, stolen)
    return _listing_report(plan, rates, asked, screened, stolen)


def _show_listings(asked: Asked, screened: Screened, stolen: Stolen) -> None:
    hit = asked.hit
    console.print(
        f"     A customer who defaulted elsewhere: [bold]{len(hit.listings)} listings of {hit.lenders} lenders[/bold]; "
        f"one with loans: [bold]active at {asked.exposed.exposure.active_loan_lenders} lenders[/bold]; "
        f"somebody unknown: {len(asked.miss.listings)} listings. {asked.p50_ms} ms a question (99 %: {asked.p99_ms})."
    )
    console.print(
        f"     Screened {screened.persons:,} customers in {screened.seconds} s: {screened.hits_found:,} of "
        f"{screened.hits_expected:,} defaulters found, {screened.false_hits} false; {screened.exposure_found:,} of "
        f"{screened.exposure_expected:,} active loans."
    )
    console.print(
        f"     The coordinator's database ({stolen.entries:,} tags): of {stolen.tried:,} identifiers that are in it, "
        f"{stolen.in_clear} can be read, and {stolen.hashed} found by hashing.\n"
        f"     A lender's disk with its master key: of {stolen.persons:,} listed persons its share finds "
        f"{stolen.with_one_share}. Two lenders' shares find {stolen.with_two_shares:,}: that is the threshold.\n"
        f"     A stolen node that still runs can ask: {stolen.left_at_holder:,} more questions at one holder, until it "
        "is removed; every one is on record there."
    )


def _listing_report(
    plan: Plan, rates: dict[str, float], asked: Asked, screened: Screened, stolen: Stolen
) -> dict[str, Any]:
    return {
        "listings_published": plan.rows,
        "listing_rows_per_s": rates,
        "hits_expected": screened.hits_expected,
        "hits_found": screened.hits_found,
        "false_hits": screened.false_hits,
        "exposure_expected": screened.exposure_expected,
        "exposure_found": screened.exposure_found,
        "query_p50_ms": asked.p50_ms,
        "query_p99_ms": asked.p99_ms,
        "screen_per_s": round(screened.persons / screened.seconds, 1),
        "stolen": asdict(stolen),
    }


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


@dataclass(frozen=True)
class _Result:
    """Everything that is measured, by lender; scores are of the lender's held-out borrowers."""

    books: dict[str, Book]
    alone: dict[str, lightgbm.Booster]
    shared: dict[str, Scores]

    @property
    def labels(self) -> Labels:
        """Labels of the common test: all lenders' held-out borrowers."""
        return np.concatenate([book.labels for book in self.books.values()])

    def alone_on_common(self, name: str) -> Scores:
        """Scores of one lender's own model on the common test."""
        return self._of(name, np.concatenate([book.features for book in self.books.values()]))

    def alone_on_own(self, name: str) -> Scores:
        """Scores of one lender's own model on its own book."""
        return self._of(name, self.books[name].features)

    def _of(self, name: str, features: NDArray[np.float64]) -> Scores:
        return np.asarray(self.alone[name].predict(features), dtype=np.float64)


def _evaluate(federation: LocalFederation, lenders: tuple[LenderFiles, ...]) -> _Result:
    shared: dict[str, Scores] = {}
    for lender in lenders:
        with _step(f"{lender.name} activates the model, scores {lender.test_rows:,} applicants"):
            shared[lender.name] = _score(federation.nodes[lender.name], lender)
    with _step("What each lender has alone: LightGBM on its own rows"):
        alone = {lender.name: fit_alone(read_book(lender.train)) for lender in lenders}
    return _Result({lender.name: read_book(lender.test) for lender in lenders}, alone, shared)


def _score(node: Daemon, lender: LenderFiles) -> Scores:
    newest = node.json("models", "list")["models"][-1]["model_id"]
    node.command("models", "activate", newest)
    scored = lender.test.with_name("scored.parquet")
    node.command("score", str(lender.test), "--out", str(scored))
    return np.asarray(pq.read_table(scored, columns=["pd"])["pd"], dtype=np.float64)


def _show_results(lenders: tuple[LenderFiles, ...], result: _Result) -> None:
    common = area(result.labels, np.concatenate(list(result.shared.values())))
    table = Table(
        box=None, header_style="bold", pad_edge=False, title="\nAreas under the ROC curve, with standard errors"
    )
    for column in ("lender", "rows", "bad", "alone, common", "alone, own", "shared, own", "gain, own"):
        table.add_column(column, justify="left" if column == "lender" else "right")
    for lender in lenders:
        name, book = lender.name, result.books[lender.name]
        own = result.alone_on_own(name)
        table.add_row(
            name,
            f"{lender.rows:,}",
            f"{_bad_rate(lender):.1%}",
            str(area(result.labels, result.alone_on_common(name))),
            str(area(book.labels, own)),
            str(area(book.labels, result.shared[name])),
            str(difference(book.labels, result.shared[name], own)),
        )
    console.print(table)
    console.print(f"The shared model on the common test: [bold]{common}[/bold]")
    console.print("common: held-out borrowers of all three; own: the lender's own. Standard errors by DeLong.")


def _bad_rate(lender: LenderFiles) -> float:
    labels = pq.read_table(lender.train, columns=[LABEL])[LABEL].to_numpy()
    return float(labels.mean())


def _report(
    lenders: tuple[LenderFiles, ...], checks: dict[str, Any], run: dict[str, Any], result: _Result
) -> dict[str, Any]:
    names, history = [lender.name for lender in lenders], run["history"]
    common = {name: area(result.labels, result.alone_on_common(name)).value for name in names}
    shared = area(result.labels, np.concatenate(list(result.shared.values())))
    return {
        "auc_shared": round(shared.value, 5),
        "auc_shared_se": round(shared.error, 5),
        "auc_alone": _rounded(common) | {"mean": round(float(np.mean(list(common.values()))), 5)},
        "auc_own_book_shared": _rounded({n: area(result.books[n].labels, result.shared[n]).value for n in names}),
        "auc_own_book_alone": _rounded({n: area(result.books[n].labels, result.alone_on_own(n)).value for n in names}),
        "auc_own_book_gain_se": _rounded(
            {n: difference(result.books[n].labels, result.shared[n], result.alone_on_own(n)).error for n in names}
        ),
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
        # Rounds on all rows, which come last, leave none for evaluation.
        "validation": next(entry["metrics"] for entry in reversed(history) if "auc" in entry["metrics"]),
        "arrays_sha256": run["arrays_sha256"],
        "aggregation": _aggregation(run),
    }


def _aggregation(run: dict[str, Any]) -> dict[str, Any]:
    """Return how members' parts were added up: the mode, n, f, t, the minimum."""
    figures = run["history"][-1]["guarantee_figures"]
    return {name: figures[name] for name in ("mode", "members", "colluders", "threshold", "minimum")}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}


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
