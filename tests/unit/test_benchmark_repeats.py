"""Turns of timings: what is compared was measured in the same turn."""

import os
import time
from types import SimpleNamespace

import pytest

from benchmarks.repeats import interleaved, one_core, others_seconds, quietest


def test_cases_take_turns_and_the_first_is_not_counted() -> None:
    """Each case runs once a round, the order turns around, and warming up is left out."""
    runs: list[str] = []
    ticks = iter(range(1000))
    cases = {"a": lambda: runs.append("a"), "b": lambda: runs.append("b")}
    taken = interleaved(cases, 3, lambda: float(next(ticks)))
    assert "".join(runs) == "baabbaab"
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3}


def test_seconds_are_those_of_the_case() -> None:
    """The clock is read right before and right after each."""
    now = 0.0

    def take(seconds: float) -> None:
        nonlocal now
        now += seconds

    taken = interleaved({"short": lambda: take(1), "long": lambda: take(10)}, 2, lambda: now)
    assert taken == {"short": [1, 1], "long": [10, 10]}


def test_disturbed_rounds_do_not_count_if_there_are_others() -> None:
    """The rounds with the least work for others are kept, each round with all of its cases."""
    now, used = 0.0, 0.0
    disturbed = iter([0.0, 0.5, 0.0, 0.5, 0.0])

    def alone() -> None:
        nonlocal now, used
        share = next(disturbed)
        now += 1 + share
        used += share

    def after() -> None:
        nonlocal now
        now += 0.25

    taken = quietest({"alone": alone, "after": after}, 2, 100, lambda: used, lambda: now)
    assert taken == {"alone": [1, 1], "after": [0.25, 0.25]}


def test_a_busy_machine_is_measured_all_the_same() -> None:
    """After the limit the quietest rounds so far count, however disturbed they were."""
    now, used = 0.0, 0.0

    def work() -> None:
        nonlocal now, used
        now += 1
        used += 5 if now < 4 else 1

    assert quietest({"work": work}, 2, 6, lambda: used, lambda: now) == {"work": [1, 1]}
    assert now == 7


def test_others_seconds_leave_out_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process computes is taken off the machine's work."""
    machine = SimpleNamespace(user=1e6, nice=0.0, system=0.0, irq=0.0, softirq=0.0, steal=0.0)
    monkeypatch.setattr("psutil.cpu_times", lambda: machine)
    before, begin = others_seconds(), time.process_time()
    while time.process_time() - begin < 0.3:
        pass
    assert 0.25 < before - others_seconds() < 5


def test_one_core_is_given_back() -> None:
    """Inside there is one core, afterwards all of them again."""
    before = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
