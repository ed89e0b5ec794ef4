"""What secure sums change about the model: the area under the curve on the common test, beside plain sums.

Five lenders of unlike books, the round loop and the members in one process: everything of a run but processes and the
wire (`rounds_in_one_process`), the same seeds in both.
"""

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import tree_study
from benchmarks.federation_rounds import scratch_folder
from benchmarks.report import Measure
from jointrisk.federation.contract import FeatureContract, contract_from_payload
from jointrisk.learning.flower import values
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.scoring import NetworkScorer, Scorer, networks_of
from jointrisk.learning.tasks import MemberData
from jointrisk_coordinator.runs.settings import RunSettings
from rounds_in_one_process import OneProcess

_SEEDS = (1, 2, 3)


def measure_auc(*, quick: bool) -> list[Measure]:
    """Measure the mean change over three seeds; with quick nothing, as it takes six whole trainings."""
    if quick:
        return []
    changes = [area(seed, secure=True) - area(seed, secure=False) for seed in _SEEDS]
    return [Measure("auc_change_gmsc", abs(fmean(changes)), "AUC, magnitude", 0.0005)]


def area(seed: int, *, secure: bool, rounds: int | None = None) -> float:
    """Train with five lenders and return the area under the curve of the best round's model.

    Args:
        seed: the run's.
        secure: whether the coordinator sees sums only.
        rounds: the default where it is not given.
    """
    books, test = tree_study.gmsc()
    contract = contract_from_payload(tree_study.contract().model_copy(update={"version": 1}).payload())
    data = {f"lender-{place}": MemberData(book.features, book.labels) for place, book in enumerate(books, start=1)}
    mode: dict[str, Any] = {"aggregation": "secure" if secure else "plain", "run_seed": seed, "quorum": len(data)}
    mode |= {"task_settings": {"architecture": "mlp", "refit": False, "label_shift": "off"}}
    settings = RunSettings.model_validate(mode | ({} if rounds is None else {"rounds": rounds}))
    with scratch_folder() as folder:
        kept = _trained(folder, settings, contract, data, secure=secure)
    return tree_study.auc(kept.log_odds(test.features), test.labels)


def _trained(
    folder: Path,
    settings: RunSettings,
    contract: FeatureContract,
    data: dict[str, MemberData],
    *,
    secure: bool,
) -> Scorer:
    run = OneProcess(folder, settings, members=tuple(data), contract=contract, books=data, secure=secure)
    last = run.loop.run(run.beginning())
    arrays = {name: values(array).astype(np.float32) for name, array in last.done["mlp"].arrays.items()}
    return NetworkScorer(Prepared.from_payload(last.prepared).encoding, networks_of(arrays), "log odds")
