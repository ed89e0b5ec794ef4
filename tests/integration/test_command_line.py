"""The command line as people meet it: help that is there at once, JSON that parses, errors that say what to do."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command_in_process import Ended, jointrisk
from lender_books import add_lender, run_settings
from local_federation import CommandFailedError, Daemon, LocalFederation

pytestmark = pytest.mark.federation

HEAVY = ("torch", "flwr", "grpc", "sqlalchemy", "alembic", "duckdb", "pyarrow", "numpy", "cryptography")
ISSUE = {
    "coordinator": "init, run, invite, members, remove, status, contract draft, contract publish, contract list, "
    "runs start, runs list, runs show, runs watch, runs cancel, audit verify",
    "node": "init, join, run, status, doctor, fingerprints, data check, members list, members approve, members accept, "
    "audit verify",
}
TREE = """
import contextlib, io, json, sys
import click
from jointrisk.cli import command

def walk(one, path):
    yield path, one
    if isinstance(one, click.Group):
        for name in one.list_commands(click.Context(one)):
            yield from walk(one.get_command(click.Context(one), name), [*path, name])

found = []
for path, one in walk(command, []):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        code = command.main([*path, "--help"], prog_name="jointrisk", standalone_mode=False)
    bare = [p.opts[0] for p in one.params if isinstance(p, click.Option) and not p.help]
    group = isinstance(one, click.Group)
    found.append({"path": path, "code": code, "help": shown.getvalue(), "bare": bare, "group": group})
print(json.dumps({"found": found, "heavy": [name for name in sys.argv[1:] if name in sys.modules]}))
"""


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    """Every command with its help, from a fresh interpreter, and which heavy modules that took."""
    done = subprocess.run([sys.executable, "-c", TREE, *HEAVY], capture_output=True, text=True, check=True)
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """A coordinator and one node, with one finished run."""
    root = tmp_path_factory.mktemp("commands")
    with LocalFederation(root / "f", founding_members=1, approvals_required=1) as made:
        made.init_coordinator()
        made.coordinator.start()
        add_lender(made, "bank")
        made.wait_online()
        assert made.run(run_settings("probe", members=1, rounds=1))["state"] == "done"
        yield made


def daemon(federation: LocalFederation, role: str) -> Daemon:
    """Return the daemon of a role."""
    return federation.coordinator if role == "coordinator" else federation.nodes["bank"]


def ask(federation: LocalFederation, role: str, *words: str) -> Ended:
    """Run a command against the daemon of a role."""
    return jointrisk(role, "--home", daemon(federation, role).home, *words)


def test_every_command_has_help_and_explains_its_options(tree: dict[str, Any]) -> None:
    """Also the issue's list of commands is there."""
    found = {" ".join(one["path"]): one for one in tree["found"]}
    for name, one in found.items():
        assert (one["code"], one["bare"]) == (0, []), name
        text = one["help"].split("\n\n")
        assert text[0].startswith("Usage: jointrisk"), name
        assert text[1].strip(), f"{name} says what it does"
    wanted = {f"{role} {name}" for role, names in ISSUE.items() for name in names.split(", ")}
    assert wanted - set(found) == set()


def test_help_loads_nothing_heavy(tree: dict[str, Any]) -> None:
    """Neither torch nor Flower nor gRPC nor the database: `jointrisk --help` is there at once."""
    assert len(tree["found"]) > 30
    assert tree["heavy"] == []


def test_every_list_prints_json(tree: dict[str, Any], federation: LocalFederation) -> None:
    """Whatever lists something, now or later, does it for programs too; and says something when there is nothing."""
    lists = [one["path"] for one in tree["found"] if one["path"][-1:] in (["list"], ["members"]) and not one["group"]]
    assert len(lists) >= 6
    for role, *words in lists:
        answer = json.loads(ask(federation, role, *words, "--json").out)
        entries = answer if isinstance(answer, list) else next(iter(answer.values()))
        assert isinstance(entries, list), words
        shown = ask(federation, role, *words)
        assert (shown.code, bool(shown.out.strip()), shown.err) == (0, True, "")


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("coordinator", "status"), ("coordinator", "invite another"), ("coordinator", "audit verify"),
        ("node", "status"), ("node", "fingerprints"), ("node", "audit verify"),
    ],
)  # fmt: skip
def test_answers_print_json(federation: LocalFederation, role: str, words: str) -> None:
    """As lists do."""
    assert isinstance(json.loads(ask(federation, role, *words.split(), "--json").out), dict)


def test_runs_are_shown_and_followed(federation: LocalFederation) -> None:
    """By an unambiguous beginning of the id; a run that has ended is not waited for."""
    (run,) = json.loads(ask(federation, "coordinator", "runs", "list", "--json").out)["runs"]
    for verb in ("show", "watch"):
        by_beginning = ask(federation, "coordinator", "runs", verb, run["run_id"][:8], "--json")
        assert (by_beginning.code, json.loads(by_beginning.out)["arrays_sha256"]) == (0, run["arrays_sha256"])
        shown = ask(federation, "coordinator", "runs", verb, run["run_id"])
        assert (shown.code, "round 1, at most 1 a stage" in shown.out, "bank" in shown.out) == (0, True, True)


