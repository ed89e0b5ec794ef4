"""What a node has of one epoch: the replica that is read, one that is being built, and how they stand."""

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from jointrisk.errors import CorruptError, UnauthenticatedError
from jointrisk.listing.head import Head
from jointrisk.store import AuditLog
from jointrisk_node.replica.replica import Replica, Served
from jointrisk_node.replica.shelf import Shelf
from jointrisk_node.replica.syncing import Floor


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """How a replica stands.

    Attributes:
        epoch: the epoch of its log.
        size: entries of the log that readers see; 0 before the first synchronisation.
        head_hash: the chain's hash there; empty before.
        signed_at: when the coordinator signed that; None before.
        age: how long ago that is.
        live: how many entries can be found.
        stored_bytes: how large the file is.
        rebuilding: another is being built to take its place.
        refusal: why what the coordinator last sent is not served; empty for no reason.
    """

    epoch: int
    size: int
    head_hash: bytes
    signed_at: datetime | None
    age: timedelta | None
    live: int
    stored_bytes: int
    rebuilding: bool
    refusal: str


class Stocked:
    """One epoch.

    Args:
        shelf: its folder.
        replica: what is read.
        floor: the newest head that has been verified.
        building: what will take the replica's place; None for nothing.

    Attributes:
        refusal: why what the coordinator last sent is not served; empty for no reason.
    """

    def __init__(self, shelf: Shelf, replica: Replica, floor: Floor, building: Replica | None) -> None:
        self.shelf = shelf
        self.replica = replica
        self.floor = floor
        self.building = building
        self.refusal = ""
        self._sized: tuple[Served, int, int] | None = None

    def target(self) -> Replica:
        """Return what is to be synchronised."""
        return self.building or self.replica

    def take_over(self, served: Served) -> bool:
        """Take note of what the target serves now; return whether it has taken the place of another."""
        self.refusal = ""
        self.floor.raise_to(served.head)
        self.shelf.keep_floor(served.signed)
        if self.building is None:
            return False
        self.shelf.switch()
        # The old one is closed when the last lookup in it has let go of it.
        self.replica, self.building = self.building, None
        return True

    def close(self) -> None:
        """Close the files."""
        self.replica.close()
        if self.building is not None:
            self.building.close()

    def state(self, now: datetime) -> ReplicaState:
        """Return how it stands. Reads the disk when something else is served than the last time."""
        live, stored_bytes = self._sizes()
        head = self.replica.served.head if self.replica.served is not None else None
        return ReplicaState(
            self.shelf.epoch,
            head.size if head else 0,
            head.hash if head else b"",
            head.signed_at if head else None,
            max(now - head.signed_at, timedelta()) if head else None,
            live,
            stored_bytes,
            self.building is not None,
            self.refusal,
        )

    def _sizes(self) -> tuple[int, int]:
        """Return how many entries are live, and the file's size: every answer about a person tells how it stands."""
        served = self.replica.served
        if served is None:
            return self.replica.live(), self.replica.stored_bytes()
        if self._sized is None or self._sized[0] is not served:
            self._sized = served, self.replica.live(), self.replica.stored_bytes()
        return self._sized[1:]


class Opener:
    """Opens what is on a shelf.

    Args:
        federation: this node's federation.
        coordinator_key: the pinned key.
        audit: the node's audit log.
    """

    def __init__(self, federation: str, coordinator_key: bytes, audit: AuditLog) -> None:
        self._federation = federation
        self._coordinator_key = coordinator_key
        self._audit = audit

    def open(self, shelf: Shelf) -> Stocked:
        """Open an epoch's replicas, or begin them. What cannot be read is deleted, and fetched again."""
        replica = self._readable(shelf.current(), shelf.epoch)
        building = self.begin_next(shelf) if shelf.is_building() else None
        return Stocked(shelf, replica, Floor(self._newest_known(shelf, replica)), building)

    def _newest_known(self, shelf: Shelf, replica: Replica) -> Head | None:
        """Return the newest head that was verified, also by a replica that is not there any more."""
        heads = [] if replica.served is None else [replica.served.head]
        try:
            kept = shelf.floor()
            heads += [replica.read(kept)] if kept is not None else []
        except (CorruptError, UnauthenticatedError) as error:
            self._audit.append("listings.head_unreadable", epoch=shelf.epoch, reason=error.message)
        return max(heads, key=lambda head: (head.size, head.signed_at), default=None)

    def begin_next(self, shelf: Shelf) -> Replica:
        """Open what is to take the current replica's place, as far as it has come."""
        return self._readable(shelf.next(), shelf.epoch)

    def _readable(self, folder: Path, epoch: int) -> Replica:
        try:
            return self._made(folder, epoch)
        except (CorruptError, UnauthenticatedError) as error:
            self._audit.append("listings.replica_unreadable", epoch=epoch, reason=error.message)
            shutil.rmtree(folder, ignore_errors=True)
            return self._made(folder, epoch)

    def _made(self, folder: Path, epoch: int) -> Replica:
        return Replica(folder, self._federation, epoch, self._coordinator_key)
