"""Generate docs/cli.md and docs/configuration.md (``make docs``), or fail when they are stale (``--check``).

The command tree and the settings models are the source: what they say is what people read.
"""

import argparse
import importlib
import sys
import types
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jointrisk.cli import command as jointrisk_command
from jointrisk.settings import format_duration

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTE = "Made by `make docs`; do not edit.\n"

# Title, module, model, introduction.
MODELS = (
    (
        "Coordinator: coordinator.toml",
        "jointrisk_coordinator.settings",
        "CoordinatorSettings",
        "In the coordinator's state directory. `jointrisk coordinator init` writes one that runs as it is.",
    ),
    (
        "Node: node.toml",
        "jointrisk_node.settings",
        "NodeSettings",
        "In the node's state directory. `jointrisk node init` writes one that runs as it is.",
    ),
)


def main() -> None:
    """Write both pages, or compare them with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    pages = {"cli.md": command_page(), "configuration.md": settings_page()}
    stale = [name for name, text in pages.items() if not _is_current(DOCS / name, text)]
    if check and stale:
        sys.exit(f"stale, run `make docs`: {', '.join(f'docs/{name}' for name in stale)}")
    for name in stale:
        (DOCS / name).write_text(pages[name], encoding="utf-8")


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


# The command line ---------------------------------------------------------------------------------------------


def command_page() -> str:
    """Return docs/cli.md: every command with its arguments and options."""
    context = click.Context(jointrisk_command, info_name="jointrisk")
    sections = [_command_section(each) for each in _commands(context)]
    return "\n".join(["# Command line\n", NOTE, *sections])


def _commands(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(group := context.command, click.Group):
        for name in group.list_commands(context):
            inner = group.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _commands(click.Context(inner, info_name=name, parent=context))


def _command_section(context: click.Context) -> str:
    level = "#" * min(2 + context.command_path.count(" "), 4)
    arguments = [p for p in context.command.params if isinstance(p, click.Argument)]
    usage = " ".join([context.command_path, *(_argument_name(a, context) for a in arguments)])
    parts = [f"{level} `{usage}`\n", _prose(context.command.help)]
    if rows := [_parameter_row(p, context) for p in context.command.params if not _hidden(p)]:
        parts.append(_table(("argument or option", "default", "meaning"), rows))
    if context.command.epilog:
        parts.append(_prose(context.command.epilog))
    return "\n".join(parts)


def _hidden(parameter: click.Parameter) -> bool:
    return bool(getattr(parameter, "hidden", False)) or parameter.name == "help"


def _argument_name(argument: click.Argument, context: click.Context) -> str:
    return argument.make_metavar(context)


def _parameter_row(parameter: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    meaning = str(getattr(parameter, "help", None) or "")
    if isinstance(parameter.envvar, str):
        meaning = f"{meaning} Environment: `{parameter.envvar}`.".strip()
    if isinstance(parameter, click.Argument):
        return f"`{_argument_name(parameter, context)}`", "", meaning
    return f"`{_option_name(parameter, context)}`", _option_default(parameter), meaning


def _option_name(option: click.Parameter, context: click.Context) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    is_flag = bool(getattr(option, "is_flag", False)) or getattr(option, "count", False)
    return names if is_flag else f"{names} {option.make_metavar(context)}"


def _option_default(option: click.Parameter) -> str:
    if option.required:
        return "required"
    shown = getattr(option, "show_default", None)
    if isinstance(shown, str):
        return shown
    default = option.default
    # Click says "not given" by a value of its own, and False for a switch.
    if default in (None, False, "", (), []) or callable(default) or "UNSET" in repr(default):
        return ""
    return f"`{default}`"


# The settings -------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return docs/configuration.md: every key of every settings file."""
    introduction = (
        'Settings are TOML. Unknown keys are refused. A duration is written with its unit: `"30d"`, `"12h"`, '
        '`"15m"`, `"90s"`, `"500ms"`.\n'
    )
    parts = ["# Configuration\n", NOTE, introduction]
    for title, module, name, purpose in MODELS:
        model: type[BaseModel] = getattr(importlib.import_module(module), name)
        parts += [f"## {title}\n", f"{purpose}\n", *_model_sections(model, "")]
    return "\n".join(parts)


def _model_sections(model: type[BaseModel], prefix: str) -> Iterator[str]:
    plain = {key: field for key, field in _fields(model) if _inner_model(field.annotation) is None}
    if prefix:
        yield f"### `[{prefix}]`\n\n{_prose(model.__doc__)}"
    if plain:
        rows = [_field_row(key, field) for key, field in plain.items()]
        yield _table(("key", "type", "default", "meaning"), rows)
    for key, field in _fields(model):
        if (inner := _inner_model(field.annotation)) is not None:
            path = f"{prefix}.{key}" if prefix else key
            yield from _model_sections(inner, f"[{path}]" if _is_list(field.annotation) else path)


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return ((field.alias or name, field) for name, field in model.model_fields.items())


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """Return the settings model that this annotation holds, itself or in a list or an optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner_model(part))), None)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple, Sequence)


def _field_row(key: str, field: FieldInfo) -> tuple[str, str, str, str]:
    kind = ", ".join([_type_name(field.annotation), *_limits(field)])
    return f"`{key}`", kind, _default(field), field.description or ""


def _type_name(annotation: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is timedelta:
        return "duration"
    if origin is Literal:
        return " or ".join(f'`"{choice}"`' for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(part) for part in arguments if part is not type(None))
    if origin in (list, tuple, set, frozenset, Sequence):
        return f"list of {_type_name(arguments[0])}"
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _type_name(arguments[0])
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        if isinstance(limit, annotated_types.Ge):
            yield f"at least {limit.ge}"
        elif isinstance(limit, annotated_types.Gt):
            yield f"more than {limit.gt}"
        elif isinstance(limit, annotated_types.Le):
            yield f"at most {limit.le}"
        elif isinstance(limit, annotated_types.Lt):
            yield f"less than {limit.lt}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or value == "":
        return ""
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, timedelta):
        return f'"{format_duration(value)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str | Path) else str(value)


# Markdown -----------------------------------------------------------------------------------------------------


def _prose(text: str | None) -> str:
    paragraphs = (text or "").split("\f")[0].strip().split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in part.splitlines()) for part in paragraphs) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
