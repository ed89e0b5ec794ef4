"""A lender's listings over real databases, with a real log of listings and a real replica, in one process."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import sha512
from pathlib import Path
from typing import Any, cast

from coordinator_at_test import MASTER, MovableClock
from fixed_randomness import fixed_randomness
from jointrisk.errors import UnavailableError
from jointrisk.federation.certificates import Identity
from jointrisk.federation.signing import Signed
from jointrisk.identifiers import Identifier
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.listing.label import Label
from jointrisk.listing.record import open_sealed
from jointrisk.rpc.v1 import listing_pb2 as pb
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.listings.desk import ListingLog
from jointrisk_coordinator.listings.service import ListingServicer
from jointrisk_node.listings.delivery import DeliveryLedger
from jointrisk_node.listings.desk import ListerDesk
from jointrisk_node.listings.examining import NumberedRow
from jointrisk_node.listings.ledger import ListingLedger
from jointrisk_node.listings.publishing import Progress
from jointrisk_node.listings.settings import ListingsSettings
from jointrisk_node.listings.witnessing import Watch, WitnessLedger
from jointrisk_node.replica.desk import ReplicaDesk
from jointrisk_node.replica.replica import Found
from jointrisk_node.replica.source import LogPart
from jointrisk_node.store.tables import load_tables
from listing_coordinator import FEDERATION, ListingCoordinator
from roster_forge import public_of

EPOCH = 1
LENDER = "ant"
TODAY = date(2026, 3, 1)
GRACE = timedelta(minutes=30)
COLUMNS = ("reference", "resident_id", "phone", "category", "severity", "listed_on", "expires_on", "amount")


def resident_id(number: int) -> str:
    """Return a valid resident's number of 18 digits."""
    first = f"11010519491231{number:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(first, weights, strict=True))
    return first + "10X98765432"[total % 11]


def phone(number: int) -> str:
    """Return a valid mobile number."""
    return f"1381234{number:04d}"


def row(number: int, **changed: str) -> dict[str, str]:
    """Return a file's row about one person, or another one where fields are given."""
    usual = {
        "reference": f"loan-{number}",
        "resident_id": resident_id(number),
        "phone": phone(number),
        "category": "confirmed_default",
        "severity": "high",
        "listed_on": "2026-02-01",
        "amount": "12000",
    }
    return usual | changed


def numbered(rows: Sequence[Mapping[str, str]]) -> list[NumberedRow]:
    """Return rows as they are sent to the daemon."""
    return [
        NumberedRow(number, tuple(one.get(name, "") for name in COLUMNS)) for number, one in enumerate(rows, start=1)
    ]


def keys_for(identifier: Identifier, epoch: int = EPOCH) -> ListingKeys:
    """Return an identifier's keys, under a key of the tests' own instead of the holders'."""
    return derive(sha512(b"the group key" + identifier.oprf_input(epoch)).digest(), epoch)


class CallsAtTest:
    """A lender's calls of the log's service; noted, and failing where a test wants it.

    Attributes:
        sent: requests that were made, in their order.
        down: nothing reaches the coordinator.
        lose: the next answer is lost, after the coordinator has done what was asked.
    """

    def __init__(self, coordinator: ListingCoordinator, lister: str = LENDER) -> None:
        identity = Identity(FEDERATION, lister, "0", datetime(2026, 1, 1, tzinfo=UTC))
        self._service = ListingServicer(coordinator.log, cast("Any", None), lambda _: identity)
        self.sent: list[Any] = []
        self.down = False
        self.lose = False

    async def append_listings(self, request: pb.AppendRequest) -> pb.AppendResponse:
        """Append."""
        return cast("pb.AppendResponse", await self._call(self._service.Append, request))

    async def mark_listings(self, request: pb.MarkRequest) -> pb.MarkResponse:
        """Mark."""
        return cast("pb.MarkResponse", await self._call(self._service.Mark, request))

    async def renew_listings(self, request: pb.RenewEntriesRequest) -> pb.RenewEntriesResponse:
        """Renew."""
        return cast("pb.RenewEntriesResponse", await self._call(self._service.Renew, request))

    async def listing_states(self, request: pb.GetEntriesRequest) -> pb.GetEntriesResponse:
        """Ask how entries stand."""
        return await self._service.GetEntries(request, cast("Any", None))

    async def _call(self, method: Any, request: Any) -> Any:
        if self.down:
            raise UnavailableError("the coordinator is down")
        self.sent.append(request)
        answer = await method(request, None)
        if self.lose:
            self.lose = False
            raise UnavailableError("the answer was lost")
        return answer


