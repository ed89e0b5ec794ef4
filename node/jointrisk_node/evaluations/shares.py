"""The shares that this node answers with, in memory: the database is not asked for every request."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from jointrisk.errors import NotFoundError
from jointrisk.oprf.ceremony import GroupKey
from jointrisk.oprf.group import Scalar
from jointrisk_node.attempts import attempt
from jointrisk_node.holder import GenerationLedger

RELOADED_EVERY: Final = timedelta(seconds=5)
"""How often shares are read again: one that was deleted is used no longer than that."""


@dataclass(frozen=True, slots=True)
class Held:
    """A generation of which this node holds a share.

    Attributes:
        key: the generation.
        index: this node's, from 1.
        share: this node's.
        indices: of all its holders by name.
    """

    key: GroupKey
    index: int
    share: Scalar = field(repr=False)
    indices: Mapping[str, int]


class HeldShares:
    """Reads shares from the ledger. `get` is cheap and for any thread.

    Args:
        ledger: the generations.
        member_id: this node's name.
    """

    def __init__(self, ledger: GenerationLedger, member_id: str) -> None:
        self._ledger = ledger
        self._member_id = member_id
        self._held: Mapping[tuple[int, int], Held] = {}
        self._lock = threading.Lock()
        self.reload()

    def get(self, epoch: int, generation: int) -> Held | None:
        """Return a share; None when this node holds none of that generation in that epoch."""
        return self._held.get((epoch, generation))

    def all(self) -> list[Held]:
        """Return all shares, the oldest generation first."""
        return sorted(self._held.values(), key=lambda held: held.key.generation)

    def reload(self) -> None:
        """Read them again: those of new generations come, deleted ones go. Blocks on the database."""
        with self._lock:
            found = (self._read(key) for key in self._ledger.all())
            self._held = {(held.key.epoch, held.key.generation): held for held in found if held is not None}

    async def keep_current(self, every: timedelta = RELOADED_EVERY) -> None:
        """Read them again and again."""
        while True:
            await asyncio.sleep(every.total_seconds())
            await attempt("shares", asyncio.to_thread(self.reload))

    def _read(self, key: GroupKey) -> Held | None:
        indices = {name: index for index, (name, _) in enumerate(key.holders, 1)}
        index = indices.get(self._member_id)
        if index is None:
            return None
        known = self._held.get((key.epoch, key.generation))
        try:
            share = self._ledger.share(key.generation)
        except NotFoundError:
            return None
        return known if known is not None and known.key == key else Held(key, index, share, indices)
