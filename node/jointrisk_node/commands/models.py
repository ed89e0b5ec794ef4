"""``models list | show | activate | retire | personalise | export | points``."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, existing_state, home
from jointrisk_node.commands.personalise import personalise

if TYPE_CHECKING:
    from jointrisk.federation.contract import FeatureContract
    from jointrisk.learning.bundle import Bundle
    from jointrisk_node.settings import NodeSettings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Models that this node has verified.")
ModelId = Annotated[str, typer.Argument(help="The model's name, or an unambiguous beginning of it.")]
_COLUMNS = ("feature", "value", "points")


@app.command("list")
def list_models(context: typer.Context, json: Json = False) -> None:
    """List the models, after fetching what is new at the coordinator."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import as_dict, show_json, show_table
    from jointrisk.rpc.v1 import node_model_pb2 as pb
    from jointrisk.rpc.v1.node_model_pb2_grpc import NodeModelServiceStub

    with daemon(home(context), "node") as channel:
        listed = NodeModelServiceStub(channel).ListKept(pb.ListKeptRequest())
    personalised = [_is_personalised(home(context), one.model_id) for one in listed.models]
    if json:
        plain = as_dict(listed)
        for one, mark in zip(plain["models"], personalised, strict=True):
            one["personalised"] = mark
        show_json(plain)
        return
    show_table(
        ("model", "state", "architecture", "contract", "auc", "received", "changed"),
        (
            (
                one.model_id,
                f"{one.state}, personalised" if mark else one.state,
                one.architecture,
                one.contract_version,
                f"{one.metrics['auc']:.4f}" if "auc" in one.metrics else "",
                one.received_at,
                one.changed_at,
            )
            for one, mark in zip(listed.models, personalised, strict=True)
        ),
        empty="No model yet. A training run of the federation makes one.",
    )
    if listed.detail:
        typer.echo(listed.detail, err=True)


@app.command()
def show(context: typer.Context, model_id: ModelId, json: Json = False) -> None:
    """Show what a model's signed manifest says: contract, metrics, which run made it of whose data, privacy."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.manifest import show_manifest
    from jointrisk.rpc.v1.model_pb2 import DescribeModelRequest
    from jointrisk.rpc.v1.node_model_pb2_grpc import NodeModelServiceStub

    with daemon(home(context), "node") as channel:
        described = NodeModelServiceStub(channel).DescribeModel(DescribeModelRequest(model_id=model_id))
    mark = _is_personalised(home(context), described.model_id)
    show_manifest(described, json=json, personalised=mark)


@app.command()
def activate(context: typer.Context, model_id: ModelId, json: Json = False) -> None:
    """Score with this model from now on. The one that was active is kept."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import node_model_pb2 as pb
    from jointrisk.rpc.v1.node_model_pb2_grpc import NodeModelServiceStub

    with daemon(home(context), "node") as channel:
        model = NodeModelServiceStub(channel).Activate(pb.ActivateModelRequest(model_id=model_id))
    if json:
        show_json(model)
        return
    typer.echo(f"{model.model_id} is active")


@app.command()
def retire(context: typer.Context, model_id: ModelId, json: Json = False) -> None:
    """Score with this model no more, until it is activated again."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import node_model_pb2 as pb
    from jointrisk.rpc.v1.node_model_pb2_grpc import NodeModelServiceStub

    with daemon(home(context), "node") as channel:
        model = NodeModelServiceStub(channel).Retire(pb.RetireModelRequest(model_id=model_id))
    if json:
        show_json(model)
        return
    typer.echo(f"{model.model_id} is retired")


app.command()(personalise)


@app.command()
def export(
    context: typer.Context,
    model_id: ModelId,
    out: Annotated[Path, typer.Option(help="Write the text to this file.")],
) -> None:
    """Write a model of trees as LightGBM's model text. Works without the daemon."""
    from jointrisk import durable
    from jointrisk.learning.scoring import lightgbm_of

    with _kept(context, model_id) as kept:
        durable.write(out, lightgbm_of(kept.bundle).encode())
        typer.echo(f"{kept.bundle.manifest.model_id} is in {out}")


@app.command()
def points(
    context: typer.Context,
    model_id: ModelId,
    csv: Annotated[
        Path | None, typer.Option(help="Write the table to this file as CSV.", show_default="shown here")
    ] = None,
) -> None:
    """Show a scorecard's points: what every value of every feature adds to a score. Works without the daemon.

    PDO, base points and base odds are those of [scoring] in node.toml. A score is the base and one line of each
    feature; between two edges of a number, points lie on the line between theirs.
    """
    from jointrisk import durable
    from jointrisk.commandline.output import show_table
    from jointrisk.learning.points import Scale, points_of

    with _kept(context, model_id) as kept:
        said = kept.settings.scoring
        table = points_of(kept.bundle, kept.contract(), Scale(said.pdo, said.base_points, said.base_odds))
        name = kept.bundle.manifest.model_id
    lines = [("", "base", table.base), *((line.feature, line.value, line.points) for line in table.lines)]
    cells = [(feature, value, f"{added:.2f}") for feature, value, added in lines]
    if csv is None:
        show_table(_COLUMNS, cells, empty="")
        return
    durable.write(csv, _as_csv(cells))
    typer.echo(f"the points of {name} are in {csv}")


def _as_csv(cells: Iterable[tuple[str, str, str]]) -> bytes:
    from csv import writer
    from io import StringIO

    text = StringIO()
    writer(text).writerows([_COLUMNS, *cells])
    return text.getvalue().encode()


@dataclass(frozen=True)
class _Kept:
    """A verified model of this node, and the contract that it names."""

    bundle: "Bundle"
    contract: "Callable[[], FeatureContract]"
    settings: "NodeSettings"


@contextmanager
def _kept(context: typer.Context, model_id: str) -> "Iterator[_Kept]":
    """Open the node's store without its daemon, and find a model in it."""
    from jointrisk.store import AuditLog
    from jointrisk_node.contracts import ContractLedger
    from jointrisk_node.database import open_database
    from jointrisk_node.membership.belief import pinned_coordinator
    from jointrisk_node.models import ModelLedger, stored_bundle
    from jointrisk_node.settings import load_settings

    state = existing_state(home(context), "node")
    settings = load_settings(state)
    store = open_database(state, settings)
    try:
        folder, key, audit = state.path("models"), pinned_coordinator(store), AuditLog(store)
        bundle = stored_bundle(folder, ModelLedger(store, folder, audit).find(model_id), key)
        version = bundle.manifest.facts.contract_version
        yield _Kept(bundle, lambda: ContractLedger(store, key, audit).get(version), settings)
    finally:
        store.close()


def _is_personalised(root: Path, model_id: str) -> bool:
    from jointrisk_node.models.personal import personal_mark

    return personal_mark(existing_state(root, "node").path("models"), model_id) is not None
