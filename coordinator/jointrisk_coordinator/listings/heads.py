"""Which logs there are, and their signed heads."""

from collections.abc import Collection
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.clock import Clock
from jointrisk.errors import NotFoundError
from jointrisk.federation.signing import Signed, public_bytes
from jointrisk.listing.head import LISTING_HEAD, sign_head
from jointrisk.listing.log import Point
from jointrisk.listing.record import Randomness
from jointrisk.listing.stamp import SECRET_LENGTH
from jointrisk.masterkey import MasterKey
from jointrisk.store import AuditLog, Session, Store
from jointrisk_coordinator.listings import log_ledger
from jointrisk_coordinator.listings.settings import ListingSettings
from jointrisk_coordinator.listings.tables import LogRow

_ROWS = 16_384
"""Rows that one transaction deletes of a table."""


class Heads:
    """Opens, signs and ends logs. Methods block on the database.

    Args:
        store: the coordinator's database.
        federation: its name.
        key: signs the heads.
        master: seals the stamp secrets.
        audit: the audit log in the same store.
        settings: when a head is old, and an epoch over.
        randomness: makes stamp secrets.
        clock: the time.
    """

    def __init__(
        self,
        store: Store,
        federation: str,
        key: Ed25519PrivateKey,
        master: MasterKey,
        audit: AuditLog,
        settings: ListingSettings,
        randomness: Randomness,
        clock: Clock,
    ) -> None:
        self._store = store
        self._federation = federation
        self._key = key
        self._signer = public_bytes(key)
        self._master = master
        self._audit = audit
        self._settings = settings
        self._randomness = randomness
        self._clock = clock
        self._secrets: dict[int, bytes] = {}

    def all(self) -> list[Signed]:
        """Return the newest head of every log that is served, the oldest log first."""
        with self._store.reading() as session:
            return [self.head(row) for row in self.served(session)]

    def head(self, row: LogRow) -> Signed:
        """Return a log's newest head."""
        return Signed(LISTING_HEAD, row.payload, row.signature, self._signer)

    def served(self, session: Session) -> list[LogRow]:
        """Return the logs that are served, the oldest first."""
        return [row for row in log_ledger.every(session) if self._is_served(row)]

    def require(self, session: Session, epoch: int) -> LogRow:
        """Return a log that is served.

        Raises:
            NotFoundError: there is none for this epoch.
        """
        row = log_ledger.get(session, epoch)
        if row is None or not self._is_served(row):
            raise NotFoundError(
                f"no log of listings is served for epoch {epoch}",
                remedy="Its key was not made yet, or has been replaced for long.",
            )
        return row

    def stamp_secret(self, row: LogRow) -> bytes:
        """Return the secret of a log that is served.

        Raises:
            CorruptError: it does not open.
        """
        if row.epoch not in self._secrets:
            self._secrets[row.epoch] = self._master.open(_secret_name(row.epoch), row.stamp_secret or b"")
        return self._secrets[row.epoch]

    def sign(self, row: LogRow) -> None:
        """Sign how a log stands in this transaction. The time of a head is never before that of the last one."""
        row.signed_at = max(self._clock(), row.signed_at)
        signed = sign_head(self._federation, row.epoch, Point(row.size, row.hash), row.signed_at, self._key)
        row.payload, row.signature = signed.payload, signed.signature

    def open_logs(self, epochs: Collection[int]) -> bool:
        """Open the logs of epochs that have a key; return whether one is new.

        Args:
            epochs: those of which a generation of shares was made.
        """
        with self._store.reading() as session:
            known = {row.epoch for row in log_ledger.every(session)}
        new = sorted(set(epochs) - known)
        if new:
            with self._store.transaction() as session:
                for epoch in new:
                    self._open(session, epoch)
        return bool(new)

    def refresh(self) -> bool:
        """Sign again what was signed too long ago; return whether there was any."""
        now = self._clock()
        with self._store.reading() as session:
            old = [row.epoch for row in self.served(session) if self._is_old(row, now)]
        if old:
            with self._store.transaction() as session:
                for epoch in old:
                    self.sign(self.require(session, epoch))
        return bool(old)

    def delete_old(self) -> bool:
        """Delete what belongs to logs that are served no more; return whether there was any."""
        with self._store.reading() as session:
            over = [row.epoch for row in log_ledger.every(session) if row.stamp_secret and not self._is_served(row)]
        for epoch in over:
            while self._delete_some(epoch):
                pass
        return bool(over)

    def _delete_some(self, epoch: int) -> bool:
        with self._store.transaction() as session:
            more = log_ledger.delete_some(session, epoch, _ROWS)
            row = log_ledger.get(session, epoch)
            if row is not None and not more:
                row.stamp_secret = None
                self._secrets.pop(epoch, None)
                self._audit.append_in(session, "listing.log_deleted", epoch=epoch, size=row.size)
        return more

    def _open(self, session: Session, epoch: int) -> None:
        now, others = self._clock(), log_ledger.every(session)
        for other in others:
            if other.epoch < epoch and other.superseded_at is None:
                other.superseded_at = now
        point = Point.start(self._federation, epoch)
        row = LogRow(
            epoch=epoch,
            stamp_secret=self._master.seal(_secret_name(epoch), self._randomness(SECRET_LENGTH)),
            opened_at=now,
            superseded_at=now if any(other.epoch > epoch for other in others) else None,
            size=point.size,
            hash=point.hash,
            signed_at=now,
            entries=0,
            marks=0,
        )
        self.sign(row)
        log_ledger.add(session, row)
        self._audit.append_in(session, "listing.log_opened", epoch=epoch)

    def _is_served(self, row: LogRow) -> bool:
        if row.stamp_secret is None:
            return False
        return row.superseded_at is None or self._clock() < row.superseded_at + self._settings.old_epochs

    def _is_old(self, row: LogRow, now: datetime) -> bool:
        return now - row.signed_at >= self._settings.head_interval


def _secret_name(epoch: int) -> str:
    return f"listing stamps of epoch {epoch}"
