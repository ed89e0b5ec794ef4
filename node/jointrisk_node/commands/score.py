"""``score``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, KeyDescriptor, existing_state, home

MOST_REASONS = 10  # of jointrisk.learning.reasons, which need not be imported to show the help

if TYPE_CHECKING:
    from jointrisk.federation.contract import FeatureContract
    from jointrisk.learning.bundle import Bundle
    from jointrisk_node.data import DataSettings
    from jointrisk_node.scoring.batch import Progress, ScoreReport
    from jointrisk_node.settings import NodeSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Applications: a .parquet, .csv or .csv.gz file, or postgresql://HOST/DATABASE."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Write the scores to this .csv or .parquet file.", show_default="CSV on standard output"),
    ] = None,
    query: Annotated[
        str, typer.Option(help="One SELECT that gives the contract's columns; a file is the view `loans`.")
    ] = "SELECT * FROM loans",
    keep: Annotated[
        list[str] | None, typer.Option(help="Carry this column along, such as an application's id. Repeatable.")
    ] = None,
    reasons: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_REASONS,
            metavar="N",
            help="Tell for each application up to so many reasons that speak against it (docs/reasons.md).",
            show_default="none",
        ),
    ] = 0,
    master_key_fd: KeyDescriptor = None,
    json: Json = False,
) -> None:
    """Score applications with the active model: probability of default, points, band. Works without the daemon.

    A model that is personalised needs the master key, others do not.

    A row that breaks the feature contract comes back with the reason and without a score; the others are scored.
    """
    from jointrisk.commandline.options import master_key
    from jointrisk.errors import InvalidInputError
    from jointrisk.learning.personal_scorer import PersonalScorer
    from jointrisk_node.data.applications import Applications
    from jointrisk_node.models.personal import PersonalModels
    from jointrisk_node.scoring.batch import OWN_COLUMNS, BatchScoring
    from jointrisk_node.scoring.output import check, write
    from jointrisk_node.scoring.reason_columns import ReasonColumns
    from jointrisk_node.scoring.scale import Scale
    from jointrisk_node.settings import load_settings

    names = tuple(keep or ())
    if json and out is None:
        raise InvalidInputError("expected --out with --json: standard output holds one or the other")
    if out is not None:
        check(out)
    root = home(context)
    state = existing_state(root, "node")
    settings = load_settings(state)
    model = _active(root, settings)
    told = ReasonColumns(model.contract, reasons) if reasons else None
    if {name.lower() for name in names} & {*OWN_COLUMNS, *(told.names if told else ())}:
        expected = ", ".join((*OWN_COLUMNS, *(told.names if told else ())))
        raise InvalidInputError(f"expected columns to keep other than {expected}, which scores have")
    scorer = PersonalModels(state, lambda: master_key(state, master_key_fd)).scorer(model.bundle)
    applications = Applications(_source(settings, file, query), model.contract, names)
    work = BatchScoring(applications, scorer, Scale(settings.scoring), told)
    with _progress() as progress:
        write(work.tables(progress), out)
    _show(work.report, model.bundle, personalised=isinstance(scorer, PersonalScorer), json=json)


@dataclass(frozen=True)
class _Active:
    bundle: "Bundle"
    contract: "FeatureContract"


def _active(root: Path, settings: "NodeSettings") -> _Active:
    """Return the model that this node scores with, and its contract.

    Raises:
        NotFoundError: the node has joined nothing yet, or no model is active.
    """
    from jointrisk.store import AuditLog
    from jointrisk_node.contracts import ContractLedger
    from jointrisk_node.database import open_database
    from jointrisk_node.membership.belief import pinned_coordinator
    from jointrisk_node.models import active_bundle

    state = existing_state(root, "node")
    store = open_database(state, settings)
    try:
        key = pinned_coordinator(store)
        bundle = active_bundle(store, state.path("models"), key)
        contract = ContractLedger(store, key, AuditLog(store)).get(bundle.manifest.facts.contract_version)
    finally:
        store.close()
    return _Active(bundle, contract)


def _source(settings: "NodeSettings", file: str, query: str) -> "DataSettings":
    """Return the applications' place; how cells are read is as with the node's loan book."""
    from pydantic import ValidationError

    from jointrisk.errors import InvalidInputError
    from jointrisk_node.data import DataSettings

    server = file.startswith(("postgresql://", "postgres://"))
    said = settings.data.model_dump() | {"source": file, "query": query}
    if not server:
        said["passfile"] = ""
    try:
        return DataSettings.model_validate(said)
    except ValidationError as error:
        # Not chained: the address can hold a password.
        expected = error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"FILE: {expected}") from None


@contextmanager
def _progress() -> "Iterator[Progress]":
    """Show how many rows have been scored, where a person looks on."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows scored"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("score", total=None)
        yield lambda rows: shown.update(task, completed=rows)


def _show(report: "ScoreReport", bundle: "Bundle", *, personalised: bool, json: bool) -> None:
    from jointrisk.commandline.output import show_json

    if json:
        show_json({"model_id": bundle.manifest.model_id, "personalised": personalised} | report.as_dict())
        return
    # The scores themselves may be on standard output.
    said = f"{bundle.manifest.model_id}, personalised" if personalised else bundle.manifest.model_id
    typer.echo(f"{report.scored} of {report.rows} rows scored with {said}", err=True)
    for (column, rule), count in sorted(report.breaches.items()):
        typer.echo(f"  {count} without a score: {f'{column}: ' if column else ''}{rule}", err=True)
