"""A second process on the sample's database: ``python -m store_sample.writer count|audit|verify|die URL TIMES``."""

import os
import signal
import sys
from pathlib import Path

from jointrisk.store import AuditLog, Store, open_store
from store_sample import MIGRATIONS
from store_sample.tables import Run


def count(store: Store) -> None:
    """Add one to the counter of every run."""
    with store.transaction() as session:
        for run in session.query(Run):
            run.counter += 1


def verify(store: Store) -> None:
    """Verify the audit log; print how many records it has and by how many MiB the process grew meanwhile."""
    list(AuditLog(store).entries(limit=1))
    before = _most_memory()
    report = AuditLog(store).verify()
    print(report.records, (_most_memory() - before) / 1024)  # noqa: T201


def _most_memory() -> int:
    """Return the most memory that this process ever had, KiB; getrusage would count its parent's too."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1])


def main() -> None:
    """Open the database, do the one thing so many times, and, for ``die``, end without any clean-up."""
    action, url, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store = open_store(url, MIGRATIONS)
    for turn in range(times):
        if action == "audit":
            AuditLog(store).append("test.happened", turn=turn, process=os.getpid())
        elif action == "verify":
            verify(store)
        else:
            count(store)
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
