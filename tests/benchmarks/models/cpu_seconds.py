"""How much of a run's processor time is learning, and how much is carrying messages.

A run in one process still packs, unpacks and stores every message, as daemons do. Its time is told apart by looking at
the stack every few milliseconds of processor time: the innermost frame of ours says what it is spent on.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Final, Literal

import jointrisk.learning

_EVERY: Final = 0.002
"""Seconds of processor time between two looks."""
_LEARNING: Final = Path(jointrisk.learning.__file__).parent
_PACKAGES: Final = ("jointrisk", "jointrisk_coordinator", "jointrisk_lab", "flwr")
_CARRYING: Final = ("flower.py", "checkpoint.py", "tasks/records.py")
"""Modules of `jointrisk.learning` that carry and store."""

Share = Literal["learning", "transport"]


@dataclass
class Spent:
    """Seconds of processor time of this process.

    Attributes:
        learning: members' and coordinator's computing.
        transport: packing, unpacking, messages, disk.
    """

    learning: float = 0.0
    transport: float = 0.0


@contextmanager
def told_apart() -> Iterator[Spent]:
    """Tell apart what the block spends; in the main thread only. Figures are there when the block has ended."""
    spent, last = Spent(), time.process_time()

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal last
        del number
        # A call into C hears the signal when it is over, so a look stands for all the time since the one before.
        now = time.process_time()
        kind = _kind(frame)
        setattr(spent, kind, getattr(spent, kind) + now - last)
        last = now

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
    try:
        yield spent
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _kind(frame: FrameType | None) -> Share:
    while frame is not None:
        if (kind := _kind_of(frame.f_code.co_filename)) is not None:
            return kind
        frame = frame.f_back
    return "transport"


@lru_cache(maxsize=4096)
def _kind_of(file: str) -> Share | None:
    """Return what a module of ours is for, None for one of somebody else."""
    path = Path(file)
    if path.is_relative_to(_LEARNING):
        return "transport" if path.relative_to(_LEARNING).as_posix() in _CARRYING else "learning"
    return "transport" if set(path.parts) & set(_PACKAGES) else None
