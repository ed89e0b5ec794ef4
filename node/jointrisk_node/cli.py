"""``jointrisk node``: the commands of a member institution's engineers and risk team."""

from pathlib import Path
from typing import Annotated

import click
import typer

from jointrisk.commandline.options import default_home
from jointrisk_node.commands import (
    access,
    audit,
    ceremony,
    data,
    doctor,
    holder,
    listings,
    members,
    models,
    score,
    setup,
    signals,
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


@app.callback()
def node(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="State directory.", envvar="JOINTRISK_NODE_HOME", show_default="per user"),
    ] = None,
) -> None:
    """Run a member institution's node: join, check the data, take part in training, score."""
    context.obj = home or default_home("node")


setup.register(app)
doctor.register(app)
ceremony.register(app)
members.register(app)
score.register(app)
app.add_typer(members.app, name="members")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(ceremony.app, name="ceremony")
app.add_typer(holder.app, name="holder")
app.add_typer(listings.app, name="listings")
app.add_typer(signals.app, name="signals")
app.add_typer(access.app, name="access")
app.add_typer(audit.app, name="audit")


def command() -> click.Command:
    """Return the click command, for the top-level group."""
    return typer.main.get_command(app)
