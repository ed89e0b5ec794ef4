"""Files of listings: checked whole, then streamed to the daemon."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jointrisk.commandline.options import existing_state

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from jointrisk.errors import JointriskError
    from jointrisk.rpc.v1 import listing_lister_pb2 as pb
    from jointrisk_node.data import DataSettings
    from jointrisk_node.data.cells import CellFile
    from jointrisk_node.listings.examining import Examined, RefusedRow
    from jointrisk_node.settings import NodeSettings

_ROWS_AT_ONCE = 1000
_SHOWN = 20


def file_settings(settings: "NodeSettings", file: str, query: str) -> "DataSettings":
    """Return where a file is; how cells are read is as with the node's loan book.

    Raises:
        InvalidInputError: the name ends in no known suffix.
    """
    from pydantic import ValidationError

    from jointrisk.errors import InvalidInputError
    from jointrisk_node.data import DataSettings

    said = settings.data.model_dump() | {"source": file, "query": query, "passfile": ""}
    try:
        return DataSettings.model_validate(said)
    except ValidationError as error:
        # Not chained: an address can hold a password.
        expected = error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"FILE: {expected}") from None


def send_file(root: Path, file: str, query: str, *, skip_refused: bool, correcting: bool, json: bool) -> None:
    """Check a file, send it to the daemon, and report.

    Raises:
        InvalidInputError: rows are refused, and shall not be skipped; what is wrong has been printed. Nothing was sent.
        JointriskError: the file cannot be read, or the daemon cannot do it now.
    """
    from jointrisk.clock import utc_now
    from jointrisk.errors import InvalidInputError
    from jointrisk_node.data.cells import CellFile
    from jointrisk_node.listings.examining import examine
    from jointrisk_node.listings.rows import COLUMNS, KINDS, REQUIRED
    from jointrisk_node.settings import load_settings

    settings = load_settings(existing_state(root, "node"))
    texts = ["reference", *KINDS]
    cells = CellFile(file_settings(settings, file, query), COLUMNS, required=REQUIRED, textual=texts)
    with _bar() as bar:
        task = bar.add_task("checked", total=None)
        examined = examine(cells, settings.listings, utc_now().date(), lambda rows: bar.update(task, completed=rows))
    refused = examined.refusals.count
    if refused and not skip_refused:
        _show(examined, None, [], json=json)
        raise InvalidInputError(
            f"{refused} of {examined.rows} rows break a rule, and nothing was sent",
            remedy="Correct the file, or list the other rows with --skip-refused.",
        )
    answer, told = _send(root, cells, examined, correcting=correcting)
    _show(examined, answer, told, json=json)


def _send(
    root: Path, cells: "CellFile", examined: "Examined", *, correcting: bool
) -> "tuple[pb.PublishProgress, list[RefusedRow]]":
    from jointrisk.commandline.daemon_call import daemon
    from jointrisk.errors import JointriskError
    from jointrisk.rpc.v1 import listing_lister_pb2 as pb
    from jointrisk.rpc.v1.listing_lister_pb2_grpc import ListingListerStub
    from jointrisk_node.listings.examining import RefusedRow

    last, told, failed = pb.PublishProgress(), list[RefusedRow](), list[JointriskError]()
    with daemon(root, "node") as channel, _bar() as bar:
        stub = ListingListerStub(channel)
        task = bar.add_task("done", total=examined.rows - examined.refusals.count)
        requests = _requests(cells, examined, failed)
        for last in stub.Correct(requests) if correcting else stub.Publish(requests):
            bar.update(task, completed=last.rows)
            told += [RefusedRow(one.row, one.column, one.rule) for one in last.refusals]
    if failed:
        raise failed[0]
    return last, told


def _requests(cells: "CellFile", examined: "Examined", failed: "list[JointriskError]") -> "Iterator[pb.PublishRows]":
    """Yield what is sent. gRPC takes it in a thread of its own, where an error would be lost: it is noted instead."""
    from jointrisk.errors import JointriskError
    from jointrisk.rpc.v1 import listing_lister_pb2 as pb
    from jointrisk_node.listings.examining import sound_rows

    yield pb.PublishRows(columns=examined.columns)
    try:
        for batch in sound_rows(cells, examined):
            for start in range(0, len(batch), _ROWS_AT_ONCE):
                part = batch[start : start + _ROWS_AT_ONCE]
                yield pb.PublishRows(rows=[pb.PublishRow(number=one.number, cells=one.cells) for one in part])
    except JointriskError as error:
        failed.append(error)


@contextmanager
def _bar() -> "Iterator[Bar]":
    """Show how far it has come, and how fast, where a person looks on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Rows a second."""

        def render(self, task: object) -> Text:
            """Return the rate, once there is one."""
            speed = getattr(task, "speed", None)
            return Text(f"{speed:,.0f} rows/s" if speed else "")

    console = Console(stderr=True)
    columns = (TextColumn("{task.completed:,} rows {task.description}"), BarColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        yield shown


def _show(examined: "Examined", answer: "pb.PublishProgress | None", told: "list[RefusedRow]", *, json: bool) -> None:
    from jointrisk.commandline.output import show_json, show_table

    refused = [*examined.refusals.told, *told]
    counts = {
        "rows": examined.rows,
        "listed": answer.listed if answer else 0,
        "already": answer.already if answer else 0,
        "refused": examined.refusals.count + (answer.refused if answer else 0),
        "entries": answer.stored if answer else 0,
        "waiting": answer.waiting if answer else 0,
    }
    if json:
        show_json(counts | {"refusals": [{"row": one.row, "column": one.column, "rule": one.rule} for one in refused]})
        return
    if answer is not None:
        typer.echo(
            f"{counts['listed']} of {counts['rows']} rows listed with {counts['entries']} entries, "
            f"{counts['already']} were so already, {counts['refused']} refused."
        )
    if answer is not None and answer.waiting:
        typer.echo(f"{answer.waiting} entries wait for the coordinator; the daemon goes on.")
    if refused:
        shown = [(one.row, one.column, one.rule) for one in refused[:_SHOWN]]
        show_table(("row", "column", "rule"), shown, empty="")
        for (column, rule), count in examined.refusals.rules.most_common(_SHOWN):
            typer.echo(f"  {count} rows: {f'{column}: ' if column else ''}{rule}")
