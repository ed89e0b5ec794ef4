"""A person's identifiers as they are typed: lines, JSON, or answers to questions that are not echoed."""

import json
import sys
from typing import Final

import typer

from jointrisk.errors import InvalidInputError

_LONGEST: Final = 64 << 10
_FIELDS: Final = ("kind", "country", "value")


def identifiers_given() -> list[dict[str, str]]:
    """Return identifiers from standard input, or from a person at the terminal: kind, country and value of each.

    Raises:
        InvalidInputError: what came is neither lines nor JSON of that form. The message never repeats it.
    """
    if sys.stdin.isatty():
        return _asked_for()
    text = sys.stdin.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise InvalidInputError(f"expected at most {_LONGEST} characters on standard input")
    given = _from_json(text) if text.lstrip()[:1] in {"[", "{"} else _from_lines(text)
    if not given:
        raise InvalidInputError(
            "expected identifiers on standard input, got none", remedy="A line for each: kind, country, value."
        )
    return given


def _asked_for() -> list[dict[str, str]]:
    given: list[dict[str, str]] = []
    while True:
        more = "Kind of another identifier, or nothing" if given else "Kind of identifier"
        kind = typer.prompt(more, default="" if given else None, show_default=False)
        if not kind.strip():
            return given
        country = typer.prompt("Country")
        value = typer.prompt("Identifier (not shown)", hide_input=True)
        given.append({"kind": kind.strip(), "country": country.strip(), "value": value})


def _from_lines(text: str) -> list[dict[str, str]]:
    given = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        words = line.split(None, 2)
        if len(words) != len(_FIELDS):
            raise InvalidInputError(f"line {number}: expected kind, country and value, separated by blanks")
        given.append(dict(zip(_FIELDS, words, strict=True)))
    return given


def _from_json(text: str) -> list[dict[str, str]]:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    listed = [said] if isinstance(said, dict) else said
    if not isinstance(listed, list) or not all(_is_identifier(one) for one in listed):
        raise InvalidInputError('expected JSON such as [{"kind": "phone", "country": "CN", "value": "..."}]')
    return listed


def _is_identifier(one: object) -> bool:
    return isinstance(one, dict) and set(one) == set(_FIELDS) and all(isinstance(text, str) for text in one.values())
