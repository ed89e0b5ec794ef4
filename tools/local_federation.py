"""A federation on this machine: a coordinator and nodes as real processes on free loopback ports.

The demo, the integration tests and the benchmarks all start their federations with this, through the command line
that people use.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dying_with_parent import dying_with_parent


class CommandFailedError(RuntimeError):
    """A ``jointrisk`` command ended with an error: its code, and what it said."""

    def __init__(self, arguments: Sequence[str], code: int, stderr: str) -> None:
        super().__init__(f"jointrisk {' '.join(arguments)} ended with {code}: {stderr.strip()}")
        self.code = code
        self.stderr = stderr


@contextmanager
def _key_descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass
class Daemon:
    """One role of the federation: its state directory, its master key, its process while it runs.

    ``module`` is what the daemon runs; a benchmark has one with a window into the same daemon.
    """

    role: str
    name: str
    home: Path
    key_file: Path
    environment: dict[str, str] = field(default_factory=dict)
    module: str = "jointrisk.cli"
    process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str, with_key: bool = False, check: bool = True, timeout: float = 120) -> str:
        """Run one ``jointrisk`` command on this state directory and return what it printed."""
        with _key_descriptor(self.key_file) as descriptor:
            line = [self.role, "--home", str(self.home), *arguments]
            if with_key:
                line += ["--master-key-fd", str(descriptor)]
            done = subprocess.run(
                [sys.executable, "-m", "jointrisk.cli", *line],
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                pass_fds=(descriptor,) if with_key else (),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )
        if check and done.returncode != 0:
            raise CommandFailedError(line, done.returncode, done.stderr)
        return done.stdout

    def json(self, *arguments: str, **options: Any) -> Any:
        """Run a command with ``--json`` and return what it printed, parsed."""
        return json.loads(self.command(*arguments, "--json", **options))

    def start(self, *, wait: bool = True) -> None:
        """Start the daemon, and wait until its operator socket answers."""
        log = (self.home.parent / f"{self.name}.log").open("ab")
        with log, _key_descriptor(self.key_file) as descriptor:
            arguments = ("run", "--master-key-fd", str(descriptor))
            line = [sys.executable, "-m", self.module, self.role, "--home", str(self.home), *arguments]
            self.process = subprocess.Popen(
                dying_with_parent(line),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(descriptor,),
                process_group=0,  # not a session of its own: Linux shares time among sessions first, whatever is nice
                env={**os.environ, **self.environment},
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until the daemon answers ``status``."""
        from jointrisk.operator_socket import operator_socket

        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            if _answers(str(operator_socket(self.home))):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{self.name} did not get ready in {timeout:.0f} s:\n{self.log_tail()}")

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of the daemon's log."""
        path = self.home.parent / f"{self.name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def kill(self) -> None:
        """``kill -9``."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, timeout: float = 30) -> int:
        """Stop gracefully and return the exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL
        self.process = None
        return code

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self.process is not None, f"{self.name} is not running"  # noqa: S101
        return self.process.pid


class LocalFederation:
    """A coordinator and its nodes under one directory.

    Args:
        root: where everything goes; each daemon's log is ``root/NAME.log``.
        founding_members: as in the coordinator's settings.
        approvals_required: as in the coordinator's settings.
    """

    def __init__(self, root: Path, *, founding_members: int = 3, approvals_required: int = 2) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.founding_members = founding_members
        self.approvals_required = approvals_required
        self.coordinator = self._daemon("coordinator", "coordinator")
        self.nodes: dict[str, Daemon] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def init_coordinator(self, extra_toml: str = "") -> None:
        """Make the coordinator's state directory, on free loopback ports."""
        address, join_address = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.coordinator.command(
            "init",
            *("--name", "local", "--address", address, "--join-address", join_address),
            *("--public-host", "127.0.0.1"),
            *("--founding-members", str(self.founding_members)),
            *("--approvals-required", str(self.approvals_required)),
            with_key=True,
        )
        _append(self.coordinator.home / "coordinator.toml", extra_toml)

    def new_node(self, name: str) -> Daemon:
        """Return a node that has no state directory yet."""
        node = self.nodes[name] = self._daemon("node", name)
        return node

    def add_node(
        self,
        name: str,
        *,
        source: str = "",
        extra_toml: str = "",
        join: bool = True,
        start: bool = True,
        listen: bool = False,
    ) -> Daemon:
        """Make a node's state directory, let it join by token, start it.

        Args:
            name: of the member.
            source: its loan book.
            extra_toml: more settings.
            join: whether it joins.
            start: whether its daemon is started then.
            listen: whether it can be a holder: other members reach it at a free port of this machine.
        """
        node = self.new_node(name)
        node.command("init", *(("--source", source) if source else ()), with_key=True)
        address = f"127.0.0.1:{free_ports(1)[0]}" if listen else ""
        if address:
            extra_toml = f'[holder]\nlisten = "{address}"\n\n{extra_toml}'
        _append(node.home / "node.toml", extra_toml)
        if join:
            token = self.invite(name)
            node.command("join", token, *(("--address", address) if address else ()), with_key=True)
        if join and start:
            node.start()
        return node

    def invite(self, name: str, *options: str) -> str:
        """Return a one-time token."""
        token: str = self.coordinator.json("invite", name, *options)["token"]
        return token

    def wait_online(self, *names: str, timeout: float = 60) -> None:
        """Wait until these nodes (default: all) have their stream to the coordinator."""
        wanted = set(names or self.nodes)

        def online() -> bool:
            listed = self.coordinator.json("members")["members"]
            return wanted <= {member["member_id"] for member in listed if member["online"]}

        wait_until(online, f"{sorted(wanted)} online", timeout)

    def run(self, toml: str = "", *, wait: bool = True, timeout: float = 600) -> dict[str, Any]:
        """Start a training run; with ``wait``, follow it to its end. Returns the run as JSON."""
        settings = self.root / f"run-{secrets.token_hex(4)}.toml"
        settings.write_text(toml)
        started: dict[str, Any] = self.coordinator.json("runs", "start", "--settings", str(settings))
        return self.watch(started["run_id"], timeout) if wait else started

    def watch(self, run_id: str, timeout: float = 600) -> dict[str, Any]:
        """Follow a run to its end and return it."""
        run: dict[str, Any] = self.coordinator.json("runs", "watch", run_id, check=False, timeout=timeout)
        return run

    def show(self, run_id: str) -> dict[str, Any]:
        """Return a run as it is now."""
        run: dict[str, Any] = self.coordinator.json("runs", "show", run_id)
        return run

    def stop(self) -> None:
        """Stop every process, nodes first."""
        for daemon in [*self.nodes.values(), self.coordinator]:
            if daemon.process is not None:
                daemon.process.terminate()
        for daemon in [*self.nodes.values(), self.coordinator]:
            daemon.stop()

    def _daemon(self, role: str, name: str) -> Daemon:
        keys = self.root / "keys"
        keys.mkdir(mode=0o700, exist_ok=True)
        key_file = keys / f"{name}.key"
        if not key_file.exists():
            descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, secrets.token_bytes(32))
            os.close(descriptor)
        return Daemon(role, name, self.root / name, key_file)


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
    """Wait until ``condition`` holds.

    Raises:
        TimeoutError: it did not in ``timeout`` seconds; names ``what``.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s for {what}")
        time.sleep(0.05)


def _answers(socket_path: str) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(socket_path)
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens at now."""
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _append(path: Path, toml: str) -> None:
    if toml:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + toml + "\n")
