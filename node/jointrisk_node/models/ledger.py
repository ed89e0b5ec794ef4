"""The models that this node has verified, and which one it scores with."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, CorruptError, NotFoundError, RefusedError
from jointrisk.learning.bundle import Bundle, Manifest, read_bundle
from jointrisk.store import AuditLog, Store
from jointrisk_node.models.tables import ModelKept

KEPT: Final = "kept"
ACTIVE: Final = "active"
RETIRED: Final = "retired"

_LIST = "See `jointrisk node models list`."


@dataclass(frozen=True)
class KeptModel:
    """A verified model.

    Attributes:
        model_id: its name.
        state: "kept", "active" or "retired".
        digest: SHA-256 of its bundle, hex.
        payload: its signed manifest.
        received_at: when it came.
        changed_at: when its state changed last; None before.
    """

    model_id: str
    state: str
    digest: str
    payload: bytes
    received_at: datetime
    changed_at: datetime | None

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return Manifest.parse(self.payload)


class ModelLedger:
    """Keeps models. Methods block on database and disk; they are safe from any thread.

    Args:
        store: the node's database.
        folder: where bundles lie.
        audit: the audit log in the same store.
        clock: the time.
    """

    def __init__(self, store: Store, folder: Path, audit: AuditLog, clock: Clock = utc_now) -> None:
        self._store = store
        self.folder = folder
        self._audit = audit
        self._clock = clock
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often a state has changed in this life of the daemon."""
        return self._changes

    def keep(self, bundle: Bundle) -> None:
        """Write down a verified bundle whose file is in its place. The same once more changes nothing.

        Raises:
            RefusedError: another bundle of this name is kept here.
        """
        manifest = bundle.manifest
        with self._store.transaction() as session:
            row = session.get(ModelKept, manifest.model_id)
            if row is None:
                self._add(session, bundle)
            elif row.digest != bundle.digest:
                raise RefusedError(f"the coordinator has signed two different models named {manifest.model_id}")

    def refuse(self, digest: str, reason: str) -> None:
        """Put on record that a bundle was not believed."""
        self._audit.append("model.refused", model_digest=digest, reason=reason[:500])

    def all(self) -> list[KeptModel]:
        """Return every model, in the order in which they came."""
        with self._store.reading() as session:
            rows = session.scalars(select(ModelKept).order_by(ModelKept.received_at, ModelKept.model_id))
            return [_from_row(row) for row in rows]

    def find(self, model_id: str) -> KeptModel:
        """Return a model by its name, or by an unambiguous beginning of it.

        Raises:
            NotFoundError: there is none.
            ConflictError: the beginning fits several.
        """
        with self._store.reading() as session:
            return _from_row(_find(session, model_id))

    def active(self) -> KeptModel | None:
        """Return the model that this node scores with, or None."""
        return active_model(self._store)

    def activate(self, model_id: str) -> KeptModel:
        """Score with this model from now on; the one that was active is kept.

        Raises:
            NotFoundError, ConflictError: as for `find`.
        """
        with self._store.transaction() as session:
            row = _find(session, model_id)
            for other in session.scalars(select(ModelKept).where(ModelKept.state == ACTIVE)):
                if other is not row:
                    other.state, other.changed_at = KEPT, self._clock()
            self._change(session, row, ACTIVE, "model.activated")
            changed = _from_row(row)
        self._changes += 1
        return changed

    def retire(self, model_id: str) -> KeptModel:
        """Score with this model no more, until it is activated again.

        Raises:
            NotFoundError, ConflictError: as for `find`.
        """
        with self._store.transaction() as session:
            row = _find(session, model_id)
            self._change(session, row, RETIRED, "model.retired")
            changed = _from_row(row)
        self._changes += 1
        return changed

    def _change(self, session: Session, row: ModelKept, state: str, event: str) -> None:
        if row.state != state:
            row.state, row.changed_at = state, self._clock()
            self._audit.append_in(session, event, model_id=row.model_id, model_digest=row.digest)

    def _add(self, session: Session, bundle: Bundle) -> None:
        manifest = bundle.manifest
        session.add(
            ModelKept(
                model_id=manifest.model_id,
                state=KEPT,
                digest=bundle.digest,
                manifest=manifest.payload().decode(),
                received_at=self._clock(),
                changed_at=None,
            )
        )
        self._audit.append_in(session, "model.received", model_id=manifest.model_id, model_digest=bundle.digest)


def active_model(store: Store) -> KeptModel | None:
    """Return the model that a node scores with, or None."""
    with store.reading() as session:
        row = session.scalars(select(ModelKept).where(ModelKept.state == ACTIVE)).first()
    return _from_row(row) if row else None


def active_bundle(store: Store, folder: Path, coordinator_key: bytes) -> Bundle:
    """Return the bundle that a node scores with, verified anew.

    Raises:
        NotFoundError: no model is active.
        CorruptError, UnauthenticatedError: its file is not what was received.
    """
    model = active_model(store)
    if model is None:
        raise NotFoundError(
            "no model is active at this node", remedy="Activate one: `jointrisk node models activate NAME`."
        )
    return stored_bundle(folder, model, coordinator_key)


def stored_bundle(folder: Path, model: KeptModel, coordinator_key: bytes) -> Bundle:
    """Return a kept model's bundle, verified anew.

    Raises:
        CorruptError, UnauthenticatedError: its file is not what was received.
    """
    try:
        bundle = read_bundle((folder / f"{model.model_id}.bundle").read_bytes(), coordinator_key)
    except FileNotFoundError:
        raise CorruptError(f"the bundle of {model.model_id} is missing", remedy="Restore it from a backup.") from None
    if bundle.digest != model.digest:
        raise CorruptError(f"the bundle of {model.model_id} is not what was received")
    return bundle


def _find(session: Session, model_id: str) -> ModelKept:
    exact = session.get(ModelKept, model_id)
    if exact is not None:
        return exact
    begun = ModelKept.model_id.startswith(model_id, autoescape=True)
    rows = list(session.scalars(select(ModelKept).where(begun).limit(2)))
    if not rows or not model_id:
        raise NotFoundError("there is no model of this name at this node", remedy=_LIST)
    if len(rows) > 1:
        raise ConflictError("several models' names begin like this", remedy=f"Give more of the name. {_LIST}")
    return rows[0]


def _from_row(row: ModelKept) -> KeptModel:
    return KeptModel(row.model_id, row.state, row.digest, row.manifest.encode(), row.received_at, row.changed_at)
