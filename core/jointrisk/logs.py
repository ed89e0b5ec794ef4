"""Logs: structured, to standard error, with fields that must not be logged taken out.

Loggers of libraries go the same way, so that one stream in one form is all there is. Standard output is for answers.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

import structlog
from pydantic import Field
from structlog.typing import EventDict, Processor, WrappedLogger

from jointrisk.sensitive import is_sensitive
from jointrisk.settings import Settings

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]

DROPPED_FIELD: Final = "dropped_fields"
"""Names the fields that `drop_sensitive` took out of an entry, so that their authors notice."""


class LogSettings(Settings):
    """What the daemon logs, and how."""

    level: Level = Field("info", description="The least severe entries that are written.")
    format: Format = Field("json", description="`json` for machines, one object a line; `console` for people.")


def configure_logging(level: Level, format: Format) -> None:  # noqa: A002 - the word in the settings file
    """Set up all logging of this process. A later call replaces an earlier one.

    Args:
        level: the least severe entries that are written; libraries write warnings and errors only.
        format: ``json`` or ``console``.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=_last(format)),
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("jointrisk", "jointrisk_node", "jointrisk_coordinator"):
        logging.getLogger(ours).setLevel(level.upper())


def drop_sensitive(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Take out, at any depth, every field whose name is sensitive, and all raw bytes; name what was taken out."""
    dropped: set[str] = set()
    cleaned: EventDict = _cleaned(entry, "", dropped)
    if dropped:
        cleaned[DROPPED_FIELD] = sorted(dropped)
    return cleaned


def _cleaned(fields: Mapping[str, Any], under: str, dropped: set[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        place = f"{under}{name}"
        if is_sensitive(str(name)) or _is_raw(value):
            dropped.add(place)
        else:
            kept[name] = _cleaned_value(value, place, dropped)
    return kept


def _cleaned_value(value: Any, place: str, dropped: set[str]) -> Any:
    if isinstance(value, Mapping):
        return _cleaned(value, f"{place}.", dropped)
    if isinstance(value, list | set | frozenset) or type(value) is tuple:
        if any(_is_raw(inner) for inner in value):
            dropped.add(place)
        return type(value)(_cleaned_value(inner, place, dropped) for inner in value if not _is_raw(inner))
    return value


def _is_raw(value: Any) -> bool:
    return isinstance(value, bytes | bytearray | memoryview)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        drop_sensitive,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _last(format: Format) -> list[Processor]:  # noqa: A002
    renderer: Processor = structlog.processors.JSONRenderer() if format == "json" else structlog.dev.ConsoleRenderer()
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
