"""Timing that holds on a machine that does other things, too: short turns, one case after the other, medians."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count

import psutil

Case = Callable[[], object]

_UNDISTURBED = 0.02  # of one core


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
    counted = [_round(cases, number, clock) for number in range(rounds + 1)][1:]
    return {name: [seconds[name] for seconds in counted] for name in cases}


def quietest(
    cases: Mapping[str, Case],
    rounds: int,
    limit: float,
    others: Callable[[], float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each case in those rounds in which the machine did the least for other processes.

    For what needs all cores: a core that others use is not there. Ends when there are enough undisturbed rounds.

    Args:
        cases: what to time, by name.
        rounds: how many are counted.
        limit: seconds after which the quietest so far have to do, if there are enough of them.
        others: tells how many seconds of processor time other processes have used.
        clock: what the seconds are taken with.
    """
    others = others or others_seconds
    taken: list[tuple[float, dict[str, float]]] = []
    begin = clock()
    for number in count():
        begun, before = clock(), others()
        seconds = _round(cases, number, clock)
        if number:
            taken.append(((others() - before) / (clock() - begun), seconds))
        undisturbed = sum(share < _UNDISTURBED for share, _ in taken)
        if undisturbed >= rounds or (len(taken) >= rounds and clock() - begin > limit):
            break
    counted = sorted(taken, key=lambda one: one[0])[:rounds]
    return {name: [seconds[name] for _, seconds in counted] for name in cases}


def others_seconds() -> float:
    """Return the seconds of processor time that this machine has used for other processes than this one and its own."""
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    this = psutil.Process()
    own = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return float(busy - sum(used.user + used.system for used in own))


def _round(cases: Mapping[str, Case], number: int, clock: Callable[[], float]) -> dict[str, float]:
    """Run each case once, in an order that turns around from round to round."""
    seconds = {}
    for name in list(cases)[:: 1 if number % 2 else -1]:
        begin = clock()
        cases[name]()
        seconds[name] = clock() - begin
    return seconds
