"""A process that synchronises a replica in small steps until it is killed: python replica_syncing_process.py FOLDER."""

import asyncio
import sys
from pathlib import Path

from jointrisk_node.replica import settling, syncing
from replica_log import DeskAtTest
from replica_log_of_kills import log_of_kills


async def main() -> None:
    """Synchronise, tell, and do the same with the log as it is later."""
    syncing._BATCH = 1
    settling._SLICE = 50
    settling.PIECE = 400
    for step in (1, 2):
        at_test = DeskAtTest(Path(sys.argv[1]), log_of_kills(step))
        await at_test.desk.refresh()
        sys.stdout.write(f"synchronised {step}\n")
        sys.stdout.flush()
        at_test.desk.close()


if __name__ == "__main__":
    asyncio.run(main())
