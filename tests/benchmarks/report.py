"""The one form of every suite's results, as JSON for machines and as a table for people."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured figure.

    Args:
        name: what was measured, the same from commit to commit.
        value: the figure, in ``unit``.
        unit: "s", "MB", "bytes", "ratio", ...
        goal: the figure to reach; None where there is none.
        better: which direction is better.
        spread: standard deviation over repetitions; None where there are none.
        note: what a reader needs beside the figure.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    better: Literal["lower", "higher"] = "lower"
    spread: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal


@dataclass(frozen=True, slots=True)
class Report:
    """What one suite measured, where, and on which commit."""

    suite: str
    commit: str
    machine: Mapping[str, str | int | float]
    measures: tuple[Measure, ...]

    def write(self, folder: Path) -> Path:
        """Write ``folder/SUITE.json`` and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.suite}.json"
        written = asdict(self) | {"measures": [_written(measure) for measure in self.measures]}
        path.write_text(json.dumps(written, indent=2) + "\n")
        return path

    def show(self, console: Console) -> None:
        """Print the measures as a table."""
        noted = any(measure.note for measure in self.measures)
        # A name is never cut off: it is looked for.
        columns: tuple[Column | str, ...]
        columns = (Column("measure", overflow="fold"), "value", "unit", "goal", "", *(["note"] if noted else []))
        table = Table(*columns, title=f"{self.suite} at {self.commit}")
        for measure in self.measures:
            cells = (measure.name, _value(measure), measure.unit, _goal(measure), _verdict(measure))
            # A note can hold anything, and is no markup.
            table.add_row(*cells, *([escape(measure.note)] if noted else []))
        console.print(table)


def missed(measures: Iterable[Measure]) -> list[str]:
    """Return the names of the measures that have a goal and don't reach it."""
    return [measure.name for measure in measures if measure.met is False]


def figure(value: float, unit: str = "") -> str:
    """Return the figure with as many digits as people read; an area under the curve with four places."""
    if unit.startswith("AUC"):
        return f"{value:.4f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _written(measure: Measure) -> dict[str, object]:
    """Return a measure as JSON has it: spread and note only where there are such."""
    written = asdict(measure)
    return {key: value for key, value in written.items() if key not in {"spread", "note"} or value not in {None, ""}}


def _value(measure: Measure) -> str:
    spread = "" if measure.spread is None else f" ±{figure(measure.spread, measure.unit)}"
    return figure(measure.value, measure.unit) + spread


def _goal(measure: Measure) -> str:
    if measure.goal is None:
        return ""
    return f"{'<=' if measure.better == 'lower' else '>='} {figure(measure.goal, measure.unit)}"


def _verdict(measure: Measure) -> str:
    return {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[measure.met]
