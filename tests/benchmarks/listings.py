"""Shared listings: a coordinator and three nodes as real processes, mutual TLS, a key of which any two holders suffice.

An item, an entry and a person are one identifier each. The asking node is a holder itself, so that it asks one other:
its own share is in `asker_*`, the other's in `holder_*`. Processor time is that of whole processes. Figures that are
compared were taken in the same turn; of latencies those turns count in which the machine did the least for others.
"""

import atexit
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.listings_scene import ASKER, HOLDERS, KNOWN, Scene
from benchmarks.machine import ROOT
from benchmarks.process_figures import peak_rss_mb, wire_bytes
from benchmarks.repeats import others_seconds
from benchmarks.report import Measure
from demo_people import person
from jointrisk.oprf.bulk import MAX_BATCH
from jointrisk.rpc.v1 import evaluation_pb2
from jointrisk.rpc.v1 import signal_pb2 as pb
from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub
from local_federation import wait_until

_REAL, _REAL_QUICK = 1_000_000, 10_000
_REAL_AT_ONCE = 100_000
_TIMED_ROWS, _TIMED_ROWS_QUICK = 40_960, 8_192
_APPENDED_QUICK = 49  # batches: with the real ones, enough for a second of synchronisation
_SIZES = {"10k": 10_000, "1m": 1_000_000, "10m": 10_000_000}
_LOOKUPS_A_TURN = 50
_BULK_PERSONS = 5_000_000  # persons from here on are asked about, and not listed
_OPENMINED = ROOT / "build" / "openmined"
_OPENMINED_PACKAGES = ("openmined-psi==2.0.6", "protobuf==6.30.2")

_scenes: list[Scene] = []


def _scene(*, quick: bool) -> Scene:
    """Return the federation, started when it is needed for the first time; it ends with the last part."""
    if not _scenes:
        _scenes.append(Scene(quick=quick))
        atexit.register(_close)
    return _scenes[0]


def _close() -> None:
    while _scenes:
        _scenes.pop().close()


def measure_publishing(*, quick: bool) -> list[Measure]:
    """Measure listing a file: evaluated, sealed, stored, appended; all that is listed stays for the other parts."""
    scene = _scene(quick=quick)
    while not quick and scene.published < _REAL:
        scene.publish(min(_REAL_AT_ONCE, _REAL - scene.published))
    rows = _TIMED_ROWS_QUICK if quick else _TIMED_ROWS
    began = time.perf_counter()
    scene.publish(rows)
    seconds = time.perf_counter() - began
    if quick:
        scene.publish(max(0, _REAL_QUICK - scene.published))
    return [Measure("publish_per_s", rows / seconds, "1/s", None, "higher")]


def measure_synchronising(*, quick: bool) -> list[Measure]:
    """Measure fetching, verifying and indexing the coordinator's whole log."""
    scene = _scene(quick=quick)
    if quick:
        scene.windows[HOLDERS[0]].take("appended", batches=_APPENDED_QUICK)
    _wait_released(scene)
    window = scene.windows[HOLDERS[1]]
    turns = [window.take("synchronised", folder=str(scene.root / "fresh")) for _ in range(3)]
    best = max(turns, key=lambda turn: float(turn["entries"] / turn["seconds"]))
    return [
        Measure("sync_entries_per_s", best["entries"] / best["seconds"], "1/s", 100_000, "higher"),
        Measure("sync_entries", best["entries"], "entries", None, "higher"),
        Measure("replica_bytes_per_entry", best["bytes_per_entry"], "bytes"),
    ]


def _wait_released(scene: Scene) -> None:
    """Wait until the log does not grow any more, and every node has it."""
    seen: list[set[int]] = [set()]

    def rests() -> bool:
        time.sleep(0.5)
        nodes = scene.federation.nodes.values()
        seen.append({replica["size"] for node in nodes for replica in node.json("listings", "sync")["replicas"]})
        return seen[-1] == seen[-2] and len(seen[-1]) == 1

    wait_until(rests, "all listings at all nodes", 120)


