"""Where the master key comes from: a file of its own, a systemd credential, a passphrase. Never from the state."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_federation import wait_until
from terminal import Terminal

pytestmark = pytest.mark.federation

PASSPHRASE = "vivid-otter-plays-cello-at-dawn"
CREDENTIAL = "jointrisk-master-key"
_PLAIN = (b"PRIVATE KEY", b"BEGIN OPENSSH")


def jointrisk(
    *arguments: object, descriptor: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "jointrisk.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        pass_fds=() if descriptor is None else (descriptor,),
        env=os.environ | environment,
        timeout=60,
        check=False,
    )


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal() -> Iterator[OpenTerminal]:
    """Runs commands on pseudo terminals; none outlives the test."""
    opened: list[Terminal] = []

    def run(*arguments: object) -> Terminal:
        opened.append(Terminal("-m", "jointrisk.cli", *arguments))
        return opened[-1]

    yield run
    for one in opened:
        one.abandon()


def init_words(role: str) -> tuple[str, ...]:
    """Return what makes a state directory of a role, but for its master key."""
    if role == "node":
        return ("init",)
    return ("init", "--name", "local", "--address", "127.0.0.1:0", "--join-address", "127.0.0.1:0")


@contextmanager
def running(home: Path, *options: str, descriptor: int | None = None, **environment: str) -> Iterator[None]:
    """Run a coordinator's daemon for the time of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jointrisk.cli", "coordinator", "--home", str(home), "run", *options],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=() if descriptor is None else (descriptor,),
        env=os.environ | environment,
    )
    try:
        wait_until(lambda: (home / "operator.sock").exists() or process.poll() is not None, "the daemon")
        assert process.poll() is None, process.communicate()[1].decode()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def assert_sealed(home: Path, *secrets: bytes) -> None:
    """No private key lies unsealed under a state directory, and none of the secrets."""
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert any(path.suffix == ".sealed" for path in files)
    for path, content in files.items():
        for secret in (*_PLAIN, *secrets):
            assert secret not in content, path


def test_a_key_file_of_its_own_opens_the_state(tmp_path: Path) -> None:
    """`init --new-master-key` writes 64 hex characters, 0600, outside; `run` takes them from a descriptor."""
    home, key = tmp_path / "home", tmp_path / "master.key"
    made = jointrisk("coordinator", "--home", home, *init_words("coordinator"), "--new-master-key", key)
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"[0-9a-f]{64}\n", key.read_text())
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().strip() not in made.stdout + made.stderr
    descriptor = os.open(key, os.O_RDONLY)
    with running(home, "--master-key-fd", str(descriptor), descriptor=descriptor):
        os.close(descriptor)
        assert jointrisk("coordinator", "--home", home, "status").returncode == 0
    assert_sealed(home, key.read_bytes().strip(), bytes.fromhex(key.read_text()))


@pytest.mark.parametrize(
    ("role", "place"), [("coordinator", "master.key"), ("node", "keys/../master.key"), ("node", "link/master.key")]
)
def test_a_key_file_under_the_state_directory_is_refused(tmp_path: Path, role: str, place: str) -> None:
    """Also by detours; nothing is left behind, so that the command can be given again."""
    home = tmp_path / "home"
    (tmp_path / "link").symlink_to(home)
    path = tmp_path / place if place.startswith("link") else home / place
    refused = jointrisk(role, "--home", home, *init_words(role), "--new-master-key", path)
    assert refused.returncode == 2
    assert "expected the master key outside" in refused.stderr
    again = jointrisk(role, "--home", home, *init_words(role), "--new-master-key", tmp_path / "good.key")
    assert again.returncode == 0, again.stderr
    assert not list(home.rglob("master.key"))


def test_a_key_file_is_never_written_over(tmp_path: Path) -> None:
    """It may be another state directory's only key."""
    key = tmp_path / "master.key"
    key.write_text("precious")
    refused = jointrisk("node", "--home", tmp_path / "home", "init", "--new-master-key", key)
    assert refused.returncode == 4
    assert key.read_text() == "precious"


def test_a_systemd_credential_opens_the_state(tmp_path: Path) -> None:
    """As `LoadCredential=` gives it: a file in $CREDENTIALS_DIRECTORY. Another key is refused."""
    home, given, other = tmp_path / "home", tmp_path / "given", tmp_path / "other"
    for folder in (given, other):
        folder.mkdir()
        (folder / CREDENTIAL).write_bytes(os.urandom(32))
    words = ("coordinator", "--home", home)
    made = jointrisk(*words, *init_words("coordinator"), CREDENTIALS_DIRECTORY=str(given))
    assert made.returncode == 0, made.stderr
    with running(home, CREDENTIALS_DIRECTORY=str(given)):
        assert jointrisk(*words, "status").returncode == 0
    refused = jointrisk(*words, "run", CREDENTIALS_DIRECTORY=str(other))
    assert (refused.returncode, "does not open" in refused.stderr) == (5, True)
    assert_sealed(home, (given / CREDENTIAL).read_bytes())
    (given / CREDENTIAL).write_bytes(b"too short")
    broken = jointrisk(*words, "run", CREDENTIALS_DIRECTORY=str(given))
    assert (broken.returncode, "32 raw bytes or 64 hex characters" in broken.stderr) == (2, True)


def test_a_passphrase_typed_on_a_terminal_opens_the_state(tmp_path: Path, terminal: OpenTerminal) -> None:
    """Asked twice when it is new, once later; never echoed, never kept; a wrong one is refused."""
    home = tmp_path / "home"
    words = ("coordinator", "--home", home)
    making = terminal(*words, *init_words("coordinator"))
    making.expect("New passphrase")
    making.type(PASSPHRASE)
    making.expect("Repeat")
    making.type(PASSPHRASE)
    assert making.end() == 0, making.shown

    wrong = terminal(*words, "run")
    wrong.expect("Passphrase of this state directory")
    wrong.type(PASSPHRASE.upper())
    assert wrong.end() == 5
    assert "does not open" in wrong.shown

    right = terminal(*words, "run")
    right.expect("Passphrase of this state directory")
    right.type(PASSPHRASE)
    right.expect("daemon.ready")
    assert right.end(signal.SIGTERM) == 0
    assert PASSPHRASE not in making.shown + wrong.shown + right.shown
    assert_sealed(home, PASSPHRASE.encode())


@pytest.mark.parametrize(("typed", "said"), [("short", "at least 12 characters"), (PASSPHRASE, "do not match")])
def test_a_new_passphrase_must_be_long_and_typed_twice_alike(
    tmp_path: Path, terminal: OpenTerminal, typed: str, said: str
) -> None:
    """A short one ends the command; two different ones are asked for again."""
    making = terminal("node", "--home", tmp_path / "home", "init")
    making.expect("New passphrase")
    making.type(typed)
    making.expect("Repeat")
    making.type(typed if typed == "short" else typed + "!")
    making.expect(said)
    if typed != "short":
        making.shown = making.shown.partition(said)[2]
        making.expect("New passphrase")
    assert making.end(signal.SIGINT) in (2, 130, -signal.SIGINT)
    assert not (tmp_path / "home" / "node.toml").exists()


def test_without_any_key_and_terminal_a_command_says_what_to_give(tmp_path: Path) -> None:
    """A service that was set up without a credential must not hang."""
    made = jointrisk("node", "--home", tmp_path / "home", "init")
    assert made.returncode == 2
    assert "no --master-key-fd, no systemd credential, and no terminal" in made.stderr
    assert "--master-key-fd 3 3<KEYFILE" in made.stderr
