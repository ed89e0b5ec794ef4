"""The rule of when to stop waiting for members."""

import pytest

from jointrisk_coordinator.runs.quorum import Rules, Verdict, decide
from jointrisk_coordinator.runs.settings import RunSettings

RULES = Rules(quorum=2, deadline=100.0, grace=10.0)


@pytest.mark.parametrize(
    ("good", "pending", "away", "now", "verdict"),
    [
        pytest.param(3, [], {}, 1, Verdict.GO, id="everybody has answered"),
        pytest.param(1, [], {}, 1, Verdict.MISSED, id="everybody has answered, too few well"),
        pytest.param(2, ["c"], {}, 1, Verdict.WAIT, id="one is still at work, though there is a quorum"),
        pytest.param(2, ["c"], {"c": 0}, 9, Verdict.WAIT, id="one is away, within the grace"),
        pytest.param(2, ["c"], {"c": 0}, 10, Verdict.GO, id="one is away for longer than the grace"),
        pytest.param(2, ["c", "d"], {"c": 0}, 50, Verdict.WAIT, id="one is away, another at work"),
        pytest.param(1, ["c"], {"c": -50}, 50, Verdict.WAIT, id="away, but there is no quorum without it"),
        pytest.param(2, ["c"], {}, 100, Verdict.GO, id="deadline with a quorum"),
        pytest.param(1, ["c"], {}, 100, Verdict.MISSED, id="deadline without a quorum"),
        pytest.param(0, ["c"], {}, 1, Verdict.MISSED, id="the quorum cannot be reached any more"),
    ],
)
def test_verdict(good: int, pending: list[str], away: dict[str, float], now: float, verdict: Verdict) -> None:
    """Each case as its name says; everybody was asked at second 0."""
    assert decide(RULES, good=good, pending=pending, away_since=away, began=0, now=now).verdict is verdict


def test_offers_are_heard_out_even_when_they_cannot_suffice() -> None:
    """Who refuses and why is worth knowing; members that are away are not waited for then."""
    rules = Rules(quorum=3, deadline=100.0, grace=10.0, hear_all=True)
    working = decide(rules, good=0, pending=["b", "c"], away_since={"c": 0.0}, began=0, now=1)
    assert working.verdict is Verdict.WAIT
    absent = decide(rules, good=0, pending=["c"], away_since={"c": 0.0}, began=0, now=1)
    assert absent.verdict is Verdict.MISSED


def test_waiting_ends_at_the_next_moment_that_can_change_something() -> None:
    """The end of the last grace when only absent members are waited for, else the deadline."""
    both_away = {"c": 1.0, "d": 3.0}
    assert decide(RULES, good=2, pending=["c", "d"], away_since=both_away, began=0, now=5).until == 13
    assert decide(RULES, good=2, pending=["c", "d"], away_since={"c": 1.0}, began=0, now=5).until == 100


@pytest.mark.parametrize(
    ("settings", "participants", "quorum"),
    [({}, 3, 3), ({}, 10, 7), ({"minimum_members": 2}, 3, 2), ({"quorum": 5}, 6, 5), ({"quorum": 2}, 6, 3)],
)
def test_quorum_is_two_thirds_unless_said_and_never_below_the_minimum(
    settings: dict[str, int], participants: int, quorum: int
) -> None:
    """What the run's settings come to."""
    assert RunSettings.model_validate(settings).round_rules(participants).quorum == quorum
