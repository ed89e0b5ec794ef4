"""What asking needs of the replica."""

from typing import Protocol

from jointrisk.federation.signing import Signed


class Heads(Protocol):
    """Heads of the logs: this node's own, and those that others bring."""

    def newest(self, epoch: int) -> Signed | None:
        """Return the newest head of an epoch that this node has verified, or None. Cheap."""
        ...

    def compare(self, epoch: int, signed: Signed, brought_by: str) -> None:
        """Have another member's head compared with this node's own. Cheap, does not wait, raises nothing."""
        ...
