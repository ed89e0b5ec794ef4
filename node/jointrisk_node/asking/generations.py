"""Generations of shares as an asker needs them: holders' keys, this node's own share, quorums that fit."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import NotFoundError
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import GroupKey
from jointrisk.oprf.group import Element, Scalar
from jointrisk.oprf.sharing import lagrange
from jointrisk.oprf.threshold import Quorum
from jointrisk_node.attempts import attempt
from jointrisk_node.holder.ledger import GenerationLedger

_FRESH = timedelta(seconds=5)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Roles:
    """A quorum of one generation, ready to be used again and again.

    Attributes:
        names: sorted, as the request names them.
        quorum: verifies answers.
        own: this node's share, weighted for the quorum; None when it is not in it.
    """

    names: tuple[str, ...]
    quorum: Quorum
    own: Scalar | None = field(repr=False)


@dataclass(frozen=True)
class Generation:
    """A generation.

    Attributes:
        key: as the ceremony made it.
        me: this node's name.
        share: this node's share, which fits its public key; None when it has none.
    """

    key: GroupKey
    me: str
    share: Scalar | None = field(repr=False)
    _ready: dict[tuple[str, ...], Roles] = field(default_factory=dict, repr=False)

    @cached_property
    def indices(self) -> dict[str, int]:
        """Each holder's index."""
        return {name: index for index, (name, _) in enumerate(self.key.holders, 1)}

    def roles(self, names: tuple[str, ...]) -> Roles:
        """Return a quorum; its keys are checked when it is used for the first time.

        Raises:
            ConflictError: the shares do not make up the group's key.
        """
        if names not in self._ready:
            self._ready[names] = self._prepare(names)
        return self._ready[names]

    def _prepare(self, names: tuple[str, ...]) -> Roles:
        publics, indices = dict(self.key.holders), self.indices
        quorum = Quorum.of({indices[name]: publics[name] for name in names}, self.key.public_key)
        own = None
        if self.share is not None and self.me in names:
            own = group.scalar_multiply(lagrange([indices[name] for name in names])[indices[self.me]], self.share)
        return Roles(names, quorum, own)


class Generations:
    """What the ledger holds, in memory; read again in the background when it is some seconds old.

    For the event loop's thread.

    Args:
        ledger: the node's generations.
        me: this node's name.
        clock: the time.
    """

    def __init__(self, ledger: GenerationLedger, me: str, clock: Clock = utc_now) -> None:
        self._ledger = ledger
        self._me = me
        self._clock = clock
        self._known: dict[int, list[Generation]] | None = None
        self._read_at: datetime | None = None
        self._reading: asyncio.Task[None] | None = None

    def epochs(self) -> list[int]:
        """Return the epochs that this node knows a group key of, the newest last. Reads the ledger the first time."""
        if self._known is None:
            self._keep(self._read())
        self._look_again()
        return sorted(self._known or {})

    async def of(self, epoch: int) -> list[Generation]:
        """Return the newest two generations of an epoch, the newest first.

        Two, because after a refresh a holder may not have learned of the newest yet.

        Raises:
            NotFoundError: this node knows no key of the epoch.
        """
        if self._known is None:
            await self.reload()
        self._look_again()
        found = (self._known or {}).get(epoch)
        if not found:
            raise NotFoundError(
                f"this node knows no group key of epoch {epoch}",
                remedy="Is there one? See `jointrisk node ceremony list`; the coordinator must be reachable once.",
            )
        return found[:2]

    async def reload(self) -> bool:
        """Read the ledger; return whether there is another generation than before."""
        before = _numbers(self._known)
        self._keep(await asyncio.to_thread(self._read))
        return _numbers(self._known) != before

    def _look_again(self) -> None:
        if self._read_at is not None and self._clock() - self._read_at < _FRESH:
            return
        if self._reading is None or self._reading.done():
            self._read_at = self._clock()
            self._reading = asyncio.create_task(attempt("generations", self.reload()))

    def _keep(self, read: dict[int, list[Generation]]) -> None:
        kept = {one.key.generation: one for known in (self._known or {}).values() for one in known}
        # One that has not changed stays as it is, with its quorums.
        self._known = {epoch: [_same(kept, one) for one in generations] for epoch, generations in read.items()}
        self._read_at = self._clock()

    def _read(self) -> dict[int, list[Generation]]:
        found: dict[int, list[Generation]] = {}
        for key in reversed(self._ledger.all()):
            found.setdefault(key.epoch, []).append(Generation(key, self._me, self._share(key)))
        return found

    def _share(self, key: GroupKey) -> Scalar | None:
        publics: Mapping[str, Element] = dict(key.holders)
        if self._me not in publics:
            return None
        try:
            share = self._ledger.share(key.generation)
        except NotFoundError:
            return None
        # Nobody proves this share's answers: a wrong one would make every person "not found".
        if group.multiply_base(share) != publics[self._me]:
            log.error("asking.share_of_another_key", generation=key.generation)
            return None
        return share


def _numbers(known: Mapping[int, list[Generation]] | None) -> set[int]:
    return {one.key.generation for generations in (known or {}).values() for one in generations}


def _same(kept: Mapping[int, Generation], read: Generation) -> Generation:
    before = kept.get(read.key.generation)
    return before if before is not None and (before.key, before.share) == (read.key, read.share) else read
