"""``listings verify | sync | rebuild``: this node's copy of the federation's listings."""

from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from jointrisk.rpc.v1.replica_operator_pb2 import ReplicaReport


def register(app: typer.Typer) -> None:
    """Add the commands to ``listings``."""
    app.command()(verify)
    app.command()(sync)
    app.command()(rebuild)


def verify(context: typer.Context, json: Json = False) -> None:
    """Check every entry of this node's copy of the listings against the head that the coordinator signed."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import replica_operator_pb2 as pb
    from jointrisk.rpc.v1.replica_operator_pb2_grpc import ReplicaOperatorStub

    with daemon(home(context), "node") as channel:
        found = ReplicaOperatorStub(channel).VerifyReplicas(pb.VerifyReplicasRequest())
    if json:
        show_json(found)
        return
    show_table(
        ("epoch", "entries", "live", "head", "signed at"),
        ((one.epoch, one.size, one.live, one.head_hash, one.signed_at) for one in found.replicas),
        empty="No copy yet. The coordinator serves listings from the first key ceremony on.",
    )


def sync(context: typer.Context, json: Json = False) -> None:
    """Fetch what is new in the listings now, and show how this node's copy stands."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import replica_operator_pb2 as pb
    from jointrisk.rpc.v1.replica_operator_pb2_grpc import ReplicaOperatorStub

    with daemon(home(context), "node") as channel:
        report = ReplicaOperatorStub(channel).SyncReplicas(pb.SyncReplicasRequest())
    _show(report, json=json)


def rebuild(
    context: typer.Context,
    epoch: Annotated[int, typer.Option(min=0, help="Which epoch's; 0 for the newest.")] = 0,
    json: Json = False,
) -> None:
    """Fetch the whole log again, beside the copy that is read until then, and let it take that one's place."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.rpc.v1 import replica_operator_pb2 as pb
    from jointrisk.rpc.v1.replica_operator_pb2_grpc import ReplicaOperatorStub

    with daemon(home(context), "node") as channel:
        report = ReplicaOperatorStub(channel).RebuildReplica(pb.RebuildReplicaRequest(epoch=epoch))
    _show(report, json=json)


def _show(report: "ReplicaReport", *, json: bool) -> None:
    from jointrisk.commandline.output import show_json, show_table

    if json:
        show_json(report)
        return
    show_table(
        ("epoch", "entries", "live", "signed at", "age", "MB", "not served"),
        (
            (one.epoch, one.size, one.live, one.signed_at, f"{one.age_seconds} s", one.stored_megabytes, one.refusal)
            for one in report.replicas
        ),
        empty="No copy yet. The coordinator serves listings from the first key ceremony on.",
    )
    for fork in report.forks:
        typer.echo(
            f"ALARM: the coordinator signed two logs of epoch {fork.epoch} ({fork.reason}), shown by {fork.brought_by} "
            f"at {fork.found_at}. Evidence: {fork.evidence}",
            err=True,
        )
