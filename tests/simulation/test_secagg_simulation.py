"""Secure sums under every kind of misfortune and malice: random plans, judged by what may never happen."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from jointrisk.learning.secure_aggregation import Contributions, Parameters, participant
from simulation.secagg_line import Operation, Plan
from simulation.secagg_sample import Member, seeded
from simulation.secagg_world import World

QUICK_SEEDS = 96
ALL_SEEDS = 10_000

MISFORTUNES = {
    "exchange": 80,
    "advance": 16,
    "lose reply": 5,
    "repeat": 3,
    "kill": 3,
    "kill before storing": 3,
    "restart coordinator": 1,
}
"""What happens how often. The numbers are weights."""

LOSSES = {"silence": 1, "lose state": 1, "new attempt": 1, "exchange in old": 5, "garble": 2}

MALICE = {
    "play to signing": 2,
    "ask survivors": 12,
    "ask release": 12,
    "new attempt": 1,
    "exchange in old": 2,
    "exchange": 1,
    "advance": 1,
    "ask other keys": 1,
    "ask other cohort": 1,
    "kill": 1,
    "kill before storing": 1,
    "repeat": 1,
}


def plan_of(seed: int) -> Plan:
    """Return the plan of a seed: every third has misfortunes alone, every third a coordinator that cheats."""
    random = seeded(seed)
    parties = random.randint(3, 6)
    colluders = random.randint(0, 1 if parties > 3 else 0)
    weights = (MISFORTUNES, MISFORTUNES | LOSSES, MALICE)[seed % 3]
    return Plan(seed, parties, colluders, tuple(_operations(random, weights, 12 * parties)))


def _operations(random: Random, weights: dict[str, int], longest: int) -> Iterator[Operation]:
    for what in random.choices(list(weights), list(weights.values()), k=random.randrange(longest)):
        yield what, random.randrange(10_000)


def run(plan: Plan) -> None:
    """Run a plan to its end, and fail if it goes wrong."""
    world = World(plan)
    world.run()
    outcome = world.settle()
    if {what for what, _ in plan.operations} <= set(MISFORTUNES):
        assert outcome is not None, f"nobody was lost, and there is no sum: {plan}"


@pytest.mark.parametrize("block", range(6))
def test_sums_are_right_or_none(block: int) -> None:
    """Whatever is lost, killed, garbled or asked: the right sum or none, and nobody is singled out."""
    for seed in range(block * QUICK_SEEDS // 6, (block + 1) * QUICK_SEEDS // 6):
        run(plan_of(seed))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_sums_are_right_or_none() -> None:
    """The same with every seed."""
    for seed in range(ALL_SEEDS):
        run(plan_of(seed))


def _too_low(parties: int, colluders: int) -> Parameters:
    return Parameters(parties, colluders, max(2, parties // 2), 3)


def _never_stored(member: Member, *request: Any, stores: bool = True) -> bytes:
    return _ask(member, *request, stores=False)


_ask = Member.ask

COURSES: dict[str, tuple[int, list[tuple[object, str, object]], str]] = {
    "a sum is contributed to once": (
        296,
        [(Contributions, "finish", lambda *_: None)],
        "the difference of two sums is one input",
    ),
    "shares are released on t signatures": (
        308,
        [(participant, "verify_signature", lambda *_: True)],
        "shares are released for two survivor sets",
    ),
    "2t > n + f": (
        101,
        [(Parameters, "choose", _too_low), (Parameters, "check", lambda _: None)],
        "shares are released for two survivor sets",
    ),
    "an answer is stored before it is sent": (3, [(Member, "ask", _never_stored)], "two answers"),
}
"""The rule, a seed on which plans go wrong without it, what stands in its place then, and what goes wrong."""


@pytest.mark.parametrize("rule", COURSES)
def test_without_a_rule_the_simulation_fails(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes well with the rule, and wrong without it: the simulation notices what it is there for."""
    seed, patches, wrong = COURSES[rule]
    run(plan_of(seed))
    for owner, name, without in patches:
        monkeypatch.setattr(owner, name, without)
    with pytest.raises(AssertionError, match=wrong):
        run(plan_of(seed))
