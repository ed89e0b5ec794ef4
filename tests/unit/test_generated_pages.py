"""The pages that are made from the command tree and from the settings models."""

from datetime import timedelta
from typing import Literal

import click
from pydantic import Field

import command_page
import settings_page
from jointrisk.settings import Duration, Settings
from markdown_page import plain_markdown, table


class Inner(Settings):
    """How often things happen."""

    pause: Duration = Field(timedelta(seconds=90), description="How long to wait.")
    mode: Literal["retry", "fail"] = "retry"


class Outer(Settings):
    """A file.

    Attributes:
        count: how many,
            over two lines.
    """

    count: int = Field(ge=1, le=9)
    names: tuple[str, ...] = ("a", "b")
    inner: Inner = Inner()


def test_every_key_is_on_the_page_with_type_default_and_meaning() -> None:
    """Keys of nested tables too; descriptions come from fields, or else from the docstring."""
    page = "\n".join(settings_page._model_sections(Outer, ""))
    assert "| `count` | whole number, at least 1, at most 9 | required | How many, over two lines. |" in page
    assert '| `names` | list of text | `["a", "b"]` |  |' in page
    assert "### `[inner]`\n\nHow often things happen.\n" in page
    assert '| `pause` | duration | `"90s"` | How long to wait. |' in page
    assert '| `mode` | `"retry"` or `"fail"` | `"retry"` |  |' in page


@click.group()
def group() -> None:
    """A group."""


@group.command()
@click.argument("name")
@click.option("--hours", type=click.IntRange(1, 720), default=72, help="Hours until | then.")
@click.option("--all", "everything", is_flag=True, help="All of it.")
@click.option("--home", envvar="SOME_HOME", required=True, help="Where.")
def invite(name: str, hours: int, everything: bool, home: str) -> None:
    """Make an invitation.

    Print it once.
    """


def test_every_command_is_on_the_page_with_arguments_and_options() -> None:
    """Subcommands with their whole path; switches have no value and no default; a bar does not end a cell."""
    contexts = list(command_page._commands(click.Context(group, info_name="top")))
    page = "\n".join(command_page._command_section(context) for context in contexts)
    assert "## `top`" in page
    assert "### `top invite NAME`\n\nMake an invitation.\n\nPrint it once.\n" in page
    assert "| `--hours INTEGER` | `72` | Hours until \\| then. At least 1, at most 720. |" in page
    assert "| `--all` |  | All of it. |" in page
    assert "| `--home TEXT` | required | Where. Environment: `SOME_HOME`. |" in page
    assert "--help" not in page


def test_cells_stay_in_their_cells() -> None:
    """Line ends and bars in a cell don't break the table."""
    assert table(("a",), [("x\ny|z",)]) == "| a |\n| --- |\n| x y\\|z |\n"


def test_markup_of_docstrings_becomes_markdown() -> None:
    """Roles and double backquotes become code."""
    assert plain_markdown("see :mod:`a.b` and ``c``, `d`") == "see `a.b` and `c`, `d`"
