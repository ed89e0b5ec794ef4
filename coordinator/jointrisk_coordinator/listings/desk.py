"""The logs of listings, as members and the operator use them."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, InvalidInputError, RefusedError
from jointrisk.federation.signing import Signed
from jointrisk.listing.packed import without_records
from jointrisk.listing.record import Randomness
from jointrisk.masterkey import MasterKey
from jointrisk.store import AuditLog, Session, Store
from jointrisk_coordinator.listings import ledger, log_ledger
from jointrisk_coordinator.listings.heads import Heads
from jointrisk_coordinator.listings.intake import Intake
from jointrisk_coordinator.listings.releasing import PART, Released, Releasing
from jointrisk_coordinator.listings.settings import ListingSettings
from jointrisk_coordinator.listings.tables import LogRow

Epochs = Callable[[], Mapping[int, Collection[str]]]
"""Returns the holders of every epoch that has a key."""

STRETCH_BYTES: Final = 256 << 10
_DAY_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LogPart:
    """Some entries of a log, with the head where they lead to it.

    Attributes:
        start: position of the first.
        end: position after the last.
        entries: packed.
        head: the newest signed head; None where there is more to read, or only a part was asked for.
        is_last: whether there is no more to read.
    """

    start: int
    end: int
    entries: bytes
    head: Signed | None
    is_last: bool


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How a log stands.

    Attributes:
        epoch: of the log.
        size: entries, marks too.
        live: what readers find, held entries too.
        held: of them.
        pending: entries that wait for their release.
        pending_marks: marks that wait.
        listers: members that have live or pending entries.
        hash: of the newest head.
        signed_at: when that was signed.
        served_until: when the log is deleted; None for the newest.
    """

    epoch: int
    size: int
    live: int
    held: int
    pending: int
    pending_marks: int
    listers: int
    hash: bytes
    signed_at: datetime
    served_until: datetime | None


