"""What a plan of a simulated secure sum says, and what is seen of one attempt at it."""

from collections import defaultdict
from dataclasses import dataclass, field

from jointrisk.learning.secure_aggregation import Aggregator, Terms

Operation = tuple[str, int]
Places = tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """One run, to the last detail.

    Attributes:
        seed: of all randomness.
        parties: how many members.
        colluders: how many of them, the last ones, are one with the coordinator; also what the terms provide for.
        operations: what happens, and to which member or set (modulo how many there are).
    """

    seed: int
    parties: int
    colluders: int
    operations: tuple[Operation, ...]


@dataclass
class Line:
    """One attempt at the sum, as the coordinator and everybody who colludes with it see it."""

    terms: Terms
    aggregator: Aggregator
    taken: list[tuple[str, bytes] | None] = field(default_factory=list)
    words: dict[str, bytes] = field(default_factory=dict)
    signatures: dict[Places, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    seeds: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    keys: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    released_for: set[Places] = field(default_factory=set)
    tainted: bool = False
