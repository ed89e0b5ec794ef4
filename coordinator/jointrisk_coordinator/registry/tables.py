"""Tables of the model registry. Publishing appends a row; nothing changes or deletes one."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_coordinator.store import Base


class ModelPublished(Base):
    """One published model. Its bundle lies in the state directory under the model's name."""

    __tablename__ = "model"

    model_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)
    """Counts what is published, from 1."""
    total_bytes: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the bundle, hex."""
    manifest: Mapped[str] = mapped_column(Text)
    """Canonical JSON, as it was signed."""
    published_at: Mapped[datetime]
