"""A coordinator's logs of listings in a real database: called directly, or over a real gRPC socket.

coordinator = ListingCoordinator(tmp_path / "coordinator")      # epoch 1, held by ant, bee and cat
coordinator.append("ant", offer("Li", "first"))
coordinator.log.release()
async with coordinator.running():                               # the loop of releases; window 0 by default
    heads = await coordinator.calls("bee").listing_heads()      # as CoordinatorChannel, without a socket
    async with coordinator.channel("bee") as calls: ...         # a CoordinatorChannel over a Unix socket
"""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from grpc import aio

from coordinator_at_test import MASTER, MovableClock
from fixed_randomness import fixed_randomness
from jointrisk.clock import Clock
from jointrisk.errors import RefusedError
from jointrisk.federation.certificates import Identity
from jointrisk.listing.derive import tag_of
from jointrisk.listing.head import Head, read_head
from jointrisk.listing.log import Entry, EntryKind, Point, Stretch
from jointrisk.listing.packed import Offered, packed_appends, unpack
from jointrisk.listing.record import CIPHERTEXT_LENGTH, Record, Sealed, new_entry_id, seal
from jointrisk.protocol import user_agent
from jointrisk.rpc.documents import from_message
from jointrisk.rpc.guard import Context, Guard
from jointrisk.rpc.server import bind_unix, check_protocol, new_server
from jointrisk.rpc.v1 import listing_pb2 as pb
from jointrisk.rpc.v1.listing_pb2_grpc import add_ListingServiceServicer_to_server
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.listings.desk import ListingLog
from jointrisk_coordinator.listings.intake import Refusal, State
from jointrisk_coordinator.listings.keeping import ListingKeeper
from jointrisk_coordinator.listings.releasing import PART
from jointrisk_coordinator.listings.service import ListingServicer
from jointrisk_coordinator.listings.settings import ListingSettings
from jointrisk_coordinator.store.tables import load_tables
from jointrisk_node.coordinator_channel import CoordinatorChannel
from listing_sample import keys_of, label_of
from roster_forge import key_of, public_of

FEDERATION = "testing"
HOLDERS = ("ant", "bee", "cat")
COORDINATOR_KEY = public_of("coordinator key")
AT_ONCE = ListingSettings(window=timedelta(0))


class ListingCoordinator:
    """The logs in a directory; made again over the same directory, the coordinator after a restart.

    Args:
        root: where the database is, made when missing.
        settings: windows and intervals; releases at once unless given.
        clock: the time.
        store: a database with the coordinator's tables, in place of a new one in ``root``.
        part: entries of one transaction of a release.
        epochs: that have a key; each is held by `HOLDERS`.

    Attributes:
        log: what is tested.
        epochs: change it to make a new epoch; `ListingLog.keep` opens its log.
        removed: members whose calls are refused.
    """

    def __init__(
        self,
        root: Path,
        settings: ListingSettings = AT_ONCE,
        clock: Clock | None = None,
        *,
        store: Store | None = None,
        part: int = PART,
        epochs: Iterable[int] = (1,),
    ) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = root
        self.settings = settings
        self.clock = clock or MovableClock()
        self.store = store or _sqlite(root / "state.db")
        self.part = part
        self.epochs: dict[int, Collection[str]] = dict.fromkeys(epochs, HOLDERS)
        self.audit = AuditLog(self.store, clock=self.clock)
        self.removed: set[str] = set()
        self.log = self.restart()
        self.log.keep()

    def restart(self) -> ListingLog:
        """Forget everything that is not in the database."""
        self.log = ListingLog(
            self.store,
            FEDERATION,
            key_of("coordinator key"),
            MASTER,
            lambda: self.epochs,
            self.audit,
            self.settings,
            os.urandom,
            self.clock,
            self.part,
        )
        return self.log

    # -- blocking --------------------------------------------------------------------------------------------------

    def append(self, lister: str, *offered: Offered, epoch: int = 1) -> list[Refusal]:
        """Append entries of a member."""
        return self.log.intake.append(lister, epoch, packed_appends(offered))

    def mark(
        self, lister: str, kind: EntryKind, *marked: Offered, replaced_by: Iterable[Offered] = (), epoch: int = 1
    ) -> list[Refusal]:
        """Mark entries of a member."""
        ids, others = (b"".join(one.sealed.entry_id for one in some) for some in (marked, replaced_by))
        return self.log.intake.mark(lister, epoch, kind, ids, others)

    def states(self, lister: str, *asked: Offered, epoch: int = 1) -> list[State]:
        """Return how entries stand."""
        return self.log.intake.states(lister, epoch, b"".join(one.sealed.entry_id for one in asked))

    def head(self, epoch: int = 1) -> Head:
        """Return a log's newest head, verified."""
        heads = [Head.parse(signed.payload) for signed in self.log.heads()]
        signed = next(one for one, head in zip(self.log.heads(), heads, strict=True) if head.epoch == epoch)
        return read_head(signed, COORDINATOR_KEY, FEDERATION, epoch)

    def entries(self, epoch: int = 1, start: Point | None = None) -> list[tuple[Entry, Record | None]]:
        """Return a log's entries, verified up to its newest head as a reader does."""
        head = self.head(epoch)
        known = start or Point.start(FEDERATION, epoch)
        stretch, position, found = Stretch(known, head.point), known.size, []
        while position < head.size:
            part = self.log.read(epoch, position)
            for entry, record in unpack(part.entries):
                stretch.take(entry)
                found.append((entry, None if record is None else Record.from_bytes(record)))
            position = part.end
        stretch.end()
        return found

    def records(self, epoch: int = 1) -> list[Record]:
        """Return the records that a log holds, in its order."""
        return [record for _, record in self.entries(epoch) if record is not None]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the audit records of listings."""
        return [(one.event, dict(one.fields)) for one in self.audit.entries(event="listing.")]

    # -- in an event loop ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Release, open and sign for the block, as the daemon does."""
        keeper = ListingKeeper(self.log, self.settings.window)
        self._keeper = keeper
        task = asyncio.create_task(keeper.run())
        try:
            yield
        finally:
            task.cancel()

    def servicer(self, member: str) -> ListingServicer:
        """Return the service as one member meets it."""
        return ListingServicer(self.log, self._keeper, lambda _: self._identity(member))

    def calls(self, member: str) -> "ListingCalls":
        """Return a member's calls without a socket."""
        return ListingCalls(self, member)

    @asynccontextmanager
    async def channel(self, member: str) -> AsyncIterator[CoordinatorChannel]:
        """Return a node's own channel over a Unix socket of one member."""
        server = new_server(Guard([check_protocol]))
        add_ListingServiceServicer_to_server(self.servicer(member), server)
        with TemporaryDirectory() as folder:  # its path is short enough for a socket's
            path = Path(folder) / "socket"
            bind_unix(server, path)
            await server.start()
            opened = _SocketChannel(path)
            try:
                yield opened
            finally:
                await opened.close()
                await server.stop(0)

    def _identity(self, member: str) -> Identity:
        if member in self.removed:
            raise RefusedError("this member was removed")
        return Identity(FEDERATION, member, "00", self.clock() + timedelta(days=1))


