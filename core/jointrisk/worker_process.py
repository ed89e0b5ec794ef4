"""A daemon's killable worker process, and the pipe between them: one JSON object a line, both ways.

Payloads never pass through the pipe: they lie in files, and the lines name them. The worker moves its end of the pipe
away from file descriptors 0 and 1 first, so that nothing that a library prints can end up in it. A worker never
outlives its daemon: the kernel kills it when the daemon dies, and it ends when the pipe closes.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

_LINE_LIMIT = 16 << 20
_PR_SET_PDEATHSIG = 1
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
}

Line = dict[str, Any]
"""One JSON object."""


class WorkerProcess:
    """The daemon's side.

    Args:
        process: a process made by :meth:`spawn`.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def spawn(cls, module: str) -> "WorkerProcess":
        """Start ``python -m module``, whose main calls :func:`claim_pipe`. Its stderr is the daemon's."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT, env={**os.environ, **_ENVIRONMENT},
        )  # fmt: skip
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, line: Mapping[str, Any]) -> None:
        """Send a line. A worker that is gone doesn't get it; :meth:`receive` says that it is gone."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def receive(self) -> Line | None:
        """Return the worker's next line; None when it has ended."""
        if self._process.stdout is None:
            return None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        parsed: Line = json.loads(line)
        return parsed

    async def end(self) -> int:
        """Kill the worker if it still runs, and return its exit status."""
        with suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()


class Pipe:
    """The worker's side. Made by :func:`claim_pipe`.

    Args:
        reading: what the daemon sends.
        writing: what the daemon reads.
    """

    def __init__(self, reading: BinaryIO, writing: BinaryIO) -> None:
        self._reading = reading
        self._writing = writing
        self._lines: queue.Queue[Line] = queue.Queue()
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def send(self, **line: Any) -> None:
        """Send a line to the daemon."""
        self._writing.write(json.dumps(line).encode() + b"\n")

    def receive(self, timeout: float | None = None) -> Line | None:
        """Return the daemon's next line; None when none came within ``timeout`` seconds."""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            return None

    def _read(self) -> None:
        for line in self._reading:
            self._lines.put(json.loads(line))
        # The daemon is gone. Files are written so that ending anywhere is safe, and a worker alone serves nobody.
        os._exit(0)


def claim_pipe() -> Pipe:
    """Take the pipe over from file descriptors 0 and 1, for the worker's whole life."""
    _die_with_parent()
    reading, writing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return Pipe(os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0))


def claim_folder(folder: Path) -> None:
    """Wait until no other worker works in ``folder``, and hold it until this process ends.

    A daemon that was killed and started again may start a worker before the kernel has ended the old one.
    """
    descriptor = os.open(folder / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def where(error: BaseException) -> str:
    """Return file and line where an error was raised.

    Its text is left out on purpose: it could hold a value of a row.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else "an unknown place"
