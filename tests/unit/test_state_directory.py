"""The state directory: private, atomic, one daemon at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jointrisk.errors import ConflictError, InvalidInputError, NotFoundError, RefusedError
from jointrisk.statedir import StateDir


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A new state directory."""
    return StateDir.create(tmp_path / "home")


def mode(path: Path) -> int:
    """Return a path's permission bits."""
    return path.stat().st_mode & 0o777


def test_a_new_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """0700 for folders and 0600 for files, also where the umask would allow more or less."""
    before = os.umask(0)
    try:
        state = StateDir.create(tmp_path / "deep" / "home")
        written = state.write("keys/identity.sealed", b"x")
    finally:
        os.umask(before)
    assert [mode(path) for path in (state.root, written.parent, written)] == [0o700, 0o700, 0o600]


def test_making_it_again_keeps_what_is_there(state: StateDir) -> None:
    """`init` after a crash in `init` goes on."""
    state.write("node.toml", b"kept")
    assert StateDir.create(state.root).read("node.toml") == b"kept"


def test_an_empty_directory_is_taken_and_made_private(tmp_path: Path) -> None:
    """A folder made beforehand by mkdir serves."""
    tmp_path.chmod(0o755)
    assert mode(StateDir.create(tmp_path).root) == 0o700


def test_another_directory_is_not_taken(tmp_path: Path) -> None:
    """Files of others are neither used nor changed, nor is their folder's mode."""
    (tmp_path / "letter.txt").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(ConflictError, match="other files"):
        StateDir.create(tmp_path)
    assert (mode(tmp_path), [path.name for path in tmp_path.iterdir()]) == (0o755, ["letter.txt"])
    tmp_path.chmod(0o700)
    with pytest.raises(InvalidInputError, match="not a state directory"):
        StateDir(tmp_path)


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    """A path that is a file, or leads through one, is no state directory."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConflictError, match="got a file"):
            StateDir.create(path)


def test_an_absent_directory_is_told(tmp_path: Path) -> None:
    """Opening does not make one."""
    with pytest.raises(NotFoundError, match="absent"):
        StateDir(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("open_to", [0o750, 0o701, 0o704, 0o770])
def test_a_directory_open_to_others_is_refused(state: StateDir, open_to: int) -> None:
    """Keys may have been read there: a person has to look, so it is not quietly closed, by `create` neither."""
    state.root.chmod(open_to)
    for use in (StateDir, StateDir.create):
        with pytest.raises(RefusedError, match="open to other users") as caught:
            use(state.root)
    assert "chmod 700" in caught.value.remedy
    assert mode(state.root) == open_to


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(state: StateDir) -> None:
    """Its owner could change everything in it."""
    os.chown(state.root, 65534, 65534)
    with pytest.raises(RefusedError, match="another user"):
        StateDir(state.root)


@pytest.mark.parametrize("path", ["../escape", "/etc/passwd", "a/../../b", "", "."])
def test_paths_stay_inside(state: StateDir, path: str) -> None:
    """No name leads out of the directory, or to the directory itself."""
    for use in (state.path, state.read, state.remove, lambda where: state.write(where, b"x")):
        with pytest.raises(InvalidInputError, match="inside the state directory"):
            use(path)


def test_a_write_replaces_the_whole_file(state: StateDir) -> None:
    """The new content is there, the old is not, and nothing lies beside it."""
    state.write("runs/7/state.json", b"a long first content")
    path = state.write(state.path("runs", "7", "state.json"), b"short")
    assert state.read("runs/7/state.json") == b"short"
    assert [one.name for one in path.parent.iterdir()] == ["state.json"]


def test_a_write_that_fails_leaves_the_old_file(state: StateDir) -> None:
    """Where the new file cannot take its place, the old one stays and no scratch is left."""
    state.write("folder/kept", b"old")
    with pytest.raises(OSError, match="directory"):
        state.write("folder", b"new")
    assert state.read("folder/kept") == b"old"
    assert not list(state.root.glob("*.new"))
    assert not list(state.root.glob(".*.new"))


def test_a_reader_sees_the_old_file_or_the_new_one(state: StateDir) -> None:
    """A process killed at any moment of writing leaves one of the two contents, whole."""
    contents = {bytes([65 + number]) * 300_000 for number in range(2)}
    state.write("big", min(contents))
    script = (
        "import sys; from pathlib import Path; from jointrisk.statedir import StateDir\n"
        "state = StateDir(Path(sys.argv[1])); print('ready', flush=True)\n"
        "while True:\n    for letter in b'AB': state.write('big', bytes([letter]) * 300_000)\n"
    )
    for pause in (0.01, 0.013, 0.017):
        writer = subprocess.Popen([sys.executable, "-c", script, str(state.root)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        try:
            writer.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert state.read("big") in contents


def test_leftovers_of_a_crash_go_when_the_daemon_takes_the_lock(state: StateDir) -> None:
    """Half-written files of a killed process do not pile up."""
    leftover = state.write("keys/kept", b"x").with_name(".kept.0123456789abcdef.new")
    leftover.write_bytes(b"half")
    with state.lock():
        assert not leftover.exists()
    assert state.read("keys/kept") == b"x"


def test_reading_and_removing(state: StateDir) -> None:
    """A missing file is named; removing is done once or twice alike."""
    state.write("one", b"x")
    state.remove("one")
    state.remove("one")
    with pytest.raises(NotFoundError, match="one"):
        state.read("one")


def test_one_daemon_at_a_time(state: StateDir) -> None:
    """The second is told the first one's process id; after the first, the next can start."""
    with state.lock(), pytest.raises(ConflictError, match=rf"\b{os.getpid()}\b"), StateDir(state.root).lock():
        pass
    with state.lock():
        pass


def test_the_lock_ends_with_its_process(state: StateDir) -> None:
    """Kill -9 leaves no lock behind."""
    script = (
        "import sys, os; from pathlib import Path; from jointrisk.statedir import StateDir\n"
        "with StateDir(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(state.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match=str(holder.pid)), state.lock():
            pass
        holder.kill()
        holder.wait()
        with state.lock():
            pass


def test_the_lock_does_not_pass_to_children(state: StateDir) -> None:
    """A worker that outlives its daemon does not keep the next daemon out."""
    with state.lock():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], close_fds=False)
    try:
        with state.lock():
            pass
    finally:
        child.kill()
        child.wait()
