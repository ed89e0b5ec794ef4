"""The one form of every suite's results, as JSON for machines and as a table for people."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured figure.

    Args:
        name: what was measured, the same from commit to commit.
        value: the figure, in ``unit``.
        unit: "s", "MB", "bytes", "ratio", ...
        goal: the figure to reach; None where there is none.
        better: which direction is better.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    better: Literal["lower", "higher"] = "lower"

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
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")
        return path

    def show(self, console: Console) -> None:
        """Print the measures as a table."""
        table = Table("measure", "value", "unit", "goal", "", title=f"{self.suite} at {self.commit}")
        for measure in self.measures:
            table.add_row(measure.name, figure(measure.value), measure.unit, _goal(measure), _verdict(measure))
        console.print(table)


def missed(measures: Iterable[Measure]) -> list[str]:
    """Return the names of the measures that have a goal and don't reach it."""
    return [measure.name for measure in measures if measure.met is False]


def figure(value: float) -> str:
    """Return the figure with as many digits as people read."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _goal(measure: Measure) -> str:
    if measure.goal is None:
        return ""
    return f"{'<=' if measure.better == 'lower' else '>='} {figure(measure.goal)}"


def _verdict(measure: Measure) -> str:
    return {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[measure.met]