def measure_screening(*, quick: bool) -> list[Measure]:
    """Measure a book over the operator socket, as a lender's own system screens it: all cores."""
    scene = _scene(quick=quick)
    number = (2 if quick else 10) * 4 * MAX_BATCH
    began = time.perf_counter()
    stub = SignalServiceStub(scene.channel)
    screened = sum(part.screened for part in stub.Screen(_book(number), timeout=300))
    if screened != number:
        raise RuntimeError(f"expected {number} persons to be screened, got {screened}")
    return [Measure("screen_per_s", number / (time.perf_counter() - began), "1/s", None, "higher")]


def _book(number: int) -> Iterator[pb.ScreenRequest]:
    """Yield a book of persons; every other one is listed."""
    terms = pb.ScreenTerms(purpose=evaluation_pb2.PORTFOLIO, consent_reference="benchmark/book")
    yield pb.ScreenRequest(terms=terms)
    for first in range(0, number, MAX_BATCH):
        persons = [
            pb.ScreenPerson(row=row, identifiers=[_identifier(row if row % 2 else _BULK_PERSONS + row)])
            for row in range(first, min(first + MAX_BATCH, number))
        ]
        yield pb.ScreenRequest(persons=pb.ScreenPersons(persons=persons))


def _identifier(number: int) -> pb.PersonIdentifier:
    return pb.PersonIdentifier(kind="resident_id", country="CN", value=person(number).resident_id)


def measure_holder(*, quick: bool) -> list[Measure]:
    """Measure the processor time of a holder under full batches, beside libsodium's own in the same process.

    Without the proof: the served process with everything else, its evaluation composed without proving; the batches
    then come from a caller that verifies nothing.
    """
    scene = _scene(quick=quick)
    holder = scene.windows[HOLDERS[0]]
    ratios: dict[bool, list[float]] = {True: [], False: []}
    try:
        for _ in range(4 if quick else 15):
            for proofs, taken in ratios.items():
                holder.take("proofs", wanted=proofs)
                taken.append(_holder_ratio(scene, batches=4))
    finally:
        holder.take("proofs", wanted=True)
    return [
        Measure("holder_ratio_to_raw", median(ratios[False]), "ratio", 0.85, "higher"),
        Measure("holder_ratio_to_raw_with_proof", median(ratios[True]), "ratio", 0.38, "higher"),
    ]


def _holder_ratio(scene: Scene, batches: int) -> float:
    """Return what libsodium takes for an item, as a part of what the whole process takes."""
    holder = scene.windows[HOLDERS[0]]
    before, used = holder.take("raw"), holder.take("cpu")
    items = scene.asker.take("load", holder=HOLDERS[0], batches=batches)
    each = (holder.take("cpu") - used) / items * 1e6
    return float((before + holder.take("raw")) / 2 / each)


def measure_asking(*, quick: bool) -> list[Measure]:
    """Measure what bulk questions take on both sides, beside the primitives, and beside openmined-psi, turn by turn."""
    scene = _scene(quick=quick)
    openmined = _openmined_ready()
    turns = [_asking_turn(scene, number, openmined=openmined) for number in range(4 if quick else 12)][1:]
    asker, holder = (_column(turns, name) for name in ("asker", "holder"))
    both = [one + other for one, other in zip(asker, holder, strict=True)]
    measures = [
        Measure("asker_cpu_us_per_item", median(asker), "us"),
        Measure("holder_cpu_us_per_item", median(holder), "us"),
        Measure("asker_cpu_ratio_to_floor", _median_ratio(asker, _column(turns, "floor")), "ratio", 1.25),
        Measure("evaluated_per_s", median(_column(turns, "per_s")), "1/s", None, "higher"),
        Measure("bytes_per_item", median(_column(turns, "bytes")), "bytes"),
    ]
    if openmined:
        theirs = _column(turns, "query")
        measures += [
            Measure("openmined_cpu_us_per_item", median(theirs), "us"),
            Measure("openmined_setup_cpu_us_per_item", median(_column(turns, "setup")), "us"),
            Measure("cpu_ratio_to_openmined", _median_ratio(both, theirs), "ratio", 2.5),
        ]
    return measures


