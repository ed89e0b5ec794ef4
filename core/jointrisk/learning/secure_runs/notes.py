"""What the coordinator's worker writes down of a secure sum, to go on with identical requests after a kill."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from jointrisk.errors import CorruptError
from jointrisk.learning.secure_aggregation import Terms


@dataclass(frozen=True)
class Note:
    """One attempt at one sum.

    Attributes:
        terms: of its session.
        steps: for each step that has ended, the members whose replies were taken.
        over: whether the attempt was given up.
    """

    terms: Terms
    steps: tuple[tuple[str, ...], ...] = ()
    over: bool = False

    def ended(self, members: tuple[str, ...]) -> "Note":
        """Return the note with one more step."""
        return replace(self, steps=(*self.steps, members))

    def encode(self) -> bytes:
        """Return its bytes."""
        steps = [list(step) for step in self.steps]
        return json.dumps({"terms": self.terms.encoded.hex(), "steps": steps, "over": self.over}).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Note":
        """Read what :meth:`encode` wrote.

        Raises:
            CorruptError: it is something else.
        """
        try:
            found = json.loads(data)
            steps = tuple(tuple(str(name) for name in step) for step in found["steps"])
            return cls(Terms.decode(bytes.fromhex(found["terms"])), steps, bool(found["over"]))
        except (ValueError, KeyError, TypeError):
            raise CorruptError("expected the note of a secure sum, got something else") from None


class Notebook(Protocol):
    """Keeps notes durably, one for each round and statistic, until the round is complete."""

    def read(self, number: int, statistic: str) -> Note | None:
        """Return the newest attempt at a sum."""

    def write(self, number: int, statistic: str, note: Note) -> None:
        """Keep a note in the place of the one before; when this returns, it is on the disk."""

    def result(self, number: int, statistic: str) -> tuple[Mapping[str, object], bytes] | None:
        """Return what a sum came to: facts as plain JSON data, and the reply's bytes."""

    def finish(self, number: int, statistic: str, facts: Mapping[str, object], reply: bytes) -> None:
        """Keep what a sum came to."""

    def forget(self, number: int) -> None:
        """Delete all of the rounds up to this one."""