class SourceAtTest:
    """The log, read without a network between."""

    def __init__(self, log: ListingLog) -> None:
        self._log = log

    async def heads(self) -> Sequence[Signed]:
        """Return the newest heads."""
        return await asyncio.to_thread(self._log.heads)

    async def watch(self) -> AsyncIterator[Sequence[Signed]]:
        """Yield them once."""
        yield await self.heads()

    async def read(self, epoch: int, from_position: int) -> AsyncIterator[LogPart]:
        """Yield the log up to its newest head."""
        position, is_last = from_position, False
        while not is_last:
            part = await asyncio.to_thread(self._log.read, epoch, position)
            yield LogPart(part.start, part.entries, part.head)
            position, is_last = part.end, part.is_last


class LenderAtTest:
    """A lender; make it again over the same directory to restart its daemon.

    Attributes:
        evaluated: identifiers that the holders were asked about, by epoch.
    """

    def __init__(
        self,
        root: Path,
        coordinator: ListingCoordinator,
        clock: MovableClock,
        *,
        database: str = "",
        **settings: Any,
    ) -> None:
        root.mkdir(exist_ok=True)
        self.clock = clock
        self.file = root / "state.db"
        engine = make_engine(database or f"sqlite:///{self.file}")
        load_tables().create_all(engine)
        self.store = Store(engine)
        self.audit = AuditLog(self.store, clock=clock)
        self.settings = ListingsSettings(**settings)
        self.log = coordinator.log
        self.calls = CallsAtTest(coordinator)
        self.evaluated: list[tuple[int, Identifier]] = []
        self._randomness = fixed_randomness(f"{root}/{id(self)}")
        self.ledger = ListingLedger(self.store, MASTER, self.audit, self._randomness, clock)
        self.waiting = DeliveryLedger(self.store, self.ledger.vault, self.audit, clock)
        self.witness = WitnessLedger(self.store, self.audit)
        self.desk = ListerDesk(
            self.ledger,
            self.waiting,
            self.witness,
            self.calls,
            self._evaluate,
            lambda: list(coordinator.epochs),
            self.settings,
            self._randomness,
            clock,
        )
        self.replica = ReplicaDesk(
            root / "replica",
            FEDERATION,
            public_of("coordinator key"),
            SourceAtTest(coordinator.log),
            self.audit,
            clock=clock,
        )
        self.watch = Watch(self.witness, self.replica, grace=GRACE, recheck=timedelta(0), clock=clock)

    async def _evaluate(self, identifiers: Sequence[Identifier], epoch: int) -> list[ListingKeys]:
        self.evaluated += [(epoch, one) for one in identifiers]
        await asyncio.sleep(0)
        return [keys_for(one, epoch) for one in identifiers]

    async def publish(self, *rows: Mapping[str, str], correcting: bool = False) -> Progress:
        """List rows; return the last progress."""

        async def batches() -> AsyncIterator[list[NumberedRow]]:
            yield numbered(rows)

        take = self.desk.correct if correcting else self.desk.publish
        return [progress async for progress in take(COLUMNS, batches())][-1]

    async def found(self, identifier: Identifier, epoch: int = EPOCH) -> list[tuple[Label, bool]]:
        """Return what a reader finds about an identifier, and whether it is in dispute, after a synchronisation."""
        self.log.keep()
        await self.replica.refresh()
        keys = keys_for(identifier, epoch)
        there: list[Found] = self.replica.lookup(epoch, keys.tag)
        return [(open_sealed(one.record.sealed, keys), one.held) for one in there]

    async def checked(self) -> dict[str, int]:
        """Return alarms after a synchronisation and a check."""
        self.log.keep()
        await self.replica.refresh()
        await asyncio.to_thread(self.watch.check)
        return {one.what: one.count for one in self.witness.alarms()}

    def events(self) -> list[str]:
        """Return the names of audit records of listings."""
        return [entry.event for entry in self.audit.entries(event="listings.")]
