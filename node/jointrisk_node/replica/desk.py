"""All replicas of a node: looked up in, kept current, checked, built again."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from jointrisk.clock import Clock, utc_now
from jointrisk.durable import folder as private_folder
from jointrisk.errors import CorruptError, JointriskError, NotFoundError, UnavailableError
from jointrisk.federation.signing import Signed, verify_document
from jointrisk.listing.head import LISTING_HEAD, Head
from jointrisk.store import AuditLog
from jointrisk_node.attempts import attempt
from jointrisk_node.replica.forks import ForkAlarm, ForkWatch
from jointrisk_node.replica.replica import Found, Replica, Served
from jointrisk_node.replica.settings import ReplicaSettings
from jointrisk_node.replica.shelf import Shelf
from jointrisk_node.replica.source import LogSource
from jointrisk_node.replica.stock import Opener, ReplicaState, Stocked
from jointrisk_node.replica.syncing import synchronise
from jointrisk_node.replica.verifying import Verified, verify

_MOST_EPOCHS = 16
_SILENCE = 4  # parts of the age limit without a new head, after which the watch is begun again

COORDINATOR = "coordinator"
"""Who brought a head that the coordinator sent."""


class ReplicaDesk:
    """This node's replicas. `lookup`, `newest` and `compare` take microseconds and can be called from any thread.

    Making one opens files: it blocks.

    Args:
        folder: where replicas are kept, ``replica`` in the state directory.
        federation: this node's federation.
        coordinator_key: the pinned key.
        source: the coordinator.
        audit: the node's audit log.
        settings: how old a head may be.
        clock: the time.
    """

    def __init__(
        self,
        folder: Path,
        federation: str,
        coordinator_key: bytes,
        source: LogSource,
        audit: AuditLog,
        settings: ReplicaSettings | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._folder = private_folder(folder)
        self._federation = federation
        self._coordinator_key = coordinator_key
        self._opener = Opener(federation, coordinator_key, audit)
        self._source = source
        self._audit = audit
        self._settings = settings or ReplicaSettings()
        self._oldest = self._settings.oldest
        self._clock = clock
        self._syncing = asyncio.Lock()
        self._wake: Callable[[], object] | None = None
        self._epochs: dict[int, Stocked] = {}
        self._watch = ForkWatch(folder / "forks", coordinator_key, self._replica, audit, clock)
        for found in sorted(folder.iterdir()):
            if found.name.isdigit():
                self._open_stored(Shelf(found))

    def _open_stored(self, shelf: Shelf) -> None:
        shelf.sweep()
        if shelf.has_replica() or shelf.is_building():
            self._epochs[shelf.epoch] = self._opener.open(shelf)

    def close(self) -> None:
        """Close all files. Nothing is asked of this desk afterwards."""
        for found in self._epochs.values():
            found.close()

    def _replica(self, epoch: int) -> Replica | None:
        found = self._epochs.get(epoch)
        return found.replica if found is not None else None

    def epochs(self) -> list[int]:
        """Return the epochs of which there is a replica, the newest last."""
        return sorted(self._epochs)

    def newest(self, epoch: int) -> Signed | None:
        """Return the newest head that this node has verified and serves; None before the first."""
        replica = self._replica(epoch)
        return replica.served.signed if replica is not None and replica.served is not None else None

    def compare(self, epoch: int, signed: Signed, brought_by: str) -> None:
        """Queue another member's head for comparison; a fork raises the alarm in the background."""
        served = self._served_of(epoch)
        if (served is None or served.signed != signed) and self._watch.compare(epoch, signed, brought_by):
            self._call()

    def _call(self) -> None:
        """Wake `keep_comparing`, where it runs."""
        if self._wake is not None:
            with suppress(RuntimeError):  # its loop has ended
                self._wake()

    def _served_of(self, epoch: int) -> Served | None:
        replica = self._replica(epoch)
        return replica.served if replica is not None else None

    def forks(self) -> list[ForkAlarm]:
        """Return the alarms about forks, the oldest first."""
        return list(self._watch.alarms)

    def lookup(self, epoch: int, tag: bytes) -> list[Found]:
        """Return the live entries under a tag, in the order of the log.

        Raises:
            NotFoundError: there is no replica of that epoch.
            UnavailableError: it is not there yet, or older than the limit.
            CorruptError: it cannot be read.
        """
        found = self._epochs.get(epoch)
        if found is None:
            raise NotFoundError(f"expected a replica of the listings of epoch {epoch}, got none")
        replica = found.replica
        served = replica.served
        if served is None or served.is_older_than(self._clock() - self._oldest):
            raise self._too_old(epoch, served)
        return replica.lookup(tag)

    def _too_old(self, epoch: int, served: Served | None) -> UnavailableError:
        remedy = "`jointrisk node listings sync` says what keeps the coordinator's log from being fetched."
        if served is None:
            return UnavailableError(f"the listings of epoch {epoch} have not been synchronised yet", remedy=remedy)
        age = int((self._clock() - served.head.signed_at).total_seconds())
        limit = int(self._settings.oldest.total_seconds())
        return UnavailableError(
            f"expected listings of epoch {epoch} that are at most {limit} s old, got them {age} s old", remedy=remedy
        )

    def state(self, epoch: int) -> ReplicaState:
        """Return how the replica of an epoch stands. Reads the disk.

        Raises:
            NotFoundError: there is none.
            CorruptError: it cannot be read.
        """
        return self._found(epoch).state(self._clock())

    def verify(self, epoch: int) -> Verified:
        """Check the whole replica of an epoch on the disk against its signed head. Blocks for as long as it takes.

        Raises:
            NotFoundError: there is none.
            UnavailableError: nothing has been synchronised yet.
            CorruptError: it is not what the coordinator signed.
        """
        return verify(self._found(epoch).replica)

    def _found(self, epoch: int) -> Stocked:
        found = self._epochs.get(epoch)
        if found is None:
            raise NotFoundError(f"there is no replica of the listings of epoch {epoch}")
        return found

    async def refresh(self) -> None:
        """Synchronise every epoch with the coordinator now.

        Raises:
            UnavailableError: the coordinator cannot be reached.
            JointriskError: what it sent for an epoch does not verify; the other epochs are synchronised.
        """
        asked = self._verified()
        await self._follow(await self._source.heads(), asked)

    async def rebuild(self, epoch: int) -> None:
        """Fetch the whole log again beside the replica, which is read until then; go on where one was interrupted.

        Raises as `refresh`, and NotFoundError: there is no replica of that epoch.
        """
        found = self._found(epoch)
        async with self._syncing:
            if found.building is None:
                found.building = await asyncio.to_thread(self._opener.begin_next, found.shelf)
        await self.refresh()

    async def keep_current(self) -> None:
        """Follow the coordinator's heads for ever."""
        while True:
            await attempt("listings", self._watching())
            await asyncio.sleep(self._settings.retry.total_seconds())

    async def keep_comparing(self) -> None:
        """Judge the heads that other members bring, for ever."""
        brought = asyncio.Event()
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, brought.set)
        while True:
            await attempt("heads", self._judge())
            await brought.wait()
            brought.clear()

    async def _judge(self) -> None:
        await asyncio.to_thread(self._watch.judge)

    async def _watching(self) -> None:
        silence = self._settings.oldest.total_seconds() / _SILENCE
        before, stream = self._verified(), self._source.watch()
        while True:
            try:
                async with asyncio.timeout(silence):
                    heads = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise UnavailableError(f"the coordinator has signed no head for {silence:.0f} s") from None
            before = await self._follow(heads, before)

    def _verified(self) -> dict[int, Head]:
        """Return the newest head of each epoch that this node has verified."""
        return {epoch: head for epoch, found in self._epochs.items() if (head := found.floor.head) is not None}

    async def _follow(self, heads: Sequence[Signed], before: Mapping[int, Head]) -> dict[int, Head]:
        """Synchronise with heads; return them.

        Args:
            heads: one of each epoch that the coordinator serves.
            before: those that none of them may be behind: as they were known when these were asked for.
        """
        async with self._syncing:
            named = await asyncio.to_thread(self._named, heads)
            failed = [
                error
                for epoch, (signed, head) in named.items()
                if (error := await self._sync(epoch, signed, head, before.get(epoch)))
            ]
            await asyncio.to_thread(self._forget_unserved, named)
            await self._judge()
        if failed:
            raise failed[0]
        return {epoch: head for epoch, (_, head) in named.items()}

    def _named(self, heads: Sequence[Signed]) -> dict[int, tuple[Signed, Head]]:
        """Return heads by epoch, after verifying them."""
        if len(heads) > _MOST_EPOCHS:
            raise CorruptError(f"expected heads of at most {_MOST_EPOCHS} epochs, got {len(heads)}")
        named = {}
        for signed in heads:
            head = Head.parse(verify_document(signed, LISTING_HEAD, self._coordinator_key))
            if head.federation != self._federation:
                raise CorruptError("expected heads of this federation's logs, got another's")
            named[head.epoch] = signed, head
        return named

    async def _sync(self, epoch: int, signed: Signed, head: Head, before: Head | None) -> JointriskError | None:
        """Synchronise one epoch; return what keeps it from being synchronised."""
        if epoch not in self._epochs:
            self._epochs[epoch] = await asyncio.to_thread(self._opener.open, Shelf(self._folder / str(epoch)))
            before = self._epochs[epoch].floor.head
        found = self._epochs[epoch]
        self._watch.compare(epoch, signed, COORDINATOR)
        if found.floor.has_overtaken(head, before):
            return None
        try:
            await self._keep_readable(found, signed)
            served = await synchronise(found.target(), self._source, signed, found.floor)
        except UnavailableError as error:
            return error
        except JointriskError as error:
            await asyncio.to_thread(self._refuse, found, error)
            return error
        await asyncio.to_thread(self._take_over, found, served)
        return None

    async def _keep_readable(self, found: Stocked, signed: Signed) -> None:
        """Synchronise what is read while another is built; it may be why another is."""
        if found.building is not None:
            with suppress(CorruptError):
                await synchronise(found.replica, self._source, signed, found.floor)

    def _take_over(self, found: Stocked, served: Served) -> None:
        if found.take_over(served):
            self._audit.append("listings.replica_rebuilt", epoch=found.shelf.epoch, size=served.head.size)

    def _refuse(self, found: Stocked, error: JointriskError) -> None:
        """Tell of a log that does not verify, once until that changes."""
        if found.refusal != error.message:
            found.refusal = error.message
            self._audit.append("listings.log_refused", epoch=found.shelf.epoch, reason=error.message)

    def _forget_unserved(self, named: Collection[int]) -> None:
        """Delete replicas of epochs before the newest that the coordinator does not serve any more."""
        newest = max(named, default=0)
        for epoch in [one for one in self._epochs if one < newest and one not in named]:
            found = self._epochs.pop(epoch)
            found.shelf.discard()
            self._audit.append("listings.replica_deleted", epoch=epoch)
