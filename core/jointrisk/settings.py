"""Settings in TOML: read, checked by a pydantic model, unknown keys refused, errors that name the key.

An error says the key, what was expected and what was got, but never shows what stands under a sensitive name,
nor an address that could carry a password.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from jointrisk.errors import InvalidInputError, NotFoundError
from jointrisk.sensitive import is_sensitive

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_DURATION = re.compile(r"(0|[1-9][0-9]{0,11})(ms|s|m|h|d)")
_DURATION_EXPECTED = 'a duration such as "30d", "12h", "15m", "90s" or "500ms"'
_PYDANTICS_WORDS = re.compile(r"^(Value error, |Input should be |\w+ should (have |(?=match )))")
_SHOWN_AT_MOST = 60
_ERRORS_SHOWN = 10


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``30d``, ``12h``, ``15m``, ``90s`` or ``500ms``.

    Raises:
        ValueError: it is not of that form.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {_DURATION_EXPECTED}")
    try:
        return int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ValueError("expected a duration of less than 2.7 million years") from None


def toml_text(text: str) -> str:
    """Return a text as it stands between quotation marks in TOML."""
    # A JSON string is a TOML string, but for one character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def format_duration(duration: timedelta) -> str:
    """Write a duration with the largest unit that divides it, as `parse_duration` reads it.

    Raises:
        ValueError: it is negative or not a whole number of milliseconds.
    """
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(duration, _UNITS[unit])
        if not rest and count > 0:
            return f"{count}{unit}"
    if duration:
        raise ValueError("expected a duration of zero or more whole milliseconds")
    return "0s"


def _to_timedelta(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected {_DURATION_EXPECTED}, with its unit")  # noqa: TRY004 - pydantic's
    return parse_duration(value)


Duration = Annotated[timedelta, BeforeValidator(_to_timedelta), PlainSerializer(format_duration, return_type=str)]
"""A `timedelta` that is written with its unit in TOML: ``"30d"``, ``"12h"``, ``"90s"``, ``"500ms"``."""


class Settings(BaseModel):
    """Base of every table of settings: immutable, unknown keys refused, defaults checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


_Model = TypeVar("_Model", bound=BaseModel)


def load_toml(path: Path, model: type[_Model]) -> _Model:
    """Read a TOML file into a model.

    Args:
        path: the file.
        model: what it must hold.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be read, is not TOML, or breaks the model; the message names the keys.
    """
    return parse_toml(read_toml(path), model, str(path))


def parse_toml(text: str, model: type[_Model], where: str) -> _Model:
    """Read TOML text into a model.

    Args:
        text: the TOML.
        model: what it must hold.
        where: the name of the text's source, for messages.

    Raises:
        InvalidInputError: it is not TOML, or breaks the model; the message names the keys.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"{where} is not TOML: {error}", remedy="Correct it at that place.") from None
    return validated(values, model, where)


def validated(values: Mapping[str, Any], model: type[_Model], where: str) -> _Model:
    """Read plain data into a model.

    Args:
        values: the data.
        model: what it must hold.
        where: the name of its source, for messages.

    Raises:
        InvalidInputError: it breaks the model; the message names the keys.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Not chained: pydantic's own text shows the values.
        raise InvalidInputError(_describe(error, model, where), remedy=f"Correct these keys in {where}.") from None


def read_toml(path: Path) -> str:
    """Return the text of a TOML file.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"expected a file {path}, got none", remedy="Check the path, or run `init`.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise InvalidInputError(f"{path} cannot be read: {reason}") from error


def _describe(error: ValidationError, model: type[BaseModel], where: str) -> str:
    found = error.errors(include_url=False, include_context=False)
    lines = [_line(dict(one), model) for one in found[:_ERRORS_SHOWN]]
    if len(found) > _ERRORS_SHOWN:
        lines.append(f"and {len(found) - _ERRORS_SHOWN} more")
    return f"{where}: " + "; ".join(lines)


def _line(one: dict[str, Any], model: type[BaseModel]) -> str:
    place: tuple[str | int, ...] = one["loc"]
    key = _key(place)
    if one["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(place, model)}"
    if one["type"] == "missing":
        return f"{key}: expected a value, got none"
    expected = _PYDANTICS_WORDS.sub("", one["msg"])
    return f"{key}: expected {expected.removeprefix('expected ')}, got {_shown(place, one['input'])}"


def _key(place: Iterable[str | int]) -> str:
    """Write a place as TOML's people do: ``rounds.deadline``, ``members[2].name``."""
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return written.removeprefix(".") or "(whole file)"


def _shown(place: Iterable[str | int], value: object) -> str:
    """Show a short plain value, and only the type of one that could hold a secret."""
    secret = any(is_sensitive(str(part)) for part in place)
    if secret or not isinstance(value, str | int | float | bool):
        return f"a {type(value).__name__}" + (" (not shown)" if secret else "")
    text = repr(value)
    return text if len(text) <= _SHOWN_AT_MOST and "://" not in text else f"a {type(value).__name__} (not shown)"


def _suggestion(place: tuple[str | int, ...], model: type[BaseModel]) -> str:
    known = _keys_beside(place, model)
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f", did you mean {near[0]}?" if near else f", expected one of {', '.join(known)}" if known else ""


def _keys_beside(place: tuple[str | int, ...], model: type[BaseModel]) -> list[str]:
    """Return the keys of the table that holds ``place``, or none where the types do not say it plainly."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return sorted(field.alias or name for name, field in model.model_fields.items())
