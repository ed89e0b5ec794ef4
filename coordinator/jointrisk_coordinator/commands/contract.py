"""``contract draft | publish | list``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk_coordinator.contracts import Draft

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The feature contract that all members keep.")


@app.command()
def draft(
    sample: Annotated[
        Path, typer.Argument(metavar="FILE", help="A sample of labelled loans: .parquet, .csv or .csv.gz.")
    ],
    label: Annotated[
        str | None, typer.Option(help="The label column, 1 for bad loans.", show_default="guessed by its name")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the draft to this new file.", show_default="standard output")
    ] = None,
) -> None:
    """Propose a contract from a sample file, for people to finish. Works without the daemon."""
    from jointrisk_coordinator.contracts import draft as propose

    drafted = propose(sample, label)
    if out is None:
        typer.echo(drafted.toml(), nl=False)
    else:
        _write_new(out, drafted.toml())
    typer.echo(_summary(drafted), err=True)


@app.command()
def publish(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The finished contract, TOML.")
    ],
    json: Json = False,
) -> None:
    """Check, number, sign and publish a contract. The same terms once more are no new version."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    toml = _readable(file)
    with daemon(home(context), "coordinator") as channel:
        published = CoordinatorOperatorStub(channel).PublishContract(pb.PublishContractRequest(toml=toml))
    if json:
        show_json(published)
        return
    typer.echo(f"Version {published.version}: {published.features} features, label {published.label_column}")
    typer.echo(f"SHA-256 {published.digest}")


@app.command("list")
def list_contracts(context: typer.Context, json: Json = False) -> None:
    """List the published versions."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    with daemon(home(context), "coordinator") as channel:
        listed = CoordinatorOperatorStub(channel).ListContracts(pb.ListContractsRequest())
    if json:
        show_json(listed)
        return
    show_table(
        ("version", "published", "features", "label", "sha-256"),
        ((one.version, one.published_at, one.features, one.label_column, one.digest) for one in listed.contracts),
        empty="No contract yet. Make one with `jointrisk coordinator contract draft FILE`.",
    )


def _readable(file: Path) -> str:
    """Return the file's text when it is a contract: errors name the file, and need no daemon.

    Raises:
        InvalidInputError: it is none.
    """
    from jointrisk.errors import InvalidInputError
    from jointrisk.federation.contract import contract_from_toml

    try:
        toml = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{file} cannot be read: not UTF-8") from None
    contract_from_toml(toml, str(file))
    return toml


def _write_new(path: Path, text: str) -> None:
    """Write a file that must not be there: it may hold what a person has filled in.

    Raises:
        ConflictError: it is there.
        NotFoundError: its folder is not.
    """
    from jointrisk.errors import ConflictError, NotFoundError

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConflictError(f"{path} exists already", remedy="Name another file with --out.") from None
    except FileNotFoundError:
        raise NotFoundError(f"expected a folder {path.parent} for the draft, got none") from None


def _summary(drafted: "Draft") -> str:
    terms = drafted.contract
    left_out = f"; left out: {', '.join(drafted.left_out)}" if drafted.left_out else ""
    return (
        f"{len(terms.features)} features, label {terms.target.label_column}{left_out}\n"
        f"{len(terms.unconfirmed())} places to fill in and the lines marked CONFIRM to look at, "
        "then: jointrisk coordinator contract publish FILE"
    )
