"""A process that is killed while it synchronises: what was acknowledged stays, what comes next goes on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jointrisk.errors import UnavailableError
from replica_log import EPOCH, DeskAtTest
from replica_log_of_kills import SIZE, log_of_kills

TESTS = Path(__file__).parents[1]
PROCESS = TESTS / "replica_syncing_process.py"


def synchronising(folder: Path) -> subprocess.Popen[str]:
    """Start a process that synchronises."""
    paths = os.pathsep.join((str(TESTS), str(TESTS.parent / "tools")))
    return subprocess.Popen(
        [sys.executable, str(PROCESS), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def killed(folder: Path, after: float) -> int:
    """Kill such a process some time after its files are there; return the last step that it acknowledged."""
    with synchronising(folder) as process:
        data = folder / "replica" / str(EPOCH) / "1" / "data.mdb"
        while not data.exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(after)
        process.kill()
        told = process.communicate()[0].split()
    return int(told[-1]) if told else 0


def found(at_test: DeskAtTest) -> tuple[int, int, int]:
    """Return how many entries are found: of those that end, of those that stay, of those that are new."""
    ends = sum(at_test.found(str(number)) == [number] for number in range(0, SIZE, 2))
    stays = sum(at_test.found(str(number)) == [number] for number in range(1, SIZE, 2))
    return ends, stays, sum(at_test.found(f"new {number}") != [] for number in range(SIZE))


async def test_a_killed_synchronisation_shows_one_head_or_the_next(tmp_path: Path) -> None:
    """Never less than what was acknowledged, and after the next synchronisation everything."""
    folder = tmp_path / "node"
    acknowledged = 0
    for after in (0.0, 0.05, 0.15, 0.3):
        acknowledged = max(acknowledged, killed(folder, after))
        at_test = DeskAtTest(folder, log_of_kills(2))
        shown = 0
        try:
            counts = found(at_test)
            shown = {(SIZE // 2, SIZE // 2, 0): 1, (0, SIZE // 2, SIZE): 2}[counts]
            at_test.desk.verify(EPOCH)
        except UnavailableError:
            pass
        assert shown >= acknowledged
        acknowledged = shown
        at_test.desk.close()
    at_test = DeskAtTest(folder, log_of_kills(2))
    await at_test.desk.refresh()
    assert found(at_test) == (0, SIZE // 2, SIZE)
    assert at_test.desk.verify(EPOCH).live == SIZE // 2 + SIZE


def test_the_process_of_the_kills_ends_by_itself(tmp_path: Path) -> None:
    """Otherwise the kills above would show nothing."""
    process = synchronising(tmp_path / "node")
    assert process.communicate(timeout=60)[0].splitlines() == ["synchronised 1", "synchronised 2"]


@pytest.mark.parametrize("step", [1, 2])
async def test_the_log_of_the_kills_is_sound(tmp_path: Path, step: int) -> None:
    """At both heads."""
    at_test = DeskAtTest(tmp_path / "node", log_of_kills(step))
    await at_test.desk.refresh()
    assert found(at_test) == {1: (SIZE // 2, SIZE // 2, 0), 2: (0, SIZE // 2, SIZE)}[step]
