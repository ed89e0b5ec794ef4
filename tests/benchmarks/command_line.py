"""How fast the command line answers."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import Measure


def measure_help(*, quick: bool) -> list[Measure]:
    """Measure ``jointrisk --help``: median of several starts, after one that warms the file cache."""
    command = [str(Path(sys.executable).parent / "jointrisk"), "--help"]
    seconds = [_seconds(command) for _ in range(6 if quick else 16)][1:]
    return [Measure("help_seconds", statistics.median(seconds), "s", goal=0.3)]


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=30)
    return time.perf_counter() - begin
