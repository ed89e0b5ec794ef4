"""``holder status``."""

from typing import TYPE_CHECKING

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk.rpc.v1.holder_operator_pb2 import HolderStatus

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Answering other members with this node's share.")


@app.callback()
def holder() -> None:
    """Answering other members with this node's share."""


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show with which shares this node answers, and what members have used of their quotas."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import holder_operator_pb2 as pb
    from jointrisk.rpc.v1.holder_operator_pb2_grpc import NodeHolderOperatorStub

    with daemon(home(context), "node") as channel:
        found = NodeHolderOperatorStub(channel).GetHolder(pb.GetHolderRequest())
    if json:
        show_json(found)
        return
    typer.echo(f"Listens at {found.address or '-'}; {found.batches_waiting} batches wait")
    _show_generations(found)
    _show_members(found)


def _show_generations(found: "HolderStatus") -> None:
    from jointrisk.commandline.output import show_table

    show_table(
        ("generation", "epoch", "holders"),
        ((one.generation, one.epoch, f"{one.threshold} of {', '.join(one.holders)}") for one in found.generations),
        empty="This node holds no share.",
    )


def _show_members(found: "HolderStatus") -> None:
    from jointrisk.commandline.output import show_table

    show_table(
        ("member", "epoch", "evaluations", "published", "listed", "left of the epoch", "left now"),
        (
            (
                one.member_id,
                one.epoch,
                one.charged,
                one.published,
                one.tags_seen,
                f"{one.epoch_left} of {one.epoch_ceiling}",
                ", ".join(f"{each.purpose} {each.left} of {each.capacity} in {each.days} d" for each in one.purposes),
            )
            for one in found.members
        ),
        empty="No member has asked yet.",
    )
