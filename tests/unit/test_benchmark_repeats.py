"""Turns of timings: what is compared was measured in the same turn."""

import os

from benchmarks.repeats import interleaved, one_core


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


def test_one_core_is_given_back() -> None:
    """Inside there is one core, afterwards all of them again."""
    before = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
