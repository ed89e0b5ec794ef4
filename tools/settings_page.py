"""docs/configuration.md: every key of every settings file, from the models that read them."""

import importlib
import re
import types
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jointrisk.settings import format_duration
from markdown_page import NOTE, plain_markdown, prose, table


class Page(NamedTuple):
    """One settings file: its heading, the model that reads it, what to know about the file."""

    title: str
    module: str
    model: str
    purpose: str
    tables: tuple["Page", ...] = ()


def _table_of(key: str, value: str, model: str) -> Page:
    """Return a table of the run settings whose keys depend on another key's value."""
    module = {
        "task": "jointrisk.learning.tasks.settings",
        "strategy": "jointrisk.learning.strategy_settings",
    }[key]
    return Page(f'`[{key}_settings]` with `{key} = "{value}"`', module, model, "")


PAGES = (
    Page(
        "Coordinator: coordinator.toml",
        "jointrisk_coordinator.settings",
        "CoordinatorSettings",
        "In the coordinator's state directory. `jointrisk coordinator init` writes one that runs as it is.",
    ),
    Page(
        "Node: node.toml",
        "jointrisk_node.settings",
        "NodeSettings",
        "In the node's state directory. `jointrisk node init` writes one that runs as it is.",
    ),
    Page(
        "Run: RUN.toml",
        "jointrisk_coordinator.runs.settings",
        "RunSettings",
        "For `jointrisk coordinator runs start --settings RUN.toml`. Every key has a default.",
        (
            _table_of("task", "default_model", "DefaultModelSettings"),
            _table_of("task", "probe", "ProbeSettings"),
            _table_of("strategy", "fedavg", "FedAvgSettings"),
            _table_of("strategy", "fedprox", "FedProxSettings"),
            _table_of("strategy", "fedadam", "FedAdamSettings"),
        ),
    ),
    Page(
        "Feature contract: CONTRACT.toml",
        "jointrisk.federation.contract",
        "FeatureContract",
        "For `jointrisk coordinator contract publish CONTRACT.toml`. `jointrisk coordinator contract draft FILE` "
        "proposes one from a sample.",
    ),
)

_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    timedelta: "duration",
    Path: "path",
    Any: "any",
}
_LISTS = (list, tuple, set, frozenset, Sequence)


def settings_page() -> str:
    """Return docs/configuration.md: every key of every settings file."""
    introduction = (
        'Settings are TOML. Unknown keys are refused. A duration is written with its unit: `"30d"`, `"12h"`, '
        '`"15m"`, `"90s"`, `"500ms"`.\n'
    )
    parts = ["# Configuration\n", NOTE, introduction]
    for page in PAGES:
        parts += [f"## {page.title}\n", f"{page.purpose}\n", *_model_sections(_model(page), "")]
        for inner in page.tables:
            parts += [f"### {inner.title}\n", _introduction(_model(inner)), *_model_sections(_model(inner), "")]
    return "\n".join(parts)


def _model(page: Page) -> type[BaseModel]:
    model: type[BaseModel] = getattr(importlib.import_module(page.module), page.model)
    return model


def _introduction(model: type[BaseModel]) -> str:
    return prose((model.__doc__ or "").partition("Attributes:")[0])


def _model_sections(model: type[BaseModel], prefix: str, *, listed: bool = False) -> Iterator[str]:
    plain = {key: field for key, field in _fields(model) if _inner_model(field.annotation) is None}
    if prefix:
        heading = f"[[{prefix}]]" if listed else f"[{prefix}]"
        yield f"### `{heading}`\n\n{_introduction(model)}"
    if plain:
        said = _attributes(model)
        rows = [_field_row(key, field, said.get(key, "")) for key, field in plain.items()]
        yield table(("key", "type", "default", "meaning"), rows)
    for key, field in _fields(model):
        if (inner := _inner_model(field.annotation)) is not None:
            path = f"{prefix}.{key}" if prefix else key
            yield from _model_sections(inner, path, listed=_is_list(field.annotation))


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return ((field.alias or name, field) for name, field in model.model_fields.items())


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """Return the settings model that this annotation holds, itself or in a list or an optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner_model(part))), None)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in _LISTS


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstring's "Attributes:" say of each field, for models that describe their fields there."""
    listed = (model.__doc__ or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", listed, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _field_row(key: str, field: FieldInfo, said: str) -> tuple[str, str, str, str]:
    kind = ", ".join([_type_name(field.annotation), *_limits(field)])
    return f"`{key}`", kind, _default(field), plain_markdown(_sentence(field.description or said))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{_toml(choice)}`" for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(part) for part in arguments if part is not type(None))
    if origin in _LISTS:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return "table"
    if hasattr(annotation, "__metadata__"):
        return _type_name(arguments[0])
    return _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


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
    if value is PydanticUndefined or value in (None, "", {}, ()):
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
