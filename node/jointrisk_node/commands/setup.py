"""``init``, ``join``, ``run``, ``status``."""

from typing import Annotated

import typer

from jointrisk.commandline.options import Json, KeyDescriptor, NewKeyFile, home


def register(app: typer.Typer) -> None:
    """Add the commands to ``jointrisk node``."""
    app.command()(init)
    app.command()(join)
    app.command()(run)
    app.command()(status)


def init(
    context: typer.Context,
    source: Annotated[
        str, typer.Option(help="The loan book: a Parquet or CSV file or pattern, or postgresql://HOST/DATABASE.")
    ] = "loans.parquet",
    new_master_key: NewKeyFile = None,
    master_key_fd: KeyDescriptor = None,
) -> None:
    """Make a state directory with a settings file. Repeat it if it was interrupted."""
    from jointrisk_node.initialising import initialise

    made = initialise(home(context), source, descriptor=master_key_fd, new_key_file=new_master_key)
    typer.echo(f"Made {made.root}; its settings: {made.path('node.toml')}")
    typer.echo(f"Next: jointrisk node --home {made.root} join TOKEN")


def join(
    context: typer.Context,
    token: Annotated[str, typer.Argument(help="What the coordinator's people gave you.")],
    address: Annotated[str, typer.Option(help="Where other members reach this node, if it shall be a holder.")] = "",
    wait: Annotated[bool, typer.Option(help="Stay until the approvals are there.")] = True,
    master_key_fd: KeyDescriptor = None,
) -> None:
    """Become a member. Repeat it with the same token if it was interrupted; it waits while approvals are missing."""
    from jointrisk.commandline.options import existing_state, master_key
    from jointrisk_node.initialising import join_federation

    state = existing_state(home(context), "node")
    member_id = join_federation(
        state, master_key(state, master_key_fd), token, address=address, wait=wait, say=typer.echo
    )
    typer.echo(f"This node is {member_id}. Next: jointrisk node --home {state.root} run")


def run(context: typer.Context, master_key_fd: KeyDescriptor = None) -> None:
    """Run the node's daemon until SIGTERM or Ctrl-C."""
    from jointrisk.commandline.options import existing_state, master_key
    from jointrisk_node.daemon import run_daemon
    from jointrisk_node.settings import load_settings

    state = existing_state(home(context), "node")
    run_daemon(state, load_settings(state), master_key(state, master_key_fd))


def status(context: typer.Context, json: Json = False) -> None:
    """Say how the daemon is, and what it waits for."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import as_dict, show_fields, show_json
    from jointrisk.rpc.v1 import node_operator_pb2 as pb
    from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorStub

    with daemon(home(context), "node") as channel:
        answer = NodeOperatorStub(channel).GetStatus(pb.GetNodeStatusRequest())
    if json:
        show_json(answer)
        return
    show_fields({name.replace("_", " "): value for name, value in as_dict(answer).items()})