RUNS = [
    ("rounds = ", 2, "is not TOML"),
    ("round = 3", 2, "round: unknown key, did you mean rounds"),
    ("rounds = 0", 2, "rounds: expected greater than or equal to 1, got 0"),
    ('task = "mining"', 2, 'task.*"?mining'),
    ('task = "probe"\n[task_settings]\nhidden = 3', 2, "hidden: unknown key"),
    ('task = "probe"\nstrategy = "fedsgd"', 2, "fedsgd"),
    ('task = "probe"\nmembers = ["nobody"]', 2, "not in the roster: nobody"),
    ('task = "probe"\nminimum_members = 2', 4, "at least 2 members are wanted, there are 1"),
    ("minimum_members = 1", 4, "a secure sum takes at least 3 members, there are 1"),
    ('minimum_members = 1\naggregation = "plain"', 4, "needs a feature contract and none is published"),
]


@pytest.mark.parametrize(("toml", "code", "said"), RUNS)
def test_wrong_run_settings_start_nothing(
    federation: LocalFederation, tmp_path: Path, toml: str, code: int, said: str
) -> None:
    """The key, what was expected, what was got."""
    path = tmp_path / "run.toml"
    path.write_text(toml)
    ask(federation, "coordinator", "runs", "start", "--settings", str(path)).require_refusal(code, said)
    assert len(json.loads(ask(federation, "coordinator", "runs", "list", "--json").out)["runs"]) == 1


UNKNOWN = [
    ("coordinator", "runs show probe-nothing", 3, "no run"),
    ("coordinator", "runs watch probe-nothing", 3, "no run"),
    ("coordinator", "runs cancel probe-nothing", 3, "no run"),
    ("coordinator", "runs cancel probe", 4, "has ended"),
    ("coordinator", "runs start --settings /nowhere.toml", 2, "does not exist"),
    ("coordinator", "remove nobody --reason left", 3, "nobody"),
    ("coordinator", "invite Not_A_Name", 2, "name"),
    ("coordinator", "invite bank", 4, "bank"),
    ("coordinator", "frobnicate", 2, "No such command"),
    ("node", "members approve nobody --fingerprint 00", 3, "nobody"),
    ("node", "members accept nobody --fingerprint 00", 3, "nobody"),
    ("node", "data check", 3, "no feature contract"),
]


@pytest.mark.parametrize(("role", "words", "code", "said"), UNKNOWN)
def test_what_is_not_there_is_named(federation: LocalFederation, role: str, words: str, code: int, said: str) -> None:
    """A line that names it, and the documented exit code."""
    ask(federation, role, *words.split()).require_refusal(code, said)


def test_a_bad_contract_is_refused_by_its_key(federation: LocalFederation, tmp_path: Path) -> None:
    """Nothing is published."""
    path = tmp_path / "contract.toml"
    for text, said in (("title = 'x'\nfeature = []\n", "feature: unknown key"), ("title", "is not TOML")):
        path.write_text(text)
        ask(federation, "coordinator", "contract", "publish", str(path)).require_refusal(2, said)
    assert json.loads(ask(federation, "coordinator", "contract", "list", "--json").out)["contracts"] == []


def test_a_token_with_a_wrong_character_is_said_to_be_mistyped(federation: LocalFederation) -> None:
    """Before anything is sent; and nothing of the token is repeated."""
    token = federation.invite("late")
    node = federation.add_node("late", join=False)
    for word in (token[:40] + ("A" if token[40] != "A" else "B") + token[41:], token[:-3]):
        with pytest.raises(CommandFailedError, match="mistyped or cut") as caught:
            node.command("join", word, with_key=True)
        assert (caught.value.code, word in caught.value.stderr) == (2, False)
        assert "Traceback" not in caught.value.stderr


def test_a_daemon_that_was_killed_is_said_to_be_gone(federation: LocalFederation) -> None:
    """Its socket still lies there; the next start takes its place."""
    node = federation.nodes["bank"]
    node.kill()
    assert (node.home / "operator.sock").exists()
    ask(federation, "node", "status").require_refusal(7, "no node daemon runs")
    node.start()
    federation.wait_online("bank")


def test_a_port_that_is_taken_is_named(federation: LocalFederation, tmp_path: Path) -> None:
    """A second coordinator on the first one's address."""
    address = json.loads(ask(federation, "coordinator", "status", "--json").out)["address"]
    second = LocalFederation(tmp_path / "f")
    second.init_coordinator()
    settings = second.coordinator.home / "coordinator.toml"
    settings.write_text(re.sub(r'^address = ".*"', f'address = "{address}"', settings.read_text(), flags=re.MULTILINE))
    with pytest.raises(CommandFailedError, match=address) as caught:
        second.coordinator.command("run", with_key=True)
    assert (caught.value.code, "Traceback" in caught.value.stderr) == (4, False)
