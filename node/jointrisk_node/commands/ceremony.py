"""``approve``, and ``ceremony status | generations``."""

from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk.rpc.v1.ceremony_operator_pb2 import NodeCeremony

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Key ceremonies, and what they made.")


def register(app: typer.Typer) -> None:
    """Add the command that stands directly under ``jointrisk node``."""
    app.command()(approve)


def approve(
    context: typer.Context,
    ceremony: Annotated[str, typer.Argument(help="The ceremony's id, or the beginning of it.")],
    terms: Annotated[
        str | None,
        typer.Option("--terms", help="The fingerprint of the terms that you have read, instead of being asked."),
    ] = None,
    json: Json = False,
) -> None:
    """Approve a key ceremony, after reading its terms: who shall hold a share, and how many of them it takes."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
    from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import NodeCeremonyOperatorStub

    with daemon(home(context), "node") as channel:
        stub = NodeCeremonyOperatorStub(channel)
        read = terms or _read(stub.GetCeremony(pb.GetCeremonyRequest()), ceremony)
        answer = stub.ApproveCeremony(pb.ApproveNodeCeremonyRequest(ceremony_id=ceremony, terms_fingerprint=read))
    _show(answer, json=json)


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show the ceremony that goes on, or was the last, and what this node has decided about it."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
    from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import NodeCeremonyOperatorStub

    with daemon(home(context), "node") as channel:
        _show(NodeCeremonyOperatorStub(channel).GetCeremony(pb.GetCeremonyRequest()), json=json)


@app.command()
def generations(context: typer.Context, json: Json = False) -> None:
    """List the generations of key shares that this node has verified, and what it has of each."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
    from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import NodeCeremonyOperatorStub

    with daemon(home(context), "node") as channel:
        listed = NodeCeremonyOperatorStub(channel).ListGenerations(pb.ListNodeGenerationsRequest())
    if json:
        show_json(listed)
        return
    show_table(
        ("generation", "epoch", "holders", "group key", "this node"),
        (
            (one.generation, one.epoch, f"{one.threshold} of {', '.join(one.holders)}", one.group_key, one.ours)
            for one in listed.generations
        ),
        empty="No generation yet. The coordinator's operator proposes a key ceremony.",
    )


def _show(answer: "NodeCeremony", *, json: bool) -> None:
    from jointrisk.commandline.ceremony import show_ceremony
    from jointrisk.commandline.output import show_json

    if json:
        show_json(answer)
        return
    show_ceremony(answer.status, json=False)
    typer.echo(f"This node: {answer.ours}")


def _read(found: "NodeCeremony", ceremony: str) -> str:
    """Show the terms and have a person say that they are right.

    Raises:
        InvalidInputError: nobody can be asked.
        NotFoundError: it is not the newest ceremony.
    """
    import sys

    from jointrisk.commandline.ceremony import show_ceremony
    from jointrisk.errors import InvalidInputError, NotFoundError

    if not found.status.ceremony_id.startswith(ceremony.lower()):
        raise NotFoundError("there is no such ceremony", remedy="`jointrisk node ceremony status` shows the newest.")
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "a person has to read the terms, and there is no terminal",
            remedy="Give the fingerprint of the terms that were read with --terms.",
        )
    show_ceremony(found.status, json=False)
    typer.confirm("Do the other holders' people read the same terms, and do you agree to them?", abort=True)
    return found.status.terms_fingerprint
