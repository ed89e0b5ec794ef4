"""``models list | show``."""

from typing import Annotated

import typer

from jointrisk.commandline.options import Json, home

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Trained models, as they are published.")


@app.command("list")
def list_models(context: typer.Context, json: Json = False) -> None:
    """List the published models, the oldest first."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import model_pb2 as pb
    from jointrisk.rpc.v1.model_pb2_grpc import ModelServiceStub

    with daemon(home(context), "coordinator") as channel:
        listed = ModelServiceStub(channel).ListModels(pb.ListModelsRequest())
    if json:
        show_json(listed)
        return
    show_table(
        ("number", "model", "architecture", "contract", "auc", "published"),
        (
            (
                one.number,
                one.model_id,
                one.architecture,
                one.contract_version,
                f"{one.metrics['auc']:.4f}" if "auc" in one.metrics else "",
                one.published_at,
            )
            for one in listed.models
        ),
        empty="No model yet. A run makes one: `jointrisk coordinator runs start`.",
    )


@app.command()
def show(
    context: typer.Context,
    model_id: Annotated[str, typer.Argument(help="The model's name, or an unambiguous beginning of it.")],
    json: Json = False,
) -> None:
    """Show what a model's signed manifest says: contract, metrics, which run made it of whose data, privacy."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.manifest import show_manifest
    from jointrisk.rpc.v1 import model_pb2 as pb
    from jointrisk.rpc.v1.model_pb2_grpc import ModelServiceStub

    with daemon(home(context), "coordinator") as channel:
        described = ModelServiceStub(channel).DescribeModel(pb.DescribeModelRequest(model_id=model_id))
    show_manifest(described, json=json)
