"""Where the log comes from, as the replica sees it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jointrisk.federation.signing import Signed


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of an epoch's log.

    Attributes:
        from_position: the position of its first entry.
        entries: packed entries, whole ones (docs/protocol.md, section 4.8).
        head: in the last part the signed head that the log leads to; not verified yet.
    """

    from_position: int
    entries: bytes = field(repr=False)
    head: Signed | None = None


class LogSource(Protocol):
    """The coordinator's log service. Nothing that it gives is believed before it is verified.

    Every method raises JointriskError: what a failed call stands for; UnavailableError where it can't be reached.
    """

    async def heads(self) -> Sequence[Signed]:
        """Return the newest signed head of every log that is served."""
        ...

    def watch(self) -> AsyncIterator[Sequence[Signed]]:
        """Yield what `heads` returns, at once and whenever one is signed."""
        ...

    def read(self, epoch: int, from_position: int) -> AsyncIterator[LogPart]:
        """Yield a log from a position up to its newest head, which comes with the last part."""
        ...
