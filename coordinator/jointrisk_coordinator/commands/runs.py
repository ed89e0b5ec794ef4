"""``runs start | list | show | watch | cancel``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, home

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Training runs.")
RunId = Annotated[str, typer.Argument(help="The run's id, or an unambiguous beginning of it.")]


@app.command()
def start(
    context: typer.Context,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", exists=True, dir_okay=False, help="Run settings, TOML; see docs/configuration.md."),
    ] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Stay and watch it.")] = False,
    json: Json = False,
) -> None:
    """Start a run and print its id. Without settings, the defaults do the usual thing."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub
    from jointrisk.settings import read_toml

    toml = read_toml(settings) if settings else ""
    with daemon(home(context), "coordinator") as channel:
        run = CoordinatorOperatorStub(channel).StartRun(pb.StartRunRequest(toml=toml))
    if json and not watch_it:
        show_json(run)
        return
    typer.echo(run.run_id)
    if watch_it:
        _watch(context, run.run_id, json=json)


@app.command("list")
def list_runs(context: typer.Context, json: Json = False) -> None:
    """List all runs, the newest first."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_table
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    with daemon(home(context), "coordinator") as channel:
        listed = CoordinatorOperatorStub(channel).ListRuns(pb.ListRunsRequest())
    if json:
        show_json(listed)
        return
    show_table(
        ("run", "state", "task", "strategy", "rounds", "started", "detail"),
        (
            (
                run.run_id,
                run.state,
                run.task,
                run.strategy,
                f"{run.rounds_done}/{run.rounds}",
                run.started_at,
                run.detail,
            )
            for run in listed.runs
        ),
        empty="No runs yet. Start one with `jointrisk coordinator runs start`.",
    )


@app.command()
def show(context: typer.Context, run_id: RunId, json: Json = False) -> None:
    """Show one run: its settings, who takes part, every round."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json, show_view
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    with daemon(home(context), "coordinator") as channel:
        run = CoordinatorOperatorStub(channel).GetRun(pb.GetRunRequest(run_id=run_id))
    if json:
        show_json(run)
        return
    show_view(run_view(run))
    typer.echo("\nSettings:\n" + run.settings_toml)


@app.command()
def watch(context: typer.Context, run_id: RunId, json: Json = False) -> None:
    """Follow a run until it ends; exit code 0 when it is done, 1 when it failed or was cancelled."""
    _watch(context, run_id, json=json)


@app.command()
def cancel(
    context: typer.Context,
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log and shown to members.")] = "",
    json: Json = False,
) -> None:
    """End a run. Its completed rounds stay."""
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    with daemon(home(context), "coordinator") as channel:
        run = CoordinatorOperatorStub(channel).CancelRun(pb.CancelRunRequest(run_id=run_id, reason=reason))
    if json:
        show_json(run)
        return
    typer.echo(f"{run.run_id}: {run.state} after {run.rounds_done} of {run.rounds} rounds")


def _watch(context: typer.Context, run_id: str, *, json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.commandline.output import show_json
    from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
    from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorStub

    last = pb.Run()
    console = Console(stderr=json)
    with (
        daemon(home(context), "coordinator") as channel,
        Live(console=console, refresh_per_second=8, transient=json) as live,
    ):
        for state in CoordinatorOperatorStub(channel).WatchRun(pb.GetRunRequest(run_id=run_id)):
            last = state
            live.update(run_view(last))
    if json:
        show_json(last)
    raise typer.Exit(0 if last.state == "done" else 1)


def run_view(run: "pb.Run") -> "RenderableType":
    """Return a run as people see it: what it is, who takes part, its latest rounds."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Text.assemble(
        (run.run_id, "bold"), f"  {run.task}, {run.strategy}  ", (run.state, _COLOURS.get(run.state, "yellow"))
    )
    parts: list[RenderableType] = [head]
    if run.detail:
        parts.append(Text(run.detail))
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(run.rounds, 1), completed=run.rounds_done, width=40),
        f"round {run.rounds_done}, at most {run.rounds} a stage",
    )
    parts += [bar, _participants(run)]
    if run.history:
        parts += [_rounds(run), Text(_guarantees(run) + "\n")]  # a text ends without one, unlike a table
    return Group(*parts)


def _guarantees(run: "pb.Run") -> str:
    """Say what protected members' replies; rounds for which that is the same are named together."""
    said: dict[str, list[int]] = {}
    for entry in run.history:
        said.setdefault(entry.guarantee, []).append(entry.round)
    return "\n".join(f"{_numbered(numbers)}: {words}" for words, numbers in said.items())


def _numbered(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"round {numbers[0]}"
    gapless = numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"rounds {numbers[0]} to {numbers[-1]}" if gapless else f"rounds {', '.join(map(str, numbers))}"


_COLOURS = {"done": "green", "failed": "red", "cancelled": "red", "running": "cyan"}
_LATEST = 12
# What fits a terminal; `runs show --json` has every figure.
_TELLING = ("auc", "ks", "log_loss", "ece")
_MOST = 4


def _participants(run: "pb.Run") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("member", "says", "reason"):
        table.add_column(column)
    for participant in run.participants:
        # As Text: a member's words are no markup.
        table.add_row(participant.member_id, participant.state, Text(participant.reason))
    return table


def _telling_rounds(run: "pb.Run") -> "list[pb.Round]":
    """Return the last round of each stage before the present one, and the latest of that; no more than fit."""
    last = {entry.stage: entry for entry in run.history}
    now = run.history[-1].stage
    before = [entry for stage, entry in last.items() if stage != now]
    latest = [entry for entry in run.history if entry.stage == now]
    return before + latest[-max(1, _LATEST - len(before)) :]


def _rounds(run: "pb.Run") -> "RenderableType":
    from rich.table import Table

    found = {name for entry in run.history for name in entry.metrics}
    names = [name for name in _TELLING if name in found] or sorted(found)[:_MOST]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("round", "stage", "seconds", "members", "missing", *names):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for entry in _telling_rounds(run):
        figures = (f"{entry.metrics[name]:.4f}" if name in entry.metrics else "" for name in names)
        table.add_row(
            str(entry.round),
            entry.stage,
            f"{entry.seconds:.2f}",
            str(len(entry.members)),
            ", ".join(entry.missing) or "-",
            *figures,
        )
    return table
