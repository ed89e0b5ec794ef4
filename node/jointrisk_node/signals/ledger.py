"""Who of the lender's own systems may ask, in the database."""

from datetime import datetime

from sqlalchemy import select

from jointrisk.clock import rfc3339
from jointrisk.errors import ConflictError, NotFoundError
from jointrisk.store import AuditLog, Store
from jointrisk_node.signals.access import Grant, Role
from jointrisk_node.signals.tables import SignalAccess


class AccessLedger:
    """Keeps grants. Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        audit: the audit log in the same store.
    """

    def __init__(self, store: Store, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    def all(self) -> list[Grant]:
        """Return every grant, by name."""
        with self._store.reading() as session:
            return [_grant(row) for row in session.scalars(select(SignalAccess).order_by(SignalAccess.name))]

    def add(self, grant: Grant, at: datetime) -> None:
        """Keep a grant; the audit log says so.

        Raises:
            ConflictError: there is one of this name, or of this certificate.
        """
        with self._store.transaction() as session:
            same = (SignalAccess.name == grant.name) | (SignalAccess.proof == grant.proof)
            if session.scalars(select(SignalAccess).where(same)).first() is not None:
                raise ConflictError(
                    "a system of this name, or with this certificate, has access already",
                    remedy="Choose another name, or revoke it first with `jointrisk node access revoke`.",
                )
            session.add(
                SignalAccess(
                    name=grant.name,
                    roles=" ".join(sorted(grant.roles)),
                    proof=grant.proof,
                    is_certificate=grant.is_certificate,
                    added_at=at,
                    expires_at=grant.expires_at,
                )
            )
            self._audit.append_in(
                session,
                "signals.access_added",
                system=grant.name,
                roles=" ".join(sorted(grant.roles)),
                by="certificate" if grant.is_certificate else "bearer",
                expires_at=rfc3339(grant.expires_at),
            )

    def remove(self, name: str) -> None:
        """Forget a grant; the audit log says so.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self._store.transaction() as session:
            row = session.get(SignalAccess, name)
            if row is None:
                raise NotFoundError(
                    "no system of this name has access", remedy="`jointrisk node access list` shows those that have."
                )
            session.delete(row)
            self._audit.append_in(session, "signals.access_revoked", system=name)


def _grant(row: SignalAccess) -> Grant:
    roles = frozenset(Role(one) for one in row.roles.split())
    return Grant(row.name, roles, row.proof, row.is_certificate, row.added_at, row.expires_at)
