"""Where the processes of a federation connect to: told by Python's audit hook inside them, and by the kernel outside.

The hook is installed by a ``sitecustomize.py`` on PYTHONPATH, so every daemon, worker and command has it from its
beginning. gRPC connects in C, below the hook: the kernel's list of sockets shows that.
"""

import json
import threading
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, Self

import psutil

_PAUSE_SECONDS = 0.05
_HOOK = """\
import json, os, sys

_WATCHED = (
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request",
    "http.client.connect",
)
_FOLDER = {folder!r}

def _write(record):
    descriptor = os.open(f"{{_FOLDER}}/{{os.getpid()}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, json.dumps(record).encode() + b"\\n")
    os.close(descriptor)

def _hook(event, arguments):
    if event in _WATCHED:
        plain = [a if isinstance(a, (str, int)) else list(a) if isinstance(a, tuple) else repr(a) for a in arguments]
        _write([event, plain])

_write(["started", sys.orig_argv[1:4]])
sys.addaudithook(_hook)
"""


class ConnectionWitness:
    """Records the targets of every process that is started with `environment`.

    Args:
        folder: where the hook and its records lie.
    """

    def __init__(self, folder: Path) -> None:
        self._code, self._records = folder / "hook", folder / "records"
        self._remotes: set[tuple[str, str]] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="connections")
        for made in (folder, self._code, self._records):
            made.mkdir()
        (self._code / "sitecustomize.py").write_text(_HOOK.format(folder=str(self._records)))

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to be started with."""
        return {"PYTHONPATH": str(self._code)}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def events(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield what the hooks saw: event and arguments."""
        for path in sorted(self._records.iterdir()):
            for line in path.read_text().splitlines():
                event, arguments = json.loads(line)
                yield event, arguments

    def remotes(self) -> set[tuple[str, str]]:
        """Return the remote addresses in the kernel's list: process, and address."""
        return set(self._remotes)

    def _look(self) -> None:
        while not self._end.wait(_PAUSE_SECONDS):
            for path in self._records.iterdir():
                try:
                    process = psutil.Process(int(path.name))
                    remotes = {one.raddr.ip for one in process.net_connections("inet") if one.raddr}
                    self._remotes |= {(" ".join(process.cmdline()[1:4]), remote) for remote in remotes}
                except psutil.Error:
                    continue


def is_outside(event: str, arguments: list[Any]) -> bool:
    """Tell whether an event of the hook names something else than this machine."""
    match event, arguments:
        case "started", _:
            return False
        case (("socket.connect" | "socket.sendto"), [_, str()]):
            return False  # the path of a Unix socket
        case (("socket.connect" | "socket.sendto"), [_, [str(host), *_]]):
            return not is_here(host)
        case (("socket.getaddrinfo" | "socket.gethostbyname"), [host, *_]):
            return not (host is None or is_here(str(host)))
    return True


def is_here(host: str) -> bool:
    """Tell whether an address is this machine's loopback, also as gRPC writes it: ``::ffff:127.0.0.1``."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
