"""Tables of feature contracts. Publishing appends a row; nothing changes or deletes one."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_coordinator.store import Base


class ContractPublished(Base):
    """One published version."""

    __tablename__ = "contract"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    payload: Mapped[bytes]
    signature: Mapped[bytes]
    signer: Mapped[bytes]
    digest: Mapped[str] = mapped_column(String(64))
    published_at: Mapped[datetime]
