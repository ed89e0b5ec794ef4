"""Who of the lender's own systems may ask for signals."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from jointrisk_node.store import Base


class SignalAccess(Base):
    """A system that is let in. It is deleted when it is revoked; the audit log remembers it."""

    __tablename__ = "signal_access"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    roles: Mapped[str] = mapped_column(String(100))
    """Separated by blanks."""
    proof: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256, of the token's 32 bytes or of the certificate (DER)."""
    is_certificate: Mapped[bool]
    added_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
