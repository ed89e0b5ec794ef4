"""Logs: one stream, one form, and nothing in it that must not be logged."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from jointrisk.logs import LogSettings, configure_logging

MARKER = "planted-7f3a"
OURS = "jointrisk_node.sample"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was: it belongs to the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the entries on standard error, and make sure that standard output has none."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_entry_is_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Event, fields, logger, level and time in UTC, also where the text has line ends."""
    configure_logging("info", "json")
    structlog.get_logger(OURS).info("round ended", number=3, note="two\nlines 信用")
    (entry,) = logged(capsys)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "round ended", "number": 3, "note": "two\nlines 信用", "logger": OURS, "level": "info",
    }  # fmt: skip


def test_entries_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The settings decide for our loggers; libraries write from warnings on."""
    configure_logging("warning", "json")
    structlog.get_logger(OURS).info("no")
    structlog.get_logger(OURS).warning("yes")
    configure_logging("debug", "json")
    structlog.get_logger(OURS).debug("yes")
    logging.getLogger("some.library").info("no")
    logging.getLogger("some.library").warning("yes")
    assert [entry["event"] for entry in logged(capsys)] == ["yes", "yes", "yes"]


@pytest.mark.parametrize("name", ["token", "secret", "passphrase", "signing_key", "key_material", "label", "score"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_sensitive_fields_are_taken_out(capsys: pytest.CaptureFixture[str], name: str, form: Any) -> None:
    """At the top, within other fields, bound to the logger or to the context; the name says what is missing."""
    configure_logging("info", form)
    structlog.contextvars.bind_contextvars(**{name: MARKER})
    structlog.get_logger(OURS).bind(**{name: MARKER}).info(
        "joined", member_id="bank", **{name: MARKER}, request={"kept": 1, "parts": [{name: MARKER}, ({name: MARKER},)]}
    )
    written = capsys.readouterr().err
    assert MARKER not in written
    assert "bank" in written
    assert f"request.parts.{name}" in written


def test_raw_bytes_are_taken_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes under any name: whatever is not text is a key, a message or a model."""
    configure_logging("info", "json")
    structlog.get_logger(OURS).info("got", payload=MARKER.encode(), parts=[MARKER.encode(), {"x": memoryview(b"y")}])
    (entry,) = logged(capsys)
    assert MARKER not in json.dumps(entry)
    assert entry["dropped_fields"] == ["parts", "parts.x", "payload"]


def test_fields_of_libraries_are_cleaned_too(capsys: pytest.CaptureFixture[str]) -> None:
    """What a library passes as ``extra`` goes the same way."""
    configure_logging("info", "json")
    logging.getLogger("some.library").warning("sent %d bytes", 5, extra={"password": MARKER, "peer": "bank"})
    (entry,) = logged(capsys)
    assert MARKER not in json.dumps(entry)
    assert (entry["event"], entry["peer"], entry["dropped_fields"]) == ("sent 5 bytes", "bank", ["password"])


def test_exceptions_are_written_without_the_values_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback names lines, not what variables held; in both forms, from both kinds of logger."""
    for form in ("json", "console"):
        configure_logging("info", form)
        for logger in (structlog.get_logger(OURS), logging.getLogger("some.library")):
            _fail_and_log(logger)
            written = capsys.readouterr().err
            assert "ZeroDivisionError" in written
            assert MARKER not in written


def _fail_and_log(logger: Any) -> None:
    held = "-".join(MARKER.split("-"))  # a variable of the failing frame
    try:
        len(held) // 0
    except ZeroDivisionError:
        logger.exception("failed")


def test_setting_up_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The later call replaces the earlier one."""
    configure_logging("info", "json")
    configure_logging("info", "json")
    structlog.get_logger(OURS).info("once")
    assert len(logged(capsys)) == 1


@pytest.mark.parametrize("settings", [{"level": "loud"}, {"format": "xml"}, {"file": "x"}])
def test_other_settings_are_refused(settings: dict[str, str]) -> None:
    """Levels and formats are a fixed list."""
    with pytest.raises(ValidationError):
        LogSettings.model_validate(settings)
