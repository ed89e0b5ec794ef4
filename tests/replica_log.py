"""A log of listings as a coordinator keeps it, honest or not, and a node's desk that reads it."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fixed_randomness import fixed_randomness
from jointrisk.clock import Clock
from jointrisk.errors import UnavailableError
from jointrisk.federation.signing import Signed, public_bytes
from jointrisk.listing.head import sign_head
from jointrisk.listing.log import Entry, EntryKind, Point
from jointrisk.listing.packed import pack
from jointrisk.listing.record import Record, Sealed
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.replica.desk import ReplicaDesk
from jointrisk_node.replica.settings import ReplicaSettings
from jointrisk_node.replica.source import LogPart
from jointrisk_node.store.tables import load_tables

FEDERATION = "lenders"
EPOCH = 3
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(fixed_randomness("coordinator")(32))


def record(name: str, *, tag: str = "", stamp: str = "east-bank", entry_id: str = "") -> Record:
    """Return a record of random bytes; each of its parts is of a name."""
    sealed = Sealed(
        fixed_randomness(entry_id or f"id {name}")(16),
        fixed_randomness(f"tag {tag or name}")(16),
        fixed_randomness(f"ciphertext {name}")(48),
    )
    return Record(sealed, fixed_randomness(f"stamp {stamp}")(8))


class LogAtTest:
    """The log of one epoch, and a `LogSource` of it.

    Attributes:
        packed: the entries as they are sent.
        per_part: entries of a part.
        cut_after: parts after which the connection is lost; None for never.
        alter: changes a part's entries on their way.
        signed: the newest head.
    """

    def __init__(self, epoch: int = EPOCH) -> None:
        self.epoch = epoch
        self.packed: list[bytes] = []
        self.points = [Point.start(FEDERATION, epoch)]
        self.per_part = 100
        self.cut_after: int | None = None
        self.alter: Callable[[list[bytes]], list[bytes]] = list
        self.parts_read = 0
        self.release()

    def release(self, at: datetime = NOON) -> Signed:
        """Sign a head."""
        self.signed = sign_head(FEDERATION, self.epoch, self.points[-1], at, KEY)
        return self.signed

    def append(self, *records: Record) -> None:
        """Add records."""
        for one in records:
            self._add(Entry.append(one.to_bytes()), one.to_bytes())

    def add(self, *names: str) -> None:
        """Add a record of each name."""
        self.append(*map(record, names))

    def mark(self, kind: EntryKind, position: int) -> None:
        """Add a mark; what it ends loses its record."""
        self._add(Entry.mark(kind, position), None)
        if kind in {EntryKind.TOMBSTONE, EntryKind.EXPIRY}:
            self.drop_record(position)

    def drop_record(self, position: int) -> None:
        """Keep a record back."""
        packed = self.packed[position]
        if packed[0] == EntryKind.APPEND:
            self.packed[position] = pack([(Entry.deleted(Entry.append(packed[1:]).content), None)])

    def _add(self, entry: Entry, body: bytes | None) -> None:
        self.points.append(self.points[-1].then(entry))
        self.packed.append(pack([(entry, body)]))

    async def heads(self) -> Sequence[Signed]:
        """Return the head."""
        return [self.signed]

    async def watch(self) -> AsyncIterator[Sequence[Signed]]:
        """Yield the head, once."""
        yield [self.signed]

    async def read(self, epoch: int, from_position: int) -> AsyncIterator[LogPart]:
        """Yield the entries."""
        assert epoch == self.epoch
        sent = self.alter(self.packed)
        for number, start in enumerate(range(from_position, len(sent), self.per_part)):
            if number == self.cut_after:
                raise UnavailableError("cut off")
            self.parts_read += 1
            yield LogPart(start, b"".join(sent[start : start + self.per_part]))
        yield LogPart(len(sent), b"", self.signed)


class Logs:
    """Several logs of one coordinator."""

    def __init__(self, *logs: LogAtTest) -> None:
        self.logs = list(logs)

    async def heads(self) -> Sequence[Signed]:
        """Return the head of each."""
        return [log.signed for log in self.logs]

    async def watch(self) -> AsyncIterator[Sequence[Signed]]:
        """Yield the heads, once."""
        yield await self.heads()

    def read(self, epoch: int, from_position: int) -> AsyncIterator[LogPart]:
        """Read one of them."""
        return next(log for log in self.logs if log.epoch == epoch).read(epoch, from_position)


class DeskAtTest:
    """A node's replicas in a directory; make it again over the same directory to restart it."""

    def __init__(self, root: Path, source: LogAtTest | Logs, clock: Clock | None = None) -> None:
        self.now = NOON
        self._root, self._source = root, source
        root.mkdir(exist_ok=True)
        engine = make_engine(f"sqlite:///{root / 'state.db'}")
        load_tables().create_all(engine)
        self.audit = AuditLog(Store(engine))
        self.folder = root / "replica"
        self.settings = ReplicaSettings(oldest=timedelta(hours=1), retry=timedelta(milliseconds=10))
        self.desk = ReplicaDesk(
            self.folder,
            FEDERATION,
            public_bytes(KEY),
            source,
            self.audit,
            self.settings,
            clock or (lambda: self.now),
        )

    def restarted(self, source: "LogAtTest | Logs | None" = None) -> "DeskAtTest":
        """Close it, and return what starts over the same directory."""
        self.desk.close()
        return DeskAtTest(self._root, source or self._source)

    def found(self, name: str, epoch: int = EPOCH) -> list[int]:
        """Return the positions of what is found under a tag, by its name."""
        return [one.position for one in self.desk.lookup(epoch, fixed_randomness(f"tag {name}")(16))]

    def events(self) -> list[str]:
        """Return the events of the audit log."""
        return [one.event for one in self.audit.entries()]
