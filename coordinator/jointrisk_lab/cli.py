"""``jointrisk lab``."""

from pathlib import Path
from typing import Annotated

import click
import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def lab(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Loans: .parquet, .csv or .csv.gz.")],
    label: Annotated[str, typer.Option(help="The label column: 1 for bad loans, 0 for good ones.")],
    lender: Annotated[
        str | None, typer.Option(help="The column that says whose loan it is.", show_default="each file is a lender")
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(help="A feature contract, TOML.", show_default="drafted from the training rows")
    ] = None,
    drop: Annotated[str, typer.Option(metavar="COLUMNS", help="Columns to leave out, separated by commas.")] = "",
    arch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An architecture; can be repeated.", show_default="all of them"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="How many times, each with another split.")] = 1,
    rounds: Annotated[int, typer.Option(min=0, max=1000, help="Rounds of a run; 0: what a run usually takes.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write lab.json and lab.html to this folder.", show_default="only the table")
    ] = None,
) -> None:
    """Show what a shared model would bring to each lender of these tables. Everything stays on this machine."""
    from jointrisk_lab.reading import Wanted
    from jointrisk_lab.report import show, write
    from jointrisk_lab.study import study

    dropped = frozenset(name.strip() for name in drop.split(",") if name.strip())
    wanted = Wanted(tuple(files), label, lender, dropped, contract)
    result = study(wanted, arch or [], range(1, seeds + 1), rounds or None, say=_say)
    show(result)
    if out is not None:
        write(result, out)
        typer.echo(f"Written to {out}: lab.json, lab.html")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def command() -> click.Command:
    """Return the click command, for the top-level group."""
    return typer.main.get_command(app)