def _asking_turn(scene: Scene, number: int, *, openmined: bool) -> dict[str, float]:
    count = 4 * MAX_BATCH
    floor, used, wire = scene.asker.take("floor"), _holders_cpu(scene), _holders_wire(scene)
    seconds, own = scene.asker.take("evaluated", first=_BULK_PERSONS + number * count, count=count)
    turn = {
        "asker": own / count * 1e6,
        "holder": (_holders_cpu(scene) - used) / count * 1e6,
        "bytes": (_holders_wire(scene) - wire) / count,
        "per_s": count / seconds,
        "floor": (floor + scene.asker.take("floor")) / 2,
    }
    return turn | (_openmined(MAX_BATCH) if openmined else {})


def _holders_cpu(scene: Scene) -> float:
    return sum(float(scene.windows[name].take("cpu")) for name in HOLDERS)


def _holders_wire(scene: Scene) -> int:
    return sum(wire_bytes(scene.asking_node.pid, scene.peer_port(name)) for name in HOLDERS)


def _openmined_ready() -> bool:
    """Install the package apart from everything else; return whether it can be had."""
    if (_OPENMINED / "private_set_intersection").exists():
        return True
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(_OPENMINED))
    done = subprocess.run((*pip, *_OPENMINED_PACKAGES), check=False, capture_output=True)
    if done.returncode:
        sys.stderr.write("openmined-psi cannot be had here: figures beside it are left out\n")
    return not done.returncode


def _openmined(items: int) -> dict[str, float]:
    environment = os.environ | {"PYTHONPATH": f"{_OPENMINED}:{ROOT / 'tests'}"}
    command = (sys.executable, "-m", "benchmarks.listings_openmined", str(items))
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measure_memory(*, quick: bool) -> list[Measure]:
    """Tell the most memory that each kind of process has had so far; later parts open more replicas in one process."""
    scene = _scene(quick=quick)
    nodes = scene.federation.nodes
    return [
        Measure("peak_rss_mb_coordinator", peak_rss_mb(scene.federation.coordinator.pid), "MB"),
        Measure("peak_rss_mb_holder", max(peak_rss_mb(nodes[name].pid) for name in HOLDERS), "MB"),
        Measure("peak_rss_mb_asker", peak_rss_mb(nodes[ASKER].pid), "MB"),
    ]


def measure_lookups(*, quick: bool) -> list[Measure]:
    """Measure online questions in replicas of all sizes, inside the asking process: from identifier to opened entry."""
    scene = _scene(quick=quick)
    sizes = [name for name in _SIZES if not (quick and name == "10m")]
    for name in sizes:
        scene.asker.take("opened", name=name, folder=str(scene.filled(name, _SIZES[name])))
    turns = _quiet_turns(24 if quick else 80, lambda number: {name: _lookups(scene, name, number) for name in sizes})
    pooled = {name: np.concatenate([turn[name] for turn in turns]) for name in sizes}
    p50 = {name: float(np.percentile(each, 50)) for name, each in pooled.items()}
    measures = [Measure(f"lookup_p50_ms_{name}", p50[name], "ms", 2) for name in sizes]
    measures += [Measure(f"lookup_p99_ms_{name}", float(np.percentile(pooled[name], 99)), "ms", 4) for name in sizes]
    if quick:
        return measures
    growth = _median_ratio(*([float(np.median(turn[name])) for turn in turns] for name in ("10m", "10k")))
    return [*measures, Measure("lookup_growth_10k_to_10m", growth, "ratio", 1.2)]


def _lookups(scene: Scene, name: str, number: int, *, pause: float = 0.0) -> Sequence[float]:
    first = number * _LOOKUPS_A_TURN % (len(KNOWN) - _LOOKUPS_A_TURN)
    persons = list(KNOWN[first : first + _LOOKUPS_A_TURN])
    taken: Mapping[str, Any] = scene.asker.take("lookups", name=name, persons=persons, pause=pause)
    if taken["found"] != len(persons):
        raise RuntimeError(f"expected {len(persons)} persons to be found, got {taken['found']}")
    milliseconds: Sequence[float] = taken["ms"]
    return milliseconds


