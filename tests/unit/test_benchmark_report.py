"""The form that every benchmark suite writes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from benchmarks.process_tree import free_ports, running
from benchmarks.report import Measure, Report, missed

MEASURES = (
    Measure("round_seconds", 0.1, "s", goal=0.15),
    Measure("rows_per_s", 90_000.0, "1/s", goal=100_000.0, better="higher"),
    Measure("ready_seconds", 3.0, "s"),
)


def report() -> Report:
    """Return a report with a goal met, a goal missed and no goal."""
    return Report("training", "abc", {"cores": 2}, MEASURES)


def test_json_has_the_agreed_form(tmp_path: Path) -> None:
    """The file is named after the suite and has exactly the agreed keys."""
    path = report().write(tmp_path / "bench")
    written = json.loads(path.read_text())
    assert path.name == "training.json"
    assert set(written) == {"suite", "commit", "machine", "measures"}
    assert all(set(measure) == {"name", "value", "unit", "goal", "better"} for measure in written["measures"])
    assert written["measures"][0]["goal"] == 0.15
    assert written["measures"][2]["goal"] is None


@pytest.mark.parametrize(
    ("value", "better", "met"),
    [(1.0, "lower", True), (1.01, "lower", False), (1.0, "higher", True), (0.99, "higher", False)],
)
def test_goal_is_met_in_its_own_direction(value: float, better: str, met: bool) -> None:
    """A goal of 1 is reached from below or from above, as the measure says."""
    assert Measure("m", value, "s", goal=1.0, better="lower" if better == "lower" else "higher").met is met


def test_table_says_which_goals_are_missed() -> None:
    """The terminal shows met and missed, and the list of the missed holds only those."""
    out = io.StringIO()
    report().show(Console(file=out, width=120))
    assert "missed" in out.getvalue()
    assert missed(MEASURES) == ["rows_per_s"]


def test_spread_and_note_stand_where_there_are_such(tmp_path: Path) -> None:
    """In JSON as keys of their own, in the table beside the figure; an area has four places; a note is no markup."""
    noted = Measure("auc_gmsc", 0.86041, "AUC", goal=0.86, better="higher", spread=0.0012, note="[red]elm, 90 rows")
    made = Report("models", "abc", {}, (noted, MEASURES[0]))
    first, second = json.loads(made.write(tmp_path).read_text())["measures"]
    assert (first["spread"], first["note"]) == (0.0012, "[red]elm, 90 rows")
    assert second.keys().isdisjoint({"spread", "note"})
    out = io.StringIO()
    made.show(Console(file=out, width=200))
    assert "0.8604 ±0.0012" in out.getvalue()
    assert "[red]elm, 90 rows" in out.getvalue()


def test_children_of_a_program_end_with_it(tmp_path: Path) -> None:
    """A grandchild in a session of its own is gone after the block."""
    code = (
        "import subprocess, sys, time, pathlib;"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True);"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); time.sleep(60)"
    )
    note = tmp_path / "pid"
    with running([sys.executable, "-c", code, str(note)], tmp_path / "log", {"PATH": "/usr/bin:/bin"}) as started:
        while not (note.exists() and note.read_text()):
            assert started.poll() is None
    pid = int(note.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_free_ports_are_distinct() -> None:
    """Every port is another."""
    assert len(set(free_ports(20))) == 20


def test_unknown_suite_is_refused() -> None:
    """A suite that does not exist is named, with those that do."""
    command = [sys.executable, "-m", "benchmarks", "nonsense"]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'tests'}{os.pathsep}{root / 'tools'}"}
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert made.returncode == 2
    assert "nonsense" in made.stderr
    assert "training" in made.stderr
