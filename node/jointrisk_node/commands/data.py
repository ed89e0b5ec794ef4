"""``data check``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jointrisk.commandline.options import Json, existing_state, home

if TYPE_CHECKING:
    from jointrisk.federation.contract import FeatureContract
    from jointrisk_node.data import CheckReport, Progress

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The lender's own data.")


@app.callback()
def data() -> None:
    """Keep the group, although it has one command."""


@app.command()
def check(
    context: typer.Context,
    contract: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Check against this contract (TOML).",
            show_default="the newest that this node has from its federation",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check the loan book against the feature contract. Works without the daemon; exit code 9 on a breach.

    It tells columns, rules, numbers of rows and the first row of every breach, never a value.
    """
    from jointrisk.commandline.output import show_json
    from jointrisk_node.data import LoanBook
    from jointrisk_node.settings import load_settings

    root = home(context)
    settings = load_settings(existing_state(root, "node"))
    terms = _contract(root, contract)
    with _progress() as progress:
        report = LoanBook.open(settings.data).check(terms, progress)
    if json:
        show_json(report.as_dict())
    else:
        _show(report)
    _fail_on_breach(report)


def _contract(root: Path, file: Path | None) -> "FeatureContract":
    """Return the contract of a file, or the newest that this node has verified.

    Raises:
        InvalidInputError: the file is no contract.
        NotFoundError: there is no file, and the federation's contract is not here yet.
    """
    from jointrisk.errors import InvalidInputError
    from jointrisk.federation.contract import contract_from_toml

    if file is None:
        return _newest_contract(root)
    try:
        return contract_from_toml(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError:
        raise InvalidInputError(f"{file} cannot be read: not UTF-8") from None


def _newest_contract(root: Path) -> "FeatureContract":
    from jointrisk.errors import NotFoundError
    from jointrisk_node.contracts import newest_contract
    from jointrisk_node.database import open_database
    from jointrisk_node.settings import load_settings

    state = existing_state(root, "node")
    store = open_database(state, load_settings(state))
    try:
        newest = newest_contract(store)
    finally:
        store.close()
    if newest is None:
        raise NotFoundError(
            "this node has no feature contract of its federation yet",
            remedy="Join and run the node, or give a file with --contract.",
        )
    return newest


@contextmanager
def _progress() -> Iterator["Progress"]:
    """Show how many rows have been read, where a person looks on."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows checked"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("check", total=None)
        yield lambda rows: shown.update(task, completed=rows)


def _show(report: "CheckReport") -> None:
    from jointrisk.commandline.output import show_table

    version = f"contract version {report.contract_version}" if report.contract_version else "the contract"
    typer.echo(f"{report.rows} rows against {version}")
    show_table(
        ("column", "rule", "rows", "first row", "expected"),
        (
            (breach.column, breach.rule, breach.count or "", breach.row or "", breach.expected)
            for breach in report.breaches
        ),
        empty="The data keeps the contract.",
    )


def _fail_on_breach(report: "CheckReport") -> None:
    """Do nothing when the data keeps the contract.

    Raises:
        DataBreachError: it does not. What is wrong has been printed already.
    """
    from jointrisk.errors import DataBreachError

    if not report.ok:
        raise DataBreachError(
            f"the data breaks the feature contract in {len(report.breaches)} point(s)",
            remedy="Correct the data, or map it with [data] query in node.toml.",
        )
