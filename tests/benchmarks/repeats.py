"""Timing that holds on a machine that does other things, too: short turns, one case after the other, medians."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Case = Callable[[], object]


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and what it starts, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def interleaved(
    cases: Mapping[str, Case], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of each case in each round.

    All cases have their turn in each round, so that what slows the machine for a while slows all of them; figures of
    one round may be compared. The first round is not counted.

    Args:
        cases: what to time, by name.
        rounds: how many are counted.
        clock: `time.thread_time` leaves out the time in which the machine did something else.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name in list(cases)[:: 1 if number % 2 else -1]:
            begin = clock()
            cases[name]()
            if number:
                seconds[name].append(clock() - begin)
    return seconds
