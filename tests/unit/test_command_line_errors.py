"""What people get wrong before any daemon is there: each is said in a line, with what to do and a documented code."""

import os
import re
from pathlib import Path

import pytest

from command_in_process import jointrisk
from jointrisk.settings import load_toml
from jointrisk_coordinator.settings import CoordinatorSettings

HEADS = {"coordinator": "[federation]\nname = 'local'\n", "node": ""}
SETTINGS = [
    ("coordinator", "[listen]\nadress = 'x:1'\n", "listen.adress: unknown key, did you mean address"),
    ("coordinator", "[trainings]\nlease = '3s'\n", "trainings: unknown key, did you mean training"),
    ("coordinator", "[training]\nlease = 30\n", "training.lease: expected a duration"),
    ("coordinator", "[store]\nurls = 'x'\n", "store.urls: unknown key, did you mean url"),
    ("node", "[policy]\nminimum_partys = 3\n", "policy.minimum_partys: unknown key, did you mean minimum_parties"),
    ("node", "[data]\nsource = 'loans.xls'\n", "data.source: expected a file or pattern"),
    ("node", "polic = 3\n", "polic: unknown key, did you mean policy"),
    ("node", "[data\n", "is not TOML"),
]


def make(role: str, home: Path) -> tuple[object, ...]:
    """Return the words that make a state directory."""
    more = ("--name", "local") if role == "coordinator" else ()
    return (role, "--home", home, "init", *more, "--new-master-key", home.parent / "master.key")


@pytest.mark.parametrize(("role", "toml", "said"), SETTINGS)
def test_a_wrong_settings_file_is_refused_by_its_key(tmp_path: Path, role: str, toml: str, said: str) -> None:
    """The daemon does not start on something that nobody meant."""
    home = tmp_path / "home"
    assert jointrisk(*make(role, home)).code == 0
    (home / f"{role}.toml").write_text(HEADS[role] + toml)
    jointrisk(role, "--home", home, "run").require_refusal(2, f"{role}.toml.*{re.escape(said)}")


@pytest.mark.parametrize("role", ["coordinator", "node"])
def test_a_home_that_is_none_is_said(tmp_path: Path, role: str) -> None:
    """Missing, another folder, a file: no state is made or touched, and the way on is named."""
    (tmp_path / "thesis.txt").write_text("mine")
    for home in (tmp_path / "missing", tmp_path, tmp_path / "thesis.txt"):
        jointrisk(role, "--home", home, "run").require_refusal(3, rf"no {role} at .*\n.*init")
        jointrisk(role, "--home", home, "audit", "list").require_refusal(3, f"no {role} at")
        gone = rf"no {role} daemon runs for .*\n.*Start it with `jointrisk {role} --home .* run`"
        jointrisk(role, "--home", home, "status").require_refusal(7, gone)
    for home in (tmp_path, tmp_path / "thesis.txt"):
        jointrisk(*make(role, home)).require_refusal(4, "expected .*, got .*file")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("role", ["coordinator", "node"])
def test_a_home_is_made_once_and_stays_private(tmp_path: Path, role: str) -> None:
    """A second `init` changes nothing; a directory that others could have read is refused; roles are told apart."""
    home = tmp_path / "home"
    assert jointrisk(*make(role, home)).code == 0
    jointrisk(*make(role, home)).require_refusal(4, f"there is a {role} at .* already")
    other = {"coordinator": "node", "node": "coordinator"}[role]
    jointrisk(other, "--home", home, "run").require_refusal(3, f"no {other} at")
    home.chmod(0o755)
    jointrisk(role, "--home", home, "run").require_refusal(5, "open to other users")


WORDS = [
    ("join", 2, "Missing argument"),
    ("run --master-key-fd 99999", 2, "file descriptor 99999 to be open"),
    ("run --master-key-fd x", 2, "not a valid integer"),
    ("frobnicate", 2, "No such command"),
    ("data check", 3, "no feature contract of its federation yet"),
    ("data check --contract /nowhere.toml", 2, "does not exist"),
    ("audit verify --key zz", 2, "identity key of 64 hex characters, got 2"),
    ("audit list --last 0", 2, "0 is not in the range"),
]


@pytest.mark.parametrize(("words", "code", "said"), WORDS)
def test_wrong_words_are_said(tmp_path: Path, words: str, code: int, said: str) -> None:
    """The word that is wrong, and the code for bad input or what is not there."""
    home = tmp_path / "home"
    assert jointrisk(*make("node", home)).code == 0
    jointrisk("node", "--home", home, *words.split()).require_refusal(code, said)


def test_a_mistyped_token_is_said_to_be_mistyped(tmp_path: Path) -> None:
    """Before anything is sent."""
    home = tmp_path / "home"
    assert jointrisk(*make("node", home)).code == 0
    for word in ("hello", "jointrisk-AAAA", "-".join(["x"] * 500)):
        descriptor = os.open(tmp_path / "master.key", os.O_RDONLY)  # the command closes it
        ended = jointrisk("node", "--home", home, "join", word, "--master-key-fd", descriptor)
        ended.require_refusal(2, "invitation token is mistyped or cut")
        assert word not in ended.err


def test_names_that_are_none_are_said_whatever_is_in_them(tmp_path: Path) -> None:
    """What a person types is a value in the settings file, never a part of it."""
    home, key = tmp_path / "home", tmp_path / "master.key"
    for name in ("Not A Name", 'a"\nb', 'a"\n[store]\nurl = "x'):
        ended = jointrisk("coordinator", "--home", home, "init", "--name", name, "--new-master-key", key)
        ended.require_refusal(2, "federation.name: expected match pattern")
    host = ("--public-host", 'x"\n[store]\nurl = "postgresql://elsewhere')
    made = jointrisk("coordinator", "--home", home, "init", "--name", "a", *host, "--new-master-key", key)
    assert made.code == 0, "a host is any text"
    settings = load_toml(home / "coordinator.toml", CoordinatorSettings)
    assert (settings.store.url, settings.listen.public_host) == ("", host[1])


def test_files_that_cannot_be_read_or_written_are_said(tmp_path: Path) -> None:
    """Not with the interpreter's own words for it."""
    (tmp_path / "latin").write_bytes(b"rounds = 3 # \xe9")
    home = ("coordinator", "--home", tmp_path)
    jointrisk(*home, "runs", "start", "--settings", tmp_path / "latin").require_refusal(2, "latin cannot be read: not")
    jointrisk(*home, "contract", "publish", tmp_path / "latin").require_refusal(2, "latin cannot be read: not UTF-8")
    sample = tmp_path / "sample.csv"
    sample.write_text("income,bad\n1.5,0\n2.5,1\n")
    draft = (*home, "contract", "draft", sample, "--out")
    jointrisk(*draft, tmp_path / "missing" / "x.toml").require_refusal(3, "expected a folder .*missing for the draft")
    jointrisk(*draft, sample).require_refusal(4, "exists already")
