"""Rounds of real federations on this machine: real processes, mutual TLS, durable state."""

import io
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from benchmarks.observed_run import observe
from benchmarks.report import Measure
from benchmarks.scoring import lightgbm_seconds, measure_scoring
from demo_data import CONTRACT, write_lenders
from jointrisk.cli import command
from local_federation import Daemon, LocalFederation

LARGE_BYTES = 200_000_000


@contextmanager
def federation_of(root: Path, sources: Mapping[str, str], contract: Path | None = None) -> Iterator[LocalFederation]:
    """Yield a federation under ``root``, its nodes online.

    Args:
        root: an empty folder.
        sources: member to its loan book; an empty path for a node without data.
        contract: the feature contract to publish.
    """
    with LocalFederation(root, founding_members=len(sources)) as federation:
        federation.init_coordinator()
        federation.coordinator.start()
        if contract is not None:
            federation.coordinator.command("contract", "publish", str(contract))
        _join_all(federation, sources)
        for node in federation.nodes.values():
            node.start(wait=False)
        federation.wait_online(timeout=120)
        yield federation


def _join_all(federation: LocalFederation, sources: Mapping[str, str]) -> None:
    """Let nodes join. A command's start takes most of its time, so a few processes run all commands."""
    coordinator = replace(federation.coordinator, process=None)
    nodes = [federation.new_node(name) for name in sources]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_join, coordinator, node, sources[node.name]) for node in nodes]
        for job in jobs:
            job.result()


def _join(coordinator: Daemon, node: Daemon, source: str) -> None:
    """Run a node's ``init`` and ``join`` in this process."""
    _command(node, "init", *(("--source", source) if source else ()), with_key=True)
    with (node.home / "node.toml").open("a") as settings:
        settings.write("plain_aggregation = true\n")  # goes on with [policy]
    token = json.loads(_command(coordinator, "invite", node.name, "--json"))["token"]
    _command(node, "join", token, with_key=True)


def _command(daemon: Daemon, *arguments: str, with_key: bool = False) -> str:
    """Run a ``jointrisk`` command in this process and return what it printed."""
    line = [daemon.role, "--home", str(daemon.home), *arguments]
    if with_key:
        line += ["--master-key-fd", str(os.open(daemon.key_file, os.O_RDONLY))]  # the command closes it
    with redirect_stdout(io.StringIO()) as printed:
        command(line, prog_name="jointrisk", standalone_mode=False)
    return printed.getvalue()


@contextmanager
def probe_federation(nodes: int) -> Iterator[LocalFederation]:
    """Yield a federation of nodes without data, online."""
    sources = {f"lender-{number}": "" for number in range(1, nodes + 1)}
    with scratch_folder() as root, federation_of(root, sources) as federation:
        yield federation


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="jointrisk-bench-") as folder:
        yield Path(folder)


def probe(rounds: int, nodes: int, payload_bytes: int = 4096) -> str:
    """Return the settings of a run that does nothing but carry arrays, in which every node must reply."""
    return (
        f'task = "probe"\naggregation = "plain"\n'
        f"rounds = {rounds}\nevaluate = false\nminimum_members = {nodes}\nquorum = {nodes}\n"
        f"[task_settings]\npayload_bytes = {payload_bytes}\n"
    )


def measure_three(*, quick: bool) -> list[Measure]:
    """Measure a warm round with three nodes, how soon a federation is ready, and rounds of 200 MB unless quick."""
    with probe_federation(3) as federation:
        seconds = observe(federation, probe(20 if quick else 60, 3)).round_seconds(warm_after=5)
        ready = _ready_seconds(federation)
        large = [] if quick else _measure_large(federation)
    return [
        Measure("round_seconds_3", seconds, "s", goal=0.15),
        Measure("ready_seconds", ready, "s"),
        *large,
    ]


def _measure_large(federation: LocalFederation) -> list[Measure]:
    """Measure rounds of a model of 200 MB; too long for a quick look."""
    large = observe(federation, probe(4, len(federation.nodes), LARGE_BYTES), memory=True)
    return [
        Measure("model_200mb_round_seconds", large.round_seconds(warm_after=1), "s"),
        *(Measure(f"model_200mb_peak_rss_mb_{kind}", peak, "MiB") for kind, peak in large.peaks_mb.items()),
    ]


def measure_twenty(*, quick: bool) -> list[Measure]:
    """Measure a warm round with twenty nodes."""
    with probe_federation(20) as federation:
        seconds = observe(federation, probe(12 if quick else 40, 20)).round_seconds(warm_after=3)
    return [Measure("round_seconds_20", seconds, "s", goal=0.6)]


def measure_training(*, quick: bool) -> list[Measure]:
    """Measure a run of the default model on real loans, beside one LightGBM fit of all rows, and scoring with it."""
    with scratch_folder() as root:
        sources = {lender.name: str(lender.train) for lender in write_lenders(root / "data")}
        with federation_of(root / "federation", sources, CONTRACT) as federation:
            begin = time.monotonic()
            # The default rounds; fewer when quick, which then tells no time of the whole.
            run = observe(federation, "rounds = 3\n" if quick else "", wire=True, memory=True)
            seconds = time.monotonic() - begin
            scoring = measure_scoring(federation.nodes["bank"], root, quick=quick)
    return [
        Measure("round_bytes_per_node", run.per_round(lambda moment: moment.wire, warm_after=1), "bytes"),
        *(Measure(f"peak_rss_mb_{kind}", peak, "MiB") for kind, peak in run.peaks_mb.items()),
        *([] if quick else _against_lightgbm(seconds)),
        *scoring,
    ]


def _against_lightgbm(seconds: float) -> list[Measure]:
    ratio = seconds / lightgbm_seconds()
    return [Measure("train_seconds_gmsc", seconds, "s"), Measure("train_seconds_ratio_to_lightgbm", ratio, "ratio")]


def _ready_seconds(federation: LocalFederation) -> float:
    """Restart everything; return how long it takes from the first process to the last node's stream."""
    federation.stop()
    begin = time.monotonic()
    for daemon in (federation.coordinator, *federation.nodes.values()):
        daemon.start(wait=False)
    federation.coordinator.wait_ready()
    federation.wait_online()
    return time.monotonic() - begin
