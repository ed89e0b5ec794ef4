"""What protected members' replies in a sum: said by the aggregation, kept by the daemon, told to people."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Guarantee:
    """What protected the members' replies.

    Attributes:
        mode: "plain": the coordinator saw every reply; "secure": it saw sums.
        members: n, how many were asked; 0 in plain sums, as are the next three.
        colluders: f, how many of them may collude with the coordinator.
        threshold: t, how many sign the set of survivors.
        minimum: the fewest members in a sum.
        dropped: who is not in the sum, and the step in which its reply was missing.
        silent: whose reply is in the sum, and who was gone when it was unmasked.
    """

    mode: str = "plain"
    members: int = 0
    colluders: int = 0
    threshold: int = 0
    minimum: int = 0
    dropped: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {**asdict(self), "dropped": dict(self.dropped), "silent": list(self.silent)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Guarantee":
        """Read what :meth:`as_json` returned."""
        return cls(**{**data, "silent": tuple(data.get("silent", ()))})
