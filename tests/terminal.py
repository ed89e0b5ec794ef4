"""Programs on a pseudo terminal: what they ask is answered, what they show is kept."""

import os
import pty
import select
import signal
import sys
import time

_IMPATIENCE = 5.0


class Terminal:
    """A Python program on a pseudo terminal of its own, as a person would run it.

    Args:
        arguments: what follows the interpreter: ``-m``, the module, its arguments.
    """

    def __init__(self, *arguments: object) -> None:
        self.shown = ""
        self._ended = False
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            try:
                os.execv(sys.executable, [sys.executable, *map(str, arguments)])  # noqa: S606 - our own interpreter
            finally:
                os._exit(127)  # else a second test run would go on from here

    def expect(self, text: str, timeout: float = 60) -> None:
        """Wait until the command shows a text."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            assert time.monotonic() < deadline, f"expected {text!r}, it shows {self.shown!r}"
            if select.select([self._descriptor], [], [], 0.2)[0] and not self._read():
                raise AssertionError(f"it ended without {text!r}: {self.shown!r}")

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._descriptor, text.encode() + b"\n")

    def end(self, number: int = 0) -> int:
        """Send a signal, if any, read to the end, and return the exit code.

        As a person presses Ctrl-C again when nothing happens, the signal is sent again every few seconds.
        """
        if number:
            os.kill(self._pid, number)
        while self._read_within(_IMPATIENCE, number):
            pass
        os.close(self._descriptor)
        self._ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def abandon(self) -> None:
        """Kill the command if it still runs."""
        if not self._ended:
            self.end(signal.SIGKILL)

    def _read_within(self, seconds: float, number: int) -> bool:
        if number:
            while not select.select([self._descriptor], [], [], seconds)[0]:
                os.kill(self._pid, number)
        return self._read()

    def _read(self) -> bool:
        try:
            piece = os.read(self._descriptor, 4096)
        except OSError:  # the other end is closed: the command has ended
            return False
        self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)
