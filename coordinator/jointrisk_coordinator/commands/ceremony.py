"""``ceremony start | refresh | reshare | rotate | status | abort``."""

from typing import Annotated

import typer

from jointrisk.commandline.options import Json, home

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Key ceremonies: members make, renew and pass on the shares of the key that no one of them has.",
)
Holders = Annotated[
    str, typer.Option(help="Who shall hold a share: members, separated by commas.", metavar="A,B,C", show_default=False)
]
Threshold = Annotated[int, typer.Option(help="How many holders it takes to evaluate.", min=2, max=9)]
Dealers = Annotated[
    str,
    typer.Option(
        help="Which of today's holders deal: as many as the present threshold.",
        metavar="A,B",
        show_default="those who are online",
    ),
]


@app.command()
def start(context: typer.Context, threshold: Threshold, holders: Holders, json: Json = False) -> None:
    """Propose the first key. It is made as soon as every holder's people have approved the terms."""
    _propose(context, "start", json, threshold=threshold, holders=holders)


@app.command()
def refresh(context: typer.Context, dealers: Dealers = "", json: Json = False) -> None:
    """Propose new shares of the same key for the same holders; stolen old ones are worth nothing afterwards."""
    _propose(context, "refresh", json, dealers=dealers)


@app.command()
def reshare(
    context: typer.Context, threshold: Threshold, holders: Holders, dealers: Dealers = "", json: Json = False
) -> None:
    """Propose that other holders, or another number of them, get shares of the same key."""
    _propose(context, "reshare", json, threshold=threshold, holders=holders, dealers=dealers)


@app.command()
def rotate(
    context: typer.Context,
    threshold: Annotated[int, typer.Option(help="How many holders it takes.", show_default="as now")] = 0,
    holders: Annotated[str, typer.Option(help="Who shall hold it.", metavar="A,B,C", show_default="as now")] = "",
    json: Json = False,
) -> None:
    """Propose another key for a new epoch."""
    _propose(context, "rotate", json, threshold=threshold, holders=holders)


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show the ceremony that goes on, or was the last."""
    from jointrisk.commandline.ceremony import show_ceremony
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
    from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import CeremonyOperatorStub

    with daemon(home(context), "coordinator") as channel:
        found = CeremonyOperatorStub(channel).GetCeremony(pb.GetCeremonyRequest())
    show_ceremony(found, json=json)


@app.command()
def abort(context: typer.Context, json: Json = False) -> None:
    """Ask the parties to give up. A party that has agreed to the outcome already stays bound by it."""
    from jointrisk.commandline.ceremony import show_ceremony
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
    from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import CeremonyOperatorStub

    with daemon(home(context), "coordinator") as channel:
        found = CeremonyOperatorStub(channel).AbortCeremony(pb.AbortCeremonyRequest())
    show_ceremony(found, json=json)


def _propose(
    context: typer.Context, what: str, json: bool, *, threshold: int = 0, holders: str = "", dealers: str = ""
) -> None:
    from jointrisk.commandline.ceremony import show_ceremony
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import ceremony_operator_pb2 as pb
    from jointrisk.rpc.v1.ceremony_operator_pb2_grpc import CeremonyOperatorStub

    request = pb.StartCeremonyRequest(what=what, threshold=threshold, holders=_names(holders), dealers=_names(dealers))
    with daemon(home(context), "coordinator") as channel:
        proposed = CeremonyOperatorStub(channel).StartCeremony(request)
    show_ceremony(proposed, json=json)
    if not json:
        typer.echo("\nEach of them: jointrisk node approve " + proposed.ceremony_id[:8])


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
