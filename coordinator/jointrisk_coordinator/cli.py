"""``jointrisk coordinator``: the commands of the people who run the federation."""

from pathlib import Path
from typing import Annotated

import click
import typer

from jointrisk.commandline.options import default_home
from jointrisk_coordinator.commands import audit, ceremony, contract, listings, members, models, runs, setup

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback()
def coordinator(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="State directory.", envvar="JOINTRISK_COORDINATOR_HOME", show_default="per user"),
    ] = None,
) -> None:
    """Run a federation: membership, feature contract, training runs, models."""
    context.obj = home or default_home("coordinator")


setup.register(app)
members.register(app)
app.add_typer(contract.app, name="contract")
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(ceremony.app, name="ceremony")
app.add_typer(listings.app, name="listings")
app.add_typer(audit.app, name="audit")


def command() -> click.Command:
    """Return the click command, for the top-level group."""
    return typer.main.get_command(app)