class ListingLog:
    """The logs of all epochs that are served. Methods block on the database; they are safe from any thread.

    Args:
        store: the coordinator's database.
        federation: its name.
        key: the coordinator's identity key; signs the heads.
        master: seals the secrets of the stamps.
        epochs: returns the holders of every epoch that has a key.
        audit: the audit log in the same store.
        settings: windows, horizon, intervals.
        randomness: makes secrets and shuffles; `os.urandom` outside tests.
        clock: the time.
        part: entries, and marks, that one transaction releases at most.

    Attributes:
        intake: takes what members bring.
        on_changed: called after every commit that made a new head, in whatever thread made it.
        on_taken: called after every commit that left something to be released.
    """

    def __init__(
        self,
        store: Store,
        federation: str,
        key: Ed25519PrivateKey,
        master: MasterKey,
        epochs: Epochs,
        audit: AuditLog,
        settings: ListingSettings,
        randomness: Randomness,
        clock: Clock = utc_now,
        part: int = PART,
    ) -> None:
        self.on_changed: list[Callable[[], None]] = []
        self._store = store
        self._epochs = epochs
        self._audit = audit
        self._settings = settings
        self._clock = clock
        self._heads = Heads(store, federation, key, master, audit, settings, randomness, clock)
        self._releasing = Releasing(store, self._heads, audit, randomness, clock, part)
        self.intake = Intake(store, self._heads, audit, settings, clock)
        self.on_taken = self.intake.on_taken
        self.intake.on_deleted.append(self._remember_to_forget)
        self._lock = threading.Lock()
        self._window = self._present_window()
        # What was deleted just before this process began may still be in the database's files.
        self._to_forget = True

    # -- for members -----------------------------------------------------------------------------------------------

    def heads(self) -> list[Signed]:
        """Return the newest head of every log that is served, the oldest log first."""
        return self._heads.all()

    def read(self, epoch: int, start: int, to_size: int = 0, *, records: bool = True) -> LogPart:
        """Return the next entries of a log, about 256 KiB of them.

        Every call sees the log as it is then, so a record that was deleted meanwhile is ended by a mark that the
        reader gets, too, as long as it goes on up to the newest head.

        Args:
            epoch: the log.
            start: position of the first.
            to_size: the size to stop at; 0 for that of the newest head.
            records: whether to return records; else their hashes.

        Raises:
            InvalidInputError: the log is shorter than that.
            NotFoundError: no log is served for the epoch.
        """
        with self._store.reading() as session:
            log = self._heads.require(session, epoch)
            last = to_size or log.size
            if not start <= last <= log.size:
                raise InvalidInputError(
                    f"expected positions up to {log.size}, the size of the log, got {max(start, last)}"
                )
            entries, end = log_ledger.stretch(session, epoch, start, last, STRETCH_BYTES)
            head = self._heads.head(log) if end == log.size else None
        return LogPart(start, end, entries if records else without_records(entries), head, is_last=end == last)

    def count_tags(self, asker: str, epoch: int) -> dict[str, int]:
        """Return under how many different tags each member has ever appended, for holders to compare with.

        Args:
            asker: the member that asks, from its certificate.
            epoch: the log.

        Raises:
            RefusedError: it holds no share of the epoch's key. *The numbers say how much each member lists.*
            NotFoundError: no log is served for the epoch.
        """
        if asker not in self._epochs().get(epoch, ()):
            raise RefusedError("the numbers of tags are for holders of the epoch's key")
        with self._store.reading() as session:
            self._heads.require(session, epoch)
            return {row.lister: row.tags for row in ledger.listers(session, epoch) if row.tags}

    # -- for the operator ------------------------------------------------------------------------------------------

    def status(self) -> list[LogStatus]:
        """Return how every log that is served stands, the oldest first."""
        with self._store.reading() as session:
            return [self._status(session, log) for log in self._heads.served(session)]

    @property
    def next_release(self) -> datetime | None:
        """When the present window ends; None where there are no windows."""
        window = self._settings.window
        return _DAY_ZERO + (self._present_window() + 1) * window if window else None

    def release(self) -> None:
        """Release at once what waits in all logs, and end what has not been renewed."""
        with self._lock:
            self._release()

    def withdraw_member(self, member: str, members: Collection[str]) -> int:
        """Withdraw everything that a former member has listed; return how many entries that were.

        Args:
            member: its name.
            members: who is a member now.

        Raises:
            ConflictError: it is a member: only a member withdraws its own entries.
        """
        if member in members:
            raise ConflictError(
                f"{member} is a member", remedy="Only what former members listed is withdrawn for them."
            )
        return self.intake.withdraw_all(member)

    # -- as time goes by -------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Do what is due: open logs of new epochs, release, sign again, delete old logs, forget what was deleted."""
        with self._lock:
            changed = self._heads.open_logs(self._epochs())
            if self._is_window_over():
                self._release()
            changed = self._heads.refresh() or changed
            if self._heads.delete_old():
                changed = self._to_forget = True
            if self._to_forget:
                self._to_forget = not self._store.forget_deleted()
        if changed:
            self._tell()

    def _release(self) -> None:
        with self._store.reading() as session:
            epochs = [log.epoch for log in self._heads.served(session)]
        for epoch in epochs:
            self._releasing.release(epoch, self._note)

    def _note(self, released: Released) -> None:
        # Records that only left the rows in which they waited are in the log now: nothing has to be forgotten of them.
        self._to_forget = self._to_forget or released.deleted
        self._tell()

    def _is_window_over(self) -> bool:
        before, self._window = self._window, self._present_window()
        # Other, not later: a clock that was set back must not stop all releases.
        return not self._settings.window or before != self._window

    def _present_window(self) -> int:
        window = self._settings.window
        return (self._clock() - _DAY_ZERO) // window if window else 0

    def _tell(self) -> None:
        for tell in self.on_changed:
            tell()

    def _remember_to_forget(self) -> None:
        self._to_forget = True

    def _status(self, session: Session, log: LogRow) -> LogStatus:
        rows = ledger.listers(session, log.epoch)
        return LogStatus(
            epoch=log.epoch,
            size=log.size,
            live=sum(row.live for row in rows),
            held=sum(row.held for row in rows),
            pending=sum(row.pending for row in rows),
            pending_marks=ledger.marks_waiting(session, log.epoch),
            listers=sum(1 for row in rows if row.live or row.pending),
            hash=log.hash,
            signed_at=log.signed_at,
            served_until=log.superseded_at + self._settings.old_epochs if log.superseded_at else None,
        )
