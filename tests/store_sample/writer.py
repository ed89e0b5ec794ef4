"""A second process that uses the sample's database: ``python -m store_sample.writer count|audit|hang URL TIMES``."""

import os
import signal
import sys

from jointrisk.store import AuditLog, Store, open_store
from store_sample import MIGRATIONS
from store_sample.tables import Run


def count(store: Store) -> None:
    """Add one to the counter of every run."""
    with store.transaction() as session:
        for run in session.query(Run):
            run.counter += 1


def main() -> None:
    """Open the database, do the one thing so many times, and, for ``die``, end without any clean-up."""
    action, url, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store = open_store(url, MIGRATIONS)
    for turn in range(times):
        if action == "audit":
            AuditLog(store).append("test.happened", turn=turn, process=os.getpid())
        else:
            count(store)
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
