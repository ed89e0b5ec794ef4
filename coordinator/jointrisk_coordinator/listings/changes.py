"""What becomes of entries in one transaction, and what has to be counted again for it."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

PENDING: Final = "pending"
LIVE: Final = "live"
HELD: Final = "held"
WITHDRAWN: Final = "withdrawn"
EXPIRED: Final = "expired"
ENDED: Final = frozenset({WITHDRAWN, EXPIRED})

_COUNTED: Final[dict[str, Counter[str]]] = {
    PENDING: Counter(pending=1),
    LIVE: Counter(live=1),
    HELD: Counter(live=1, held=1),
    WITHDRAWN: Counter(),
    EXPIRED: Counter(),
}
"""What an entry in each state adds to its lister's numbers."""


@dataclass(slots=True)
class Known:
    """An entry of the database. Changed by `Changes.to` alone.

    Attributes:
        number: in the order of arrival.
        lister: whose it is.
        tag_key: keyed hash of lister and tag.
        digest: the record's hash.
        state: as readers see it.
        position: in the log, once it is there.
        expires: seconds since 1970; None when it has ended.
    """

    number: int
    lister: str
    tag_key: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    state: str
    position: int | None
    expires: int | None

    @property
    def has_ended(self) -> bool:
        """Whether it was withdrawn or has expired."""
        return self.state in ENDED


@dataclass
class Changes:
    """Entries that have changed, for `ledger.store`.

    Attributes:
        entries: by their numbers, as they are now.
        tallies: changes of each lister's numbers.
        tags: changes of the numbers of entries under tags, by keyed hash.
        gone: positions whose records have to be deleted.
    """

    entries: dict[int, Known] = field(default_factory=dict)
    tallies: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    tags: Counter[bytes] = field(default_factory=Counter)
    gone: list[int] = field(default_factory=list)

    def to(self, entry: Known, state: str, *, position: int | None = None) -> None:
        """Bring an entry to a state, and to its position when it is released."""
        tally = self.tallies[entry.lister]
        tally.subtract(_COUNTED[entry.state])
        tally.update(_COUNTED[state])
        entry.state = state
        entry.position = entry.position if position is None else position
        if entry.has_ended:
            self._end(entry)
        self.entries[entry.number] = entry

    def _end(self, entry: Known) -> None:
        entry.expires = None
        self.tags[entry.tag_key] -= 1
        if entry.position is not None:
            self.gone.append(entry.position)