class ListingCalls:
    """The methods of `CoordinatorChannel` that are about listings; errors are raised as they are.

    Args:
        coordinator: a running one.
        member: who calls.
    """

    def __init__(self, coordinator: ListingCoordinator, member: str) -> None:
        self._coordinator = coordinator
        self._member = member
        self._context: Context = None  # type: ignore[assignment] # who calls is known without it

    async def append_listings(self, request: pb.AppendRequest) -> pb.AppendResponse:
        """Append."""
        return await self._servicer.Append(request, self._context)

    async def mark_listings(self, request: pb.MarkRequest) -> pb.MarkResponse:
        """Mark."""
        return await self._servicer.Mark(request, self._context)

    async def renew_listings(self, request: pb.RenewEntriesRequest) -> pb.RenewEntriesResponse:
        """Renew."""
        return await self._servicer.Renew(request, self._context)

    async def listing_states(self, request: pb.GetEntriesRequest) -> pb.GetEntriesResponse:
        """Ask how entries stand."""
        return await self._servicer.GetEntries(request, self._context)

    async def listing_heads(self) -> pb.Heads:
        """Ask for the heads."""
        return await self._servicer.GetHeads(pb.GetHeadsRequest(), self._context)

    async def watch_listing_heads(self) -> AsyncIterator[pb.Heads]:
        """Watch the heads."""
        async for heads in self._servicer.WatchHeads(pb.WatchHeadsRequest(), self._context):
            yield heads

    async def read_listings(self, request: pb.ReadLogRequest) -> AsyncIterator[pb.LogStretch]:
        """Read a log."""
        async for stretch in self._servicer.ReadLog(request, self._context):
            yield stretch

    async def count_tags(self, request: pb.CountTagsRequest) -> pb.TagCounts:
        """Count tags."""
        return await self._servicer.CountTags(request, self._context)

    @property
    def _servicer(self) -> ListingServicer:
        return self._coordinator.servicer(self._member)


class _SocketChannel(CoordinatorChannel):
    """A node's channel, to a Unix socket in place of an address of the membership."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channel = self.open()

    def open(self) -> aio.Channel:
        """Return a new channel."""
        return aio.insecure_channel(f"unix:{self._path}", options=[("grpc.primary_user_agent", user_agent())])


def offer(person: str, entry: str, epoch: int = 1, **label: Any) -> Offered:
    """Return an entry about a made-up person, with an id of its own name; `listing_sample.keys_of` opens it."""
    keys = keys_of(person, epoch)
    return Offered(seal(label_of(**label), keys, new_entry_id(fixed_randomness(entry))), keys.witness)


def random_offers(number: int, seed: str = "offers") -> list[Offered]:
    """Return entries under as many tags that nothing opens, quickly made."""
    draw = fixed_randomness(seed)
    witnesses = [draw(16) for _ in range(number)]
    return [Offered(Sealed(draw(16), tag_of(one), draw(CIPHERTEXT_LENGTH)), one) for one in witnesses]


async def read_log(calls: Any, epoch: int = 1, start: Point | None = None, **asked: Any) -> tuple[list[Any], Head]:
    """Read a log through a member's calls, verified up to the head that comes with it."""
    known = start or Point.start(FEDERATION, epoch)
    parts = [
        part async for part in calls.read_listings(pb.ReadLogRequest(epoch=epoch, from_position=known.size, **asked))
    ]
    head = read_head(from_message(parts[-1].head), COORDINATOR_KEY, FEDERATION, epoch)
    stretch, found = Stretch(known, head.point), []
    for part in parts:
        assert part.from_position == stretch.point.size
        for item in unpack(part.entries):
            stretch.take(item[0])
            found.append(item)
    if not asked.get("without_records"):
        stretch.end()
    return found, head


def _sqlite(path: Path) -> Store:
    engine = make_engine(f"sqlite:///{path}")
    load_tables().create_all(engine)
    return Store(engine)
