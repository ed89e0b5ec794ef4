"""Relational state: one engine for SQLite (embedded) and PostgreSQL (by URL), its migrations, the audit log.

Tables sit with their capability in ``jointrisk_node`` and ``jointrisk_coordinator``, on the ``Base`` of that
package's ``store``.
"""

from sqlalchemy.orm import Session

from jointrisk.store.audit_log import AuditLog, AuditReport, audit_table
from jointrisk.store.engine import Store, open_store
from jointrisk.store.types import COLUMN_TYPES, NAMING_CONVENTION, UtcDateTime

__all__ = [
    "COLUMN_TYPES",
    "NAMING_CONVENTION",
    "AuditLog",
    "AuditReport",
    "Session",
    "Store",
    "UtcDateTime",
    "audit_table",
    "open_store",
]
