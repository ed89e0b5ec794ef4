"""Scoring with a trained model: files by the command line, single applicants through the daemon's socket."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.repeats import one_core
from benchmarks.report import Measure
from demo_data import FEATURES, LABEL, read_gmsc
from demo_evaluation import Book, fit_alone
from jointrisk.operator_socket import operator_socket
from jointrisk.rpc.channel import unix_channel
from jointrisk.rpc.v1 import score_pb2 as pb
from jointrisk.rpc.v1.score_pb2_grpc import ScoreServiceStub
from local_federation import Daemon

_WARM, _CALLS = 100, 2000


def lightgbm_seconds() -> float:
    """Return how long one LightGBM fit takes on all 150,000 rows in one place, with early stopping."""
    loans = read_gmsc()
    columns = [loans[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in FEATURES]
    book = Book(np.stack(columns, axis=1), loans[LABEL].to_numpy().astype(np.uint8))
    begin = time.monotonic()
    fit_alone(book)
    return time.monotonic() - begin


def measure_scoring(node: Daemon, folder: Path, *, quick: bool) -> list[Measure]:
    """Activate the newest model at a node, and measure a large file on one core and single applicants."""
    node.command("models", "activate", node.json("models", "list")["models"][-1]["model_id"])
    rows = _rows_per_second(node, folder, 4 if quick else 10)
    one, empty = _one_by_one(node)
    return [
        Measure("score_rows_per_s", rows, "rows/s", 100_000, "higher"),
        Measure("score_one_ms_p50", float(np.quantile(one, 0.5)), "ms"),
        Measure("score_one_ms_p99", float(np.quantile(one, 0.99)), "ms", 3.0),
        # What a call costs that scores nobody: the machine's and gRPC's share of the figure above.
        Measure("empty_call_ms_p99", float(np.quantile(empty, 0.99)), "ms"),
    ]


def _rows_per_second(node: Daemon, folder: Path, copies: int) -> float:
    """Score a Parquet file into another on one core; the command's start is in the figure."""
    applications = pa.concat_tables([read_gmsc()] * copies)
    source, out = folder / "applications.parquet", folder / "scores.parquet"
    pq.write_table(applications, source)
    with one_core():
        begin = time.monotonic()
        node.command("score", str(source), "--out", str(out))
        seconds = time.monotonic() - begin
    return float(applications.num_rows / seconds)


def _one_by_one(node: Daemon) -> tuple[list[float], list[float]]:
    """Return the milliseconds of single applicants' scores through the socket, and of calls without an applicant."""
    applicants = [_applicant(row) for row in read_gmsc().select(list(FEATURES)).slice(0, _CALLS).to_pylist()]
    one, empty = list[float](), list[float]()
    with unix_channel(str(operator_socket(node.home))) as channel:
        stub = ScoreServiceStub(channel)
        for applicant in [*applicants[:_WARM], *applicants]:
            one.append(_milliseconds(stub, [applicant]))
            empty.append(_milliseconds(stub, []))
    return one[_WARM:], empty[_WARM:]


def _milliseconds(stub: ScoreServiceStub, applicants: list[pb.Applicant]) -> float:
    begin = time.perf_counter()
    scored = stub.Score(pb.ScoreRequest(applicants=applicants), timeout=10)
    seconds = time.perf_counter() - begin
    if len(scored.scores) != len(applicants):
        raise RuntimeError("expected a score for each applicant")
    return seconds * 1000


def _applicant(row: dict[str, float | None]) -> pb.Applicant:
    return pb.Applicant(features={n: pb.Value(number=float(v)) for n, v in row.items() if v is not None})