def measure_query(*, quick: bool) -> list[Measure]:
    """Measure the same over the operator socket, as a lender's own system asks, beside lookups in the process."""
    scene = _scene(quick=quick)
    stub = SignalServiceStub(scene.channel)

    def turn(number: int) -> dict[str, Sequence[float]]:
        persons = range(number * _LOOKUPS_A_TURN % 5_000, number * _LOOKUPS_A_TURN % 5_000 + _LOOKUPS_A_TURN)
        inside = scene.asker.take("lookups", name="", persons=list(persons))["ms"]
        return {"inside": inside, "socket": [_query(stub, one) for one in persons]}

    turns = _quiet_turns(8 if quick else 30, turn)
    socket = np.concatenate([turn["socket"] for turn in turns])
    added = median(float(np.median(turn["socket"]) - np.median(turn["inside"])) for turn in turns)
    return [
        Measure("query_p50_ms", float(np.percentile(socket, 50)), "ms"),
        Measure("query_p99_ms", float(np.percentile(socket, 99)), "ms"),
        Measure("query_adds_ms", added, "ms"),
    ]


def _query(stub: Any, number: int) -> float:
    request = pb.QueryRequest(
        persons=[pb.Person(identifiers=[_identifier(number)])],
        purpose=evaluation_pb2.ADMISSION,
        consent_reference="benchmark/query",
    )
    began = time.perf_counter()
    response: pb.QueryResponse = stub.Query(request, timeout=30)
    milliseconds = (time.perf_counter() - began) * 1000
    if not response.signals[0].listings:
        raise RuntimeError("expected a listed person to be found")
    return milliseconds


def measure_lookups_under_bulk(*, quick: bool) -> list[Measure]:
    """Measure online questions while another member has both holders evaluate a book, as fast as it can."""
    scene = _scene(quick=quick)
    if quick:
        scene.asker.take("opened", name="10k", folder=str(scene.filled("10k", _SIZES["10k"])))
    busy = scene.windows[HOLDERS[1]]
    busy.take("bulk_begun", first=_BULK_PERSONS)
    began = time.perf_counter()
    try:
        turns = [_lookups(scene, "10k", number, pause=0.01) for number in range(10 if quick else 40)]
    finally:
        seconds, done = time.perf_counter() - began, busy.take("bulk_ended")
    pooled = np.concatenate(turns)
    return [
        Measure("lookup_p50_ms_under_bulk", float(np.percentile(pooled, 50)), "ms"),
        Measure("lookup_p99_ms_under_bulk", float(np.percentile(pooled, 99)), "ms", 20),
        Measure("bulk_per_s_beside_lookups", done / seconds, "1/s", None, "higher"),
    ]


def measure_end(*, quick: bool) -> list[Measure]:
    """End the federation."""
    _close()
    return []


def _quiet_turns(number: int, turn: Callable[[int], Any]) -> list[Any]:
    """Return the half of the turns in which the machine did the least for other processes; the first is not counted."""
    taken = []
    for count in range(number + 1):
        began, before = time.perf_counter(), others_seconds()
        figures = turn(count)
        taken.append(((others_seconds() - before) / (time.perf_counter() - began), figures))
    quiet = sorted(taken[1:], key=lambda one: one[0])[: number // 2]
    return [figures for _, figures in quiet]


def _column(turns: Iterable[Mapping[str, float]], name: str) -> list[float]:
    return [turn[name] for turn in turns]


def _median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(one / other for one, other in zip(above, below, strict=True))


PARTS = (
    measure_publishing,
    measure_screening,
    measure_synchronising,
    measure_holder,
    measure_asking,
    measure_memory,
    measure_query,
    measure_lookups,
    measure_lookups_under_bulk,
    measure_end,
)
