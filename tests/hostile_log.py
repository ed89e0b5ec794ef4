"""A coordinator that signs another log than its members made: whatever a test does to it, with the true key."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from jointrisk.clock import Clock
from jointrisk.federation.signing import Signed
from jointrisk.listing.head import sign_head
from jointrisk.listing.log import Entry, EntryKind, Point
from jointrisk.listing.packed import pack
from jointrisk.listing.record import Record
from jointrisk_node.replica.source import LogPart
from listing_coordinator import FEDERATION, ListingCoordinator
from roster_forge import key_of


class HostileLog:
    """A `LogSource`. It begins as the honest log, released or not.

    Args:
        coordinator: whose log it is.
        clock: the time of heads.
        epoch: of the log.

    Attributes:
        items: entries and their records.
    """

    def __init__(self, coordinator: ListingCoordinator, clock: Clock, epoch: int = 1) -> None:
        coordinator.log.release()
        self.epoch = epoch
        self.items: list[tuple[Entry, bytes | None]] = [
            (entry, None if record is None else record.to_bytes()) for entry, record in coordinator.entries(epoch)
        ]
        self._clock = clock

    # -- what it does ----------------------------------------------------------------------------------------------

    def records(self) -> dict[int, Record]:
        """Return the records that it shows, by position."""
        return {at: Record.from_bytes(body) for at, (_, body) in enumerate(self.items) if body is not None}

    def change(self, position: int, record: Record) -> None:
        """Show another record in an entry's place."""
        self.items[position] = appended(record)

    def swap_ciphertexts(self, one: int, other: int) -> None:
        """Exchange what two entries say."""
        records = self.records()
        for at, of in ((one, other), (other, one)):
            sealed = replace(records[at].sealed, ciphertext=records[of].sealed.ciphertext)
            self.change(at, replace(records[at], sealed=sealed))

    def append(self, *records: Record) -> None:
        """Add records."""
        self.items += [appended(one) for one in records]

    def mark(self, kind: EntryKind, position: int) -> None:
        """Mark an entry; what ends it takes its record."""
        self.items.append((Entry.mark(kind, position), None))
        if kind in {EntryKind.TOMBSTONE, EntryKind.EXPIRY}:
            self.withhold(position)

    def withhold(self, position: int) -> None:
        """Keep a record back."""
        self.items[position] = Entry.deleted(self.items[position][0].content), None

    def forget(self, position: int) -> None:
        """Leave an entry or a mark out, as if it had never come. Later marks keep their positions."""
        del self.items[position]

    # -- what it shows ---------------------------------------------------------------------------------------------

    @property
    def point(self) -> Point:
        """Where its chain ends."""
        point = Point.start(FEDERATION, self.epoch)
        for entry, _ in self.items:
            point = point.then(entry)
        return point

    @property
    def signed(self) -> Signed:
        """Its head."""
        return sign_head(FEDERATION, self.epoch, self.point, self._clock(), key_of("coordinator key"))

    async def heads(self) -> Sequence[Signed]:
        """Return its head."""
        return [self.signed]

    async def watch(self) -> AsyncIterator[Sequence[Signed]]:
        """Yield its head, once."""
        yield [self.signed]

    async def read(self, epoch: int, from_position: int) -> AsyncIterator[LogPart]:
        """Yield its entries."""
        assert epoch == self.epoch
        yield LogPart(from_position, pack(self.items[from_position:]), self.signed)


def appended(record: Record) -> tuple[Entry, bytes]:
    """Return the entry of a record."""
    return Entry.append(record.to_bytes()), record.to_bytes()
