"""Published models in the database."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jointrisk.errors import ConflictError, NotFoundError
from jointrisk.learning.bundle import Bundle, Manifest
from jointrisk.store import Store
from jointrisk_coordinator.registry.tables import ModelPublished


@dataclass(frozen=True)
class PublishedModel:
    """A model as it is stored and served.

    Attributes:
        model_id: its name.
        number: its place among what is published, from 1.
        total_bytes: size of its bundle.
        digest: SHA-256 of its bundle, hex.
        payload: the signed manifest.
        published_at: when.
    """

    model_id: str
    number: int
    total_bytes: int
    digest: str
    payload: bytes
    published_at: datetime

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return Manifest.parse(self.payload)


def published(store: Store, after: int = 0) -> list[PublishedModel]:
    """Return the models published after a number, the oldest first."""
    with store.reading() as session:
        query = select(ModelPublished).where(ModelPublished.number > after).order_by(ModelPublished.number)
        return [_from_row(row) for row in session.scalars(query)]


def last_number(store: Store) -> int:
    """Return the number of the model that was published last; 0 for none."""
    with store.reading() as session:
        return _last(session)


def find(store: Store, model_id: str) -> PublishedModel:
    """Return a model by its name, or by an unambiguous beginning of it.

    Raises:
        NotFoundError: there is none.
        ConflictError: the beginning fits several.
    """
    with store.reading() as session:
        row = session.get(ModelPublished, model_id)
        if row is not None:
            return _from_row(row)
        begun = ModelPublished.model_id.startswith(model_id, autoescape=True)
        rows = list(session.scalars(select(ModelPublished).where(begun).limit(2)))
    if not rows or not model_id:
        raise NotFoundError(
            "there is no published model of this name", remedy="`jointrisk coordinator models list` shows them."
        )
    if len(rows) > 1:
        raise ConflictError("several models' names begin like this", remedy="Give more of the name.")
    return _from_row(rows[0])


def require_same(store: Store, model_id: str, digest: str) -> None:
    """Do nothing where no bundle, or this very one, is stored under a name.

    Raises:
        ConflictError: another one is.
    """
    with store.reading() as session:
        _require_same(session.get(ModelPublished, model_id), digest)


def append(session: Session, bundle: Bundle, total_bytes: int, now: datetime) -> bool:
    """Store a published model under the next number; return False when this very bundle is stored already.

    Raises:
        ConflictError: another bundle is stored under this name.
    """
    row = session.get(ModelPublished, bundle.manifest.model_id)
    _require_same(row, bundle.digest)
    if row is not None:
        return False
    session.add(
        ModelPublished(
            model_id=bundle.manifest.model_id,
            number=_last(session) + 1,
            total_bytes=total_bytes,
            digest=bundle.digest,
            manifest=bundle.manifest.payload().decode(),
            published_at=now,
        )
    )
    return True


def _require_same(row: ModelPublished | None, digest: str) -> None:
    if row is not None and row.digest != digest:
        raise ConflictError(f"another model is published as {row.model_id}")


def _last(session: Session) -> int:
    return session.scalar(select(func.max(ModelPublished.number))) or 0


def _from_row(row: ModelPublished) -> PublishedModel:
    return PublishedModel(
        row.model_id, row.number, row.total_bytes, row.digest, row.manifest.encode(), row.published_at
    )
