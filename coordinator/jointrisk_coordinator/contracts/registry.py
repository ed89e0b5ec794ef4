"""The contracts of a running coordinator: published through it, the newest version kept in memory."""

from jointrisk.clock import Clock, utc_now
from jointrisk.store import AuditLog, Store
from jointrisk_coordinator.contracts.ledger import PublishedContract, current, get, published
from jointrisk_coordinator.contracts.publishing import Sign, publish


class ContractRegistry:
    """Methods block on the database, but for :attr:`current_version`; they are safe from any thread.

    Args:
        store: the coordinator's database.
        sign: signs with the coordinator's identity key.
        audit: the audit log in the same store.
        clock: the time.
    """

    def __init__(self, store: Store, sign: Sign, audit: AuditLog, clock: Clock = utc_now) -> None:
        self._store = store
        self._sign = sign
        self._audit = audit
        self._clock = clock
        newest = current(store)
        self._current_version = newest.version if newest else 0

    @property
    def current_version(self) -> int:
        """The newest version; 0 when nothing is published."""
        return self._current_version

    def publish(self, toml: str) -> PublishedContract:
        """Publish a contract; see :func:`~jointrisk_coordinator.contracts.publishing.publish` for what is refused."""
        version = publish(self._store, toml, sign=self._sign, clock=self._clock, audit=self._audit)
        self._current_version = max(self._current_version, version)
        return get(self._store, version)

    def payload(self, version: int) -> bytes:
        """Return the canonical payload of a version.

        Raises:
            NotFoundError: it was never published.
        """
        return get(self._store, version).signed.payload

    def published(self) -> list[PublishedContract]:
        """Return every version, oldest first."""
        return published(self._store)
