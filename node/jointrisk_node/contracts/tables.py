"""Tables of feature contracts at a node. A verified version is added once and never changed."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base


class ContractKept(Base):
    """One version that the coordinator signed."""

    __tablename__ = "contract"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    payload: Mapped[bytes]
    signature: Mapped[bytes]
    signer: Mapped[bytes]
    digest: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime]
