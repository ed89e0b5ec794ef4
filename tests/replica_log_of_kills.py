"""The log that is synchronised by processes that are killed: the same in every process."""

from datetime import timedelta

from jointrisk.listing.log import EntryKind
from replica_log import NOON, LogAtTest

SIZE = 1200


def log_of_kills(step: int) -> LogAtTest:
    """Return the log as it is at first, or later, when half of it has ended and as much is new."""
    log = LogAtTest()
    log.per_part = 40
    log.add(*map(str, range(SIZE)))
    if step == 2:
        for position in range(0, SIZE, 2):
            log.mark(EntryKind.TOMBSTONE, position)
        log.add(*(f"new {number}" for number in range(SIZE)))
    log.release(NOON + timedelta(minutes=step))
    return log
