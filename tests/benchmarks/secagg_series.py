"""A sum of a series over five processes: real mods and real databases, joined by pipes instead of gRPC.

What a sum takes without gRPC and without counting; `secagg_levels` measures both with them.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.federation_rounds import scratch_folder
from benchmarks.report import Measure
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.aggregation import WEIGHT, Form
from jointrisk.learning.flower import (
    ArrayRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
    act_as,
    decode,
    encode,
    instruction,
    pack,
)
from jointrisk.learning.secure_aggregation import Mode, Parameters, Policy, SeriesAggregator, Terms
from jointrisk.learning.secure_runs import Asked, SecureMod, layouts, wire_kind
from jointrisk.learning.secure_runs.content import read_reply, request_content
from secure_members import RUN, LedgerAtHand, identity

NAMES = ("alder", "birch", "cedar", "dogwood", "elm")
LEVEL: Form = {"histograms": ((2, 32, 25, 64), "float64")}
"""Gradients and hessians of a tree's level: 32 nodes, 25 features, 64 bins."""
_KEYS = {name: public_bytes(identity(name)) for name in NAMES}


def measure_series(*, quick: bool) -> list[Measure]:
    """Measure the median time of a sum of a tree's level, the members' answers ready."""
    with scratch_folder() as folder, _processes(folder) as pipes:
        seconds = _sums(pipes, 8 if quick else 40)
    return [Measure("series_sum_ms_5_in_pipes", 1e3 * median(seconds[2:]), "ms")]


def _sums(pipes: dict[str, Connection], count: int) -> list[float]:
    """Agree on keys, sum so many times, and return the seconds of each sum."""
    act_as(RUN)
    aggregator = SeriesAggregator(_terms())
    for _ in range(2):
        _exchange(pipes, aggregator, None)
        aggregator.advance()
    seconds = []
    for number in range(1, count + 1):
        begin = time.perf_counter()
        asked = Asked("query.level", "sum", tuple(LEVEL), RecordDict({"arrays": ArrayRecord({"n": _number(number)})}))
        aggregator.ask(number, asked.digest(), layouts.sum_layout(LEVEL))
        _exchange(pipes, aggregator, asked)
        found = layouts.sum_reply(LEVEL, aggregator.outcome().sums)
        seconds.append(time.perf_counter() - begin)
        if abs(found.array_records["arrays"]["histograms"].numpy() - len(NAMES) / 2).max() > 1e-5:
            raise RuntimeError("expected the sum of the members' histograms, got another")
    return seconds


def _number(value: int) -> object:
    return pack(np.array([value], dtype=np.int64))


def _terms() -> Terms:
    chosen = Parameters.usual(len(NAMES))
    return Terms(
        mode=Mode.SERIES, session=os.urandom(16), federation="test", run=RUN, round=0, attempt=1, statistic="levels",
        contract_version=1, colluders=chosen.colluders, threshold=chosen.threshold, minimum=chosen.minimum,
        members=tuple(_KEYS.items()),
    )  # fmt: skip


def _exchange(pipes: dict[str, Connection], aggregator: SeriesAggregator, asked: Asked | None) -> None:
    """Send one content to all members, then take their replies as they come."""
    kind = wire_kind(aggregator.kind)
    content = encode(request_content(aggregator.requests(), asked))
    for pipe in pipes.values():
        pipe.send((kind, content))
    for name, pipe in pipes.items():
        aggregator.take(name, read_reply(decode(pipe.recv_bytes())))


@contextmanager
def _processes(folder: Path) -> Iterator[dict[str, Connection]]:
    """Yield a pipe to each member's process."""
    made = get_context("spawn")
    pipes, started = {}, []
    for name in NAMES:
        pipes[name], theirs = made.Pipe()
        started.append(made.Process(target=serve, args=(theirs, folder / name, name), daemon=True))
        started[-1].start()
        theirs.close()
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.close()
        for process in started:
            process.join(10)


def serve(pipe: Connection, folder: Path, name: str) -> None:
    """Be one member until the pipe ends: every answer is in its database before it is sent."""
    act_as(RUN)
    ledger = LedgerAtHand(folder, name, Policy("test", 1, _KEYS, 0, 3))
    version = hashlib.sha256(name.encode()).digest()
    mod = SecureMod(name, ledger, data_version=version, ranges={}, randomness=os.urandom)
    number = 1 + NAMES.index(name)
    histograms = {key: pack(np.full(shape, 0.5, dtype=dtype)) for key, (shape, dtype) in LEVEL.items()}
    answer = RecordDict({"arrays": ArrayRecord(histograms), "metrics": MetricRecord({WEIGHT: 1000})})
    while True:
        try:
            kind, content = pipe.recv()
        except EOFError:
            return
        asked = instruction(decode(content), kind, number, "0" * 64, "1")
        reply = mod(asked, Context(1, number, {}, RecordDict(), {}), lambda inner, _: Message(answer, reply_to=inner))
        pipe.send_bytes(encode(reply.content))
