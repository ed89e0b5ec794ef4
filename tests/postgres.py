"""A PostgreSQL server of a test's own, started from the machine's binaries.

``postgres`` refuses to run as root, so under root it runs as an unprivileged user in a directory that this user owns.
It listens on a free loopback port and wants a password, as a lender's warehouse does.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dying_with_parent import dying_with_parent

PASSWORD = "kept-out-of-every-message"
_START_SECONDS = 30.0
_ATTEMPTS = 3


def find_postgres() -> Path | None:
    """Return the directory with ``initdb`` and ``postgres``, or None where PostgreSQL is not installed."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major, reverse=True)
    on_path = shutil.which("postgres")
    candidates = [*packaged, *([Path(on_path).parent] if on_path else [])]
    return next((found for found in candidates if (found / "initdb").exists()), None)


@contextmanager
def private_postgres(tmp_path: Path | None = None) -> Iterator[str]:
    """Run a server and yield its URL, ``postgresql://jointrisk:PASSWORD@127.0.0.1:PORT/postgres``.

    Skips the test where the machine has no PostgreSQL, or fails it where JOINTRISK_REQUIRE_POSTGRESQL=1 demands one.
    The server and its files are gone afterwards.

    Args:
        tmp_path: where its files go when not root; under root they go where the unprivileged user can enter.
    """
    binaries = find_postgres()
    if binaries is None:
        missing = "no PostgreSQL binaries on this machine (Debian: apt-get install postgresql)"
        demanded = os.environ.get("JOINTRISK_REQUIRE_POSTGRESQL", "0") not in ("", "0")
        (pytest.fail if demanded else pytest.skip)(missing)
    user = _unprivileged_user() if os.geteuid() == 0 else ""
    home = Path(tempfile.mkdtemp(prefix="jointrisk-pg-", dir=None if user else tmp_path))
    if user:
        shutil.chown(home, user)
    try:
        _make_cluster(binaries, home, user)
        server, port = _start(binaries, home, user)
        try:
            yield _url(port)
        finally:
            _stop(server)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _major(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdigit() else 0


def _unprivileged_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _make_cluster(binaries: Path, home: Path, user: str) -> None:
    password = home / "password"
    password.write_text(PASSWORD)
    if user:
        shutil.chown(password, user)
    command = [str(binaries / "initdb"), "-D", str(home / "data"), "-U", "jointrisk", "--pwfile", str(password)]
    command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(dying_with_parent(command, user=user), capture_output=True, cwd=home, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _start(binaries: Path, home: Path, user: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start on a free port; another process can take it in between, so a few ports are tried."""
    for _ in range(_ATTEMPTS):
        port = _free_port()
        command = [str(binaries / "postgres"), "-D", str(home / "data"), "-k", str(home), "-F"]
        command += ["-h", "127.0.0.1", "-p", str(port)]
        command = dying_with_parent(command, by=signal.SIGQUIT, user=user)
        with (home / "log").open("ab") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
        if _ready(server, port):
            return server, port
        _stop(server)
    raise AssertionError((home / "log").read_text())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _url(port: int) -> str:
    return f"postgresql://jointrisk:{PASSWORD}@127.0.0.1:{port}/postgres"


def _ready(server: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(_url(port), connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End it at once (immediate shutdown): its data is thrown away."""
    if server.poll() is None:
        server.send_signal(signal.SIGQUIT)
    server.wait(timeout=20)
