"""Publishing what a run made: completed from the run's own record, signed, stored as one file and one row.

Everything is a function of the run, so whoever is killed anywhere in between does it again with the same bytes.
"""

from collections.abc import Callable
from pathlib import Path

from jointrisk import durable
from jointrisk.clock import Clock, utc_now
from jointrisk.errors import CorruptError
from jointrisk.learning.bundle import Bundle, Lineage, Sign, read_bundle, read_unsigned, seal
from jointrisk.store import AuditLog, Store
from jointrisk_coordinator.registry import ledger
from jointrisk_coordinator.registry.ledger import PublishedModel


class ModelRegistry:
    """Methods block on database and disk, but for :attr:`current_number`; they are safe from any thread.

    Args:
        store: the coordinator's database.
        folder: where bundles lie.
        sign: signs with the coordinator's identity key.
        public_key: the other half of that key: what is published is verified first, as every node will.
        audit: the audit log in the same store.
        clock: the time.
    """

    def __init__(
        self, store: Store, folder: Path, sign: Sign, public_key: bytes, audit: AuditLog, clock: Clock = utc_now
    ) -> None:
        self._store = store
        self._folder = folder
        self._sign = sign
        self._public_key = public_key
        self._audit = audit
        self._clock = clock
        self._current_number = ledger.last_number(store)
        self.on_published: list[Callable[[], None]] = []
        """Called after every new model, from the publishing thread."""

    @property
    def current_number(self) -> int:
        """The number of the model that was published last; 0 for none."""
        return self._current_number

    def publish(self, run_folder: Path, lineage: Lineage) -> PublishedModel | None:
        """Publish the model that a run left in its folder; None where it left none.

        The model is named as its run. The same run once more changes nothing.

        Raises:
            CorruptError: what the run left is not what its worker wrote.
            ConflictError: another model is published under this name.
        """
        unsigned = read_unsigned(run_folder)
        if unsigned is None:
            return None
        data = seal(lineage.run_id, unsigned, lineage, self._sign)
        bundle = read_bundle(data, self._public_key)
        ledger.require_same(self._store, bundle.manifest.model_id, bundle.digest)
        durable.write(durable.folder(self._folder) / f"{lineage.run_id}.bundle", data)
        self._append(bundle, len(data))
        found = self.find(lineage.run_id)
        self._current_number = max(self._current_number, found.number)
        for tell in self.on_published:
            tell()
        return found

    def published(self, after: int = 0) -> list[PublishedModel]:
        """Return the models published after a number, the oldest first."""
        return ledger.published(self._store, after)

    def find(self, model_id: str) -> PublishedModel:
        """Return a model by its name, or an unambiguous beginning of it.

        Raises:
            NotFoundError: there is none.
            ConflictError: the beginning fits several.
        """
        return ledger.find(self._store, model_id)

    def read(self, model: PublishedModel, offset: int, count: int) -> bytes:
        """Return at most ``count`` bytes of a bundle from an offset on; none at its end.

        Raises:
            CorruptError: the bundle's file is gone or has another size.
        """
        path = self._folder / f"{model.model_id}.bundle"
        try:
            with path.open("rb") as file:
                if file.seek(0, 2) != model.total_bytes:
                    raise CorruptError(f"{path} is not what was published", remedy="Restore it from a backup.")
                file.seek(min(offset, model.total_bytes))
                return file.read(count)
        except FileNotFoundError:
            raise CorruptError(f"{path} is missing", remedy="Restore it from a backup.") from None

    def _append(self, bundle: Bundle, total_bytes: int) -> None:
        with self._store.transaction() as session:
            if ledger.append(session, bundle, total_bytes, self._clock()):
                self._audit.append_in(
                    session, "model.published", model_id=bundle.manifest.model_id, model_digest=bundle.digest
                )
