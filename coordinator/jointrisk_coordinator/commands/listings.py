"""``listings status | release | remove-member``."""

from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk.rpc.v1.listing_operator_pb2 import ListingLogs

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Logs of sealed listings: what members publish, and nobody here can open.",
)


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show how the log of every epoch stands, and when what waits is released."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import listing_operator_pb2 as pb
    from jointrisk.rpc.v1.listing_operator_pb2_grpc import ListingOperatorStub

    with daemon(home(context), "coordinator") as channel:
        found = ListingOperatorStub(channel).GetListings(pb.GetListingsRequest())
    _show(found, json=json)


@app.command()
def release(context: typer.Context, json: Json = False) -> None:
    """Release what waits now. The fewer entries are shuffled together, the more their order tells."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import listing_operator_pb2 as pb
    from jointrisk.rpc.v1.listing_operator_pb2_grpc import ListingOperatorStub

    with daemon(home(context), "coordinator") as channel:
        found = ListingOperatorStub(channel).ReleaseListings(pb.ReleaseListingsRequest())
    _show(found, json=json)


@app.command("remove-member")
def remove_member(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A former member.", show_default=False)],
    json: Json = False,
) -> None:
    """Withdraw everything that a former member has listed. Otherwise it stays until it expires."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import listing_operator_pb2 as pb
    from jointrisk.rpc.v1.listing_operator_pb2_grpc import ListingOperatorStub

    request = pb.WithdrawMemberListingsRequest(member_id=name)
    with daemon(home(context), "coordinator") as channel:
        withdrawn = ListingOperatorStub(channel).WithdrawMemberListings(request)
    if json:
        show_json(withdrawn)
        return
    typer.echo(f"{withdrawn.entries} entries of {name} are withdrawn; readers see it with the next release.")


def _show(found: "ListingLogs", *, json: bool) -> None:
    from jointrisk.commandline.output import show_json, show_table

    if json:
        show_json(found)
        return
    show_table(
        ("epoch", "size", "live", "held", "pending", "marks", "listers", "head signed", "next release", "served until"),
        (
            (
                log.epoch,
                log.size,
                log.live,
                log.held,
                log.pending,
                log.pending_marks,
                log.listers,
                log.head_signed_at,
                log.next_release_at or "at once",
                log.served_until,
            )
            for log in found.logs
        ),
        empty="No log yet: the first key ceremony opens one.",
    )
