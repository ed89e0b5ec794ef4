"""Markdown for the generated pages."""

import re
from collections.abc import Sequence

NOTE = "Made by `make docs`; do not edit.\n"


def plain_markdown(text: str) -> str:
    """Return reStructuredText's ``code`` and :mod:`names` as Markdown has them."""
    return re.sub(r":\w+:`[~!]?([^`]+)`|``([^`]+)``", lambda found: f"`{found[1] or found[2]}`", text)


def prose(text: str | None) -> str:
    """Return a docstring or help text as paragraphs of one line each."""
    paragraphs = plain_markdown(text or "").split("\f")[0].strip().split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in part.splitlines()) for part in paragraphs) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
