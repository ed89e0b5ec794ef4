"""What the study says: tables on the terminal, `lab.json`, and a page with a plot that needs nothing else."""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

import typer

from jointrisk.commandline.output import show_table
from jointrisk_lab.study import Result

_OWN = ("alone", "shared", "personalised")
_COLOURS = {"alone": "#c2682b", "shared": "#1f5fa8", "personalised": "#2e7d4f"}
_STYLE = "body{font:15px sans-serif;margin:2em auto;max-width:60em}td,th{padding:.2em 1em;text-align:right}"
_NOTE = (
    "Areas under the ROC curve on rows that nothing was fitted to or chosen by. Which shared model stands beside own "
    "books is decided by validation rows."
)
_ROW, _LEFT, _WIDTH = 26, 190, 560


def show(result: Result) -> None:
    """Print the tables."""
    mean = result.mean
    typer.echo(f"Common test, AUC (standard error about {mean['common_se']:.4f}, {mean['test_rows']} rows):")
    show_table(("model", "AUC"), _common_rows(mean), empty="")
    typer.echo("Own books, AUC (se: of personalised less alone, DeLong):")
    show_table(("lender", "rows", *_OWN, "gain", "se"), _own_rows(mean), empty="")


def write(result: Result, folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.as_json(), indent=2, ensure_ascii=False)
    (folder / "lab.json").write_text(text + "\n", encoding="utf-8")
    (folder / "lab.html").write_text(_page(result), encoding="utf-8")


def _common_rows(mean: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in mean["common"].items():
        yield f"shared, {name}", f"{value:.4f}"
    yield "LightGBM, all rows in one place", f"{mean['pooled_lightgbm']:.4f}"
    yield "alone, mean of lenders", f"{fmean(mean['alone'].values()):.4f}"


def _own_rows(mean: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for one in mean["own"]:
        gain = one["personalised"] - one["alone"]
        figures = (f"{one[name]:.4f}" for name in _OWN)
        yield (one["lender"], str(one["rows"]), *figures, f"{gain:+.4f}", f"{one['se']:.4f}")


def _page(result: Result) -> str:
    mean = result.mean
    parts = [
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>jointrisk lab</title>',
        f"<style>{_STYLE}</style><h1>What a shared model would bring</h1>",
        f"<p>Mean of {len(result.seeds)} split(s). {_NOTE}</p>",
        f"<h2>Common test</h2><p>{mean['test_rows']} rows, standard error about {mean['common_se']:.4f}.</p>",
        _table(("model", "AUC"), _common_rows(mean)),
        "<h2>Own books</h2>",
        _plot(mean["own"]),
        _table(("lender", "rows", *_OWN, "gain", "se of the gain"), _own_rows(mean)),
    ]
    return "\n".join(parts) + "\n</html>\n"


def _table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _plot(own: list[dict[str, Any]]) -> str:
    """Draw a line for each lender with its three areas."""
    every = [one[name] for one in own for name in _OWN]
    low, high = min(every) - 0.01, max(every) + 0.01
    height = _ROW * (len(own) + 2)
    drawn = [f'<svg width="{_LEFT + _WIDTH + 60}" height="{height}" font-size="13">']
    for place, name in enumerate(_OWN):
        x = _LEFT + 130 * place
        drawn.append(f'<circle cx="{x}" cy="12" r="5" fill="{_COLOURS[name]}"/><text x="{x + 10}" y="17">{name}</text>')
    for place, one in enumerate(own, start=1):
        y = _ROW * place + 16
        drawn.append(f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(one["lender"][:24])}</text>')
        drawn.append(f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        for name in _OWN:
            x = _LEFT + _WIDTH * (one[name] - low) / (high - low)
            drawn.append(
                f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{_COLOURS[name]}"><title>{one[name]:.4f}</title></circle>'
            )
    y = height - 4
    drawn.append(f'<text x="{_LEFT}" y="{y}">{low:.3f}</text>')
    drawn.append(f'<text x="{_LEFT + _WIDTH}" y="{y}" text-anchor="end">{high:.3f}</text></svg>')
    return "".join(drawn)
