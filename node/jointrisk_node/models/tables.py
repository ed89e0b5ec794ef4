"""Tables of models at a node. A verified model is added once; only its state changes."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base


class ModelKept(Base):
    """One model that the coordinator signed. Its bundle lies in the state directory under the model's name."""

    __tablename__ = "model"

    model_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    """"kept", "active" or "retired"; at most one is active."""
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the bundle, hex."""
    manifest: Mapped[str] = mapped_column(Text)
    """Canonical JSON, as it was signed."""
    received_at: Mapped[datetime]
    changed_at: Mapped[datetime | None]
    """When its state changed last."""
