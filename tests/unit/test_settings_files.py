"""Settings in TOML: what is read, what is refused, and what a refusal says."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from jointrisk.errors import InvalidInputError, NotFoundError
from jointrisk.settings import Duration, Settings, format_duration, load_toml, parse_duration, parse_toml

MARKER = "planted-7f3a"


class Rounds(Settings):
    """A table of the sample."""

    quorum: int = Field(3, ge=2)
    deadline: Duration = timedelta(minutes=5)


class Sample(Settings):
    """A sample of settings."""

    name: str
    rounds: Rounds = Rounds()
    database: str = ""
    passphrase: str = ""
    members: tuple[Rounds, ...] = ()

    @field_validator("database", "passphrase")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 10:
            raise ValueError("expected at most 10 characters")
        return value


def refusal(text: str) -> InvalidInputError:
    """Return what refuses this text."""
    with pytest.raises(InvalidInputError) as caught:
        parse_toml(text, Sample, "node.toml")
    return caught.value


def test_a_file_is_read(tmp_path: Path) -> None:
    """Values and defaults come back typed."""
    path = tmp_path / "node.toml"
    path.write_text('name = "银行"\n[rounds]\ndeadline = "90s"\n', encoding="utf-8")
    assert load_toml(path, Sample) == Sample(name="银行", rounds=Rounds(deadline=timedelta(seconds=90)))


def test_settings_do_not_change() -> None:
    """What was checked stays as it was."""
    with pytest.raises(ValidationError):
        Sample(name="x").name = "y"  # type: ignore[misc]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path is in the message, and what to do in the remedy."""
    with pytest.raises(NotFoundError, match=r"absent\.toml") as caught:
        load_toml(tmp_path / "absent.toml", Sample)
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = ", b"name = 1\nname = 2"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """Neither other encodings nor half a line come through, and the path is in the message."""
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"bad\.toml"):
        load_toml(tmp_path / "bad.toml", Sample)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    """What cannot be read is said with its reason."""
    with pytest.raises(InvalidInputError, match="directory"):
        load_toml(tmp_path, Sample)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "node.toml: name: expected a value, got none"),
        ('name = "x"\nnmae = 1', "nmae: unknown key, did you mean name?"),
        ('name = "x"\n[rounds]\nquroum = 3', "rounds.quroum: unknown key, did you mean quorum?"),
        ('name = "x"\n[rounds]\nxyz = 3', "rounds.xyz: unknown key, expected one of deadline, quorum"),
        ('name = "x"\n[rounds]\nquorum = 1', "rounds.quorum: expected greater than or equal to 2, got 1"),
        ('name = "x"\n[rounds]\nquorum = "many"', "rounds.quorum: expected a valid integer"),
        ('name = "x"\n[rounds]\ndeadline = 30', 'rounds.deadline: expected a duration such as "30d"'),
        ('name = "x"\n[rounds]\ndeadline = "30"', "got '30'"),
        ("name = []", "name: expected a valid string, got a list"),
        ('name = "x"\n[[members]]\n[[members]]\nquorum = 0', "members[1].quorum: expected greater"),
    ],
)
def test_a_breach_names_key_expectation_and_what_was_got(text: str, said: str) -> None:
    """The message can be acted on without reading the program."""
    assert said in refusal(text).message


def test_all_breaches_are_told_at_once() -> None:
    """Nobody corrects one key a run."""
    message = refusal("[rounds]\nquorum = 0\nxyz = 1").message
    assert all(part in message for part in ("name:", "rounds.quorum:", "rounds.xyz:"))


def test_very_many_breaches_are_counted() -> None:
    """The message stays readable."""
    message = refusal('name = "x"\n' + "\n".join(f"unknown_{number} = 1" for number in range(30))).message
    assert message.count("unknown key") == 10
    assert message.endswith("and 20 more")


@pytest.mark.parametrize(
    "text",
    [
        f'name = "x"\npassphrase = "{MARKER}"',
        f'name = "x"\ndatabase = "postgresql://u:{MARKER}@h/d"',
        f'name = "x"\nrounds = "{MARKER * 20}"',
        f'name = "x"\npassphrase = ["{MARKER}"]',
        f'name = ["{MARKER}"]',
    ],
)
def test_what_could_be_secret_is_not_shown(text: str) -> None:
    """Sensitive names, addresses with passwords and long values are not repeated, nor in an error behind."""
    error = refusal(text)
    assert MARKER not in f"{error.message}{error.remedy}"
    assert error.__suppress_context__


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0s", timedelta()),
        ("500ms", timedelta(milliseconds=500)),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    """Every unit is read."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "1.5h", "1 h", "1h30m", "1w", "٣s", "01s", "9" * 30 + "d", "9" * 12 + "d"]
)
def test_other_durations_are_refused(text: str) -> None:
    """One form only, so that nobody guesses."""
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.integers(0, 900 * 24 * 3600 * 1000))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    """Writing and reading again gives the same duration."""
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("duration", [timedelta(microseconds=1), timedelta(seconds=-1)])
def test_a_duration_without_a_form_is_refused(duration: timedelta) -> None:
    """What could not be read again is not written."""
    with pytest.raises(ValueError, match="whole milliseconds"):
        format_duration(duration)


def test_a_duration_in_a_model_is_written_with_its_unit() -> None:
    """A dump of settings can be put into a file again."""
    assert Rounds(deadline=timedelta(hours=36)).model_dump()["deadline"] == "36h"
