"""Showing answers: tables for people, JSON for programs. Both come from the same protobuf message."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPE_WIDTH = 1000


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as plain data under the wire contract's field names; fields without a value included."""
    plain = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    # protobuf puts fields without a value last; people expect the contract's order.
    return {field.name: plain[field.name] for field in message.DESCRIPTOR.fields if field.name in plain}


def show_json(data: Message | object) -> None:
    """Print a message, or plain data, as JSON."""
    plain = as_dict(data) if isinstance(data, Message) else data
    typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))


def show_fields(fields: Mapping[str, object]) -> None:
    """Print one line a field, or a line for each value of a list, aligned; empty ones are left out."""
    shown = {name: value for name, value in fields.items() if value not in ("", None, [])}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        for line in value if isinstance(value, list) else [value]:
            typer.echo(f"{name:<{width}}  {line}")


def show_view(view: "RenderableType") -> None:
    """Print something that rich draws; a file or a pipe has no width to fit into."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=_PIPE_WIDTH)).print(view)


def show_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, empty: str) -> None:
    """Print a table, or ``empty`` when there are no rows."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # as Text: what peers have written is no markup
    if table.row_count == 0:
        typer.echo(empty)
        return
    show_view(table)
