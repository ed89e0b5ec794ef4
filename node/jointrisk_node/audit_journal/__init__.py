"""The audit journal: records that are durable in a fraction of a millisecond, moved into the audit log afterwards.

A record of the hash-chained log costs a transaction of the database, more than a whole evaluation. So records of what
happens hundreds of times a second are written to an LMDB environment first (`AuditJournal`), where a commit is one
fsync, and moved in batches by a loop. They are moved exactly once, whenever the process is killed: the transaction that
appends them notes up to which one (`JournalLedger`), and only then are they deleted here.
"""

from jointrisk_node.audit_journal.journal import AuditJournal
from jointrisk_node.audit_journal.ledger import JournalLedger

__all__ = ["AuditJournal", "JournalLedger"]
