"""What may never happen to a secure sum, judged by all that the coordinator and those who collude with it have seen."""

from itertools import combinations
from typing import Protocol

from jointrisk.learning.secure_aggregation import Input
from simulation.secagg_line import Line, Plan
from simulation.secagg_sample import TRAINED, assert_right


class Seen(Protocol):
    """What is judged.

    Attributes:
        plan: what happens.
        honest: the members that do not collude.
        inputs: of all members.
        lines: all attempts.
    """

    plan: Plan
    honest: tuple[str, ...]
    inputs: dict[str, Input]
    lines: list[Line]


def check(seen: Seen) -> None:
    """Fail if a sum is wrong, or somebody's input is singled out."""
    for line in seen.lines:
        _check_outcome(seen, line)
        _check_secrets(seen, line)
    opened = [one for line in seen.lines if (one := _opened(seen, line))]
    assert all(len(one) != 1 for one in opened), f"one input alone is open: {seen.plan}"
    for one, other in combinations(opened, 2):
        assert len(one ^ other) > 1, f"the difference of two sums is one input: {seen.plan}"


def _check_outcome(seen: Seen, line: Line) -> None:
    outcome = line.aggregator.outcome
    if outcome is not None and not line.tainted:
        assert len(outcome.members) >= line.terms.parameters.needed, f"below the minimum: {seen.plan}"
        assert_right(TRAINED, outcome, seen.inputs)


def _check_secrets(seen: Seen, line: Line) -> None:
    assert len(line.released_for) <= 1, f"shares are released for two survivor sets: {seen.plan}"
    for name, place in line.terms.places.items():
        if name in seen.honest:
            both = min(len(line.seeds[place]), len(line.keys[place])) + _colluding(seen, line)
            assert both < line.terms.threshold, f"both secrets of one member are open: {seen.plan}"


def _opened(seen: Seen, line: Line) -> frozenset[str]:
    """Return the honest members whose own mask the coordinator can take off."""
    enough = line.terms.threshold - _colluding(seen, line)
    opened = (line.terms.name(place) for place, holders in line.seeds.items() if len(holders) >= enough)
    return frozenset(opened) & frozenset(seen.honest)


def _colluding(seen: Seen, line: Line) -> int:
    return len(set(line.terms.names) - set(seen.honest))
