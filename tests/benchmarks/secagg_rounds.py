"""Rounds of the default model in real federations, secure and plain in turns: seconds and bytes on the wire."""

from itertools import pairwise
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq

from benchmarks.federation_rounds import federation_of, scratch_folder
from benchmarks.observed_run import ObservedRun, observe
from benchmarks.report import Measure
from demo_data import CONTRACT, read_gmsc
from local_federation import LocalFederation

ROWS = 1500
"""Of each loan book: few, so that training takes little beside what is measured. The model does not depend on them."""
_WARM = 2
_MODES = ("plain", "secure")
ONE_STAGE = """
[task_settings]
architecture = "mlp"
refit = false
label_shift = "off"
"""
"""Rounds of one kind."""


def measure_federations(*, quick: bool) -> list[Measure]:
    """Measure with 3 and 5 members, and with 10 unless quick."""
    return [measure for count in ((3, 5) if quick else (3, 5, 10)) for measure in _measure(count, quick=quick)]


def _measure(count: int, *, quick: bool) -> list[Measure]:
    with scratch_folder() as root, federation_of(root / "federation", _books(root, count), CONTRACT) as federation:
        runs = [{mode: _run(federation, mode, quick=quick) for mode in _MODES} for _ in range(1 if quick else 2)]
    plain, secure = (median(second for run in runs for second in round_seconds(run[mode])) for mode in _MODES)
    bytes_plain, bytes_secure = (median(_bytes(run[mode]) for run in runs) for mode in _MODES)
    return [
        Measure(f"extra_seconds_{count}", secure - plain, "s", 0.3 if count == 5 else None),
        Measure(f"plain_round_seconds_{count}", plain, "s"),
        Measure(f"bytes_per_node_{count}", bytes_secure, "bytes"),
        Measure(f"bytes_ratio_to_plain_{count}", bytes_secure / bytes_plain, "ratio"),
    ]


def _books(root: Path, count: int) -> dict[str, str]:
    """Write loan books of real rows, a stretch of them for each member."""
    loans, sources = read_gmsc(), {}
    for place in range(count):
        path = root / f"lender-{place + 1}.parquet"
        pq.write_table(loans.slice(place * ROWS, ROWS), path)
        sources[path.stem] = str(path)
    return sources


def _run(federation: LocalFederation, mode: str, *, quick: bool) -> ObservedRun:
    members = len(federation.nodes)
    rounds = 6 if quick else 12
    settings = f'aggregation = "{mode}"\nrounds = {rounds}\npatience = 0\nminimum_members = 3\nquorum = {members}\n'
    return observe(federation, settings + ONE_STAGE, wire=True)


def round_seconds(run: ObservedRun) -> list[float]:
    """Return the seconds of each warm round, from commit to commit."""
    ends = {moment.rounds: moment.seconds for moment in reversed(run.moments)}
    return [ends[after] - ends[before] for before, after in pairwise(sorted(ends)) if before >= _WARM]


def _bytes(run: ObservedRun) -> float:
    return run.per_round(lambda moment: moment.wire, warm_after=_WARM)
