"""Threads for work on files, which has what work for somebody who waits leaves."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

_NICENESS: Final = 15  # not 19: a thread that hardly ever runs beside other work would keep Python's lock for long


def background_threads(number: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads, and those that they start, give way to all others.

    Args:
        number: of threads.
        name: what they are called.
    """
    return ThreadPoolExecutor(number, thread_name_prefix=name, initializer=_be_nice)


def _be_nice() -> None:
    """Let this thread have what others leave (Linux: niceness is of threads, inherited, and can always be raised)."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
