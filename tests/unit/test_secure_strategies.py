"""Flower's strategies over secure sums: what they make of masked updates is what they make of plain ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointrisk.learning.checkpoint import Checkpoint
from jointrisk.learning.flower import values
from jointrisk_coordinator.runs.settings import RunSettings
from rounds_in_one_process import OneProcess
from three_books import BOOKS, CONTRACT, LENDERS

SMALL = {"hidden": 8, "networks": 1, "steps": 5, "bins": 8, "refit": False, "label_shift": "off"}


def run(folder: Path, strategy: str, settings: dict[str, Any], *, secure: bool) -> Checkpoint:
    """Return the end of two rounds of three lenders."""
    asked = {"task_settings": SMALL, "rounds": 2, "strategy": strategy, "strategy_settings": settings}
    chosen = RunSettings.model_validate(asked)
    course = OneProcess(folder, chosen, members=LENDERS, contract=CONTRACT, books=BOOKS, secure=secure)
    return course.loop.run(course.beginning())


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [("fedavg", {}), ("fedprox", {"proximal_mu": 0.1}), ("fedadam", {"eta": 0.01, "tau": 0.001})],
)
def test_a_strategy_makes_the_same_of_secure_sums(tmp_path: Path, strategy: str, settings: dict[str, Any]) -> None:
    """To the fixed point's step; it has moved the arrays, weighted by rows that nobody told; FedAdam by its moments."""
    plain = run(tmp_path / "plain", strategy, settings, secure=False)
    secure = run(tmp_path / "secure", strategy, settings, secure=True)
    for name, array in plain.arrays.items():
        assert np.abs(np.subtract(values(array), values(secure.arrays[name]), dtype=np.float64)).max() < 1e-4
    assert secure.metrics["log_loss"] == pytest.approx(plain.metrics["log_loss"], abs=1e-5)
    assert secure.arrays_sha256 != plain.arrays_sha256
    assert bool(secure.strategy) == (strategy == "fedadam")
