"""A level of a tree under secure sums in a real federation: five nodes, mutual TLS, databases, histograms and all.

The trees are deep enough that their last level asks for 32 nodes over 25 features with 64 bins. What is timed is
from the end of the level before to its own: asked, counted at the members, masked, stored, summed, and on the disk.
"""

import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from benchmarks.federation_rounds import federation_of, scratch_folder
from benchmarks.report import Measure
from contract_sample import LABEL, numeric_feature, sample_contract
from local_federation import LocalFederation

MEMBERS = 5
FEATURES = 25
_ROWS = 8_000
_LAST = 7
"""The level that asks for 32 nodes: of 64, one of each two."""
_SETTINGS = f"""
rounds = {{rounds}}
patience = 0
quorum = {MEMBERS}
[task_settings]
architecture = "trees"
refit = false
bins = 64
[task_settings.trees]
depth = {_LAST}
column_share = 1.0
learning_rate = 0.3
minimum_hessian = 0.001
"""
_PAUSE = 0.02


def measure_levels(*, quick: bool) -> list[Measure]:
    """Measure the median time of a tree's last level, from real nodes."""
    with scratch_folder() as root:
        contract = root / "contract.toml"
        contract.write_text(_contract())
        with federation_of(root / "federation", _books(root), contract) as federation:
            seconds = _last_levels(federation, 4 if quick else 12)
    return [Measure("series_sum_ms_5", 1e3 * median(seconds[1:]), "ms", 60)]


def _contract() -> str:
    features = [numeric_feature(f"x{place}") for place in range(FEATURES)]
    return tomli_w.dumps(
        sample_contract(features=features).model_dump(mode="json", exclude_none=True, exclude={"version"})
    )


def _books(root: Path) -> dict[str, str]:
    """Write loan books whose risk depends a little on every number, so that every node can be split."""
    sources = {}
    for member in range(MEMBERS):
        generator = np.random.default_rng(member)
        rows = generator.normal(size=(_ROWS, FEATURES))
        risk = np.sin(rows[:, ::2] * 2).sum(axis=1) / 2 + rows[:, 1::2].sum(axis=1) / 4
        labels = (generator.random(_ROWS) < 1 / (1 + np.exp(-risk))).astype(np.int64)
        columns = {f"x{place}": rows[:, place] for place in range(FEATURES)} | {LABEL: labels}
        path = root / f"lender-{member + 1}.parquet"
        pq.write_table(pa.table(columns), path)
        sources[path.stem] = str(path)
    return sources


def _last_levels(federation: LocalFederation, rounds: int) -> list[float]:
    """Grow so many trees, and return the seconds of each last level, by when the levels' sums were on the disk."""
    run_id = federation.run(_SETTINGS.format(rounds=rounds), wait=False)["run_id"]
    folder = federation.coordinator.home / "runs" / run_id / "growth"
    written: dict[str, float] = {}
    while (run := federation.show(run_id))["state"] in {"starting", "running", "waiting"}:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            _look(folder, written)
            time.sleep(_PAUSE)
    if run["state"] != "done":
        raise RuntimeError(f"the run ended as {run['state']}: {run['detail']}")
    pairs = [(f"{number:06d}-{_LAST - 1}.sum", f"{number:06d}-{_LAST}.sum") for number in range(1, rounds + 1)]
    return [written[last] - written[before] for before, last in pairs if {before, last} <= written.keys()]


def _look(folder: Path, written: dict[str, float]) -> None:
    """Note when each sum was written: it is deleted with its round."""
    for path in folder.glob("*.sum"):
        try:
            written.setdefault(path.name, path.stat().st_mtime)
        except FileNotFoundError:
            continue
