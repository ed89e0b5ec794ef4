"""The worker's end of the talk with its daemon; the daemon's end is ``conversation``."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jointrisk.worker_process import Line, Pipe
from jointrisk_coordinator.runs.quorum import Monotonic


class DaemonLine:
    """The worker's end of the talk with its daemon.

    Args:
        pipe: the pipe, after ``start`` has been read.
        monotonic: seconds.
    """

    def __init__(self, pipe: Pipe, monotonic: Monotonic = time.monotonic) -> None:
        self._pipe = pipe
        self._monotonic = monotonic
        self.away_since: dict[str, float] = {}
        self._committed = 0

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Ask members; their answers come by :meth:`next_answer`."""
        self._pipe.send(op="ask", messages=messages)

    def withdraw(self, ids: Iterable[str]) -> None:
        """No longer wait for these."""
        self._pipe.send(op="withdraw", ids=sorted(ids))

    def waiting(self, members: Iterable[str]) -> None:
        """Say whom the round waits for; nobody, when it goes on."""
        self._pipe.send(op="waiting", members=sorted(members))

    def commit(self, completed: Mapping[str, Any]) -> None:
        """Say that a round is complete, and return when that is durable."""
        self._pipe.send(op="commit", round=completed)
        while self._committed < completed["number"]:
            self.next_answer(None)

    def next_answer(self, seconds: float | None) -> Line | None:
        """Return the next answer; None when something else happened, or nothing within ``seconds``."""
        line = self._pipe.receive(seconds)
        if line is None or line["op"] == "answer":
            return line
        if line["op"] == "presence":
            now = self._monotonic()
            self.away_since = {member: now - away for member, away in line["away"].items()}
        if line["op"] == "committed":
            self._committed = line["round"]
        return None
