"""``init``, ``run``, ``status``."""

from typing import Annotated

import typer

from jointrisk.commandline.options import Json, KeyDescriptor, NewKeyFile, home


def register(app: typer.Typer) -> None:
    """Add the commands to ``jointrisk coordinator``."""
    app.command()(init)
    app.command()(run)
    app.command()(status)


def init(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="The federation's name: small letters, digits, hyphens.")],
    address: Annotated[str, typer.Option(help="Where members connect, by mutual TLS.")] = "0.0.0.0:7443",
    join_address: Annotated[str, typer.Option(help="Where invited institutions join.")] = "0.0.0.0:7444",
    public_host: Annotated[
        str, typer.Option(help="Host name or address that members use.", show_default="this machine's name")
    ] = "",
    founding_members: Annotated[
        int, typer.Option(help="So many institutions found the federation.", min=1, max=100)
    ] = 3,
    approvals_required: Annotated[
        int, typer.Option(help="Members that must approve each later one.", min=1, max=100)
    ] = 2,
    new_master_key: NewKeyFile = None,
    master_key_fd: KeyDescriptor = None,
) -> None:
    """Make a state directory: settings file, certificate authority, identity key. Repeat it if it was interrupted."""
    from jointrisk.settings import toml_text
    from jointrisk_coordinator.initialising import initialise
    from jointrisk_coordinator.settings import TEMPLATE

    toml = TEMPLATE.format(
        name=toml_text(name),
        founding_members=founding_members,
        approvals_required=approvals_required,
        address=toml_text(address),
        join_address=toml_text(join_address),
        public_host=toml_text(public_host),
    )
    made = initialise(home(context), toml, descriptor=master_key_fd, new_key_file=new_master_key)
    typer.echo(f"Made {made.root}; its settings: {made.path('coordinator.toml')}")
    typer.echo(f"Next: jointrisk coordinator --home {made.root} run")


def run(context: typer.Context, master_key_fd: KeyDescriptor = None) -> None:
    """Run the coordinator's daemon until SIGTERM or Ctrl-C."""
    from jointrisk.commandline.options import existing_state, master_key
    from jointrisk_coordinator.daemon import run_daemon
    from jointrisk_coordinator.settings import load_settings

    state = existing_state(home(context), "coordinator")
    run_daemon(state, load_settings(state), master_key(state, master_key_fd))


def status(context: typer.Context, json: Json = False) -> None:
    """Say how the daemon is."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import as_dict, show_fields, show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    with daemon(home(context), "coordinator") as channel:
        answer = CoordinatorOperatorStub(channel).GetStatus(pb.GetCoordinatorStatusRequest())
    if json:
        show_json(answer)
        return
    show_fields({name.replace("_", " "): value for name, value in as_dict(answer).items()})
