"""Key ceremonies under every kind of misfortune and malice: random plans, judged by what may never happen."""

from collections.abc import Iterator
from random import Random

import pytest

from simulation.ceremony_lies import COMBINED, DENIABLE, LIES, PROVABLE
from simulation.ceremony_oracle import check, check_end, proven_liars
from simulation.ceremony_world import LAYOUTS, Operation, Plan, World

QUICK_SEEDS = 300
ALL_SEEDS = 10_000

OPERATIONS = {
    "deliver": 60,
    "lose": 5,
    "duplicate": 5,
    "forge": 3,
    "impersonate": 2,
    "misattribute": 1,
    "kill": 2,
    "kill before storing": 4,
    "kill before sending": 4,
    "restart board": 1,
}
"""What happens how often. The numbers are weights."""

MOST_LAYOUTS = ("generate 2 of 3",) * 4 + ("refresh 2 of 3", "reshare to 2 others of 3", "reshare to others only") * 2


def plan_of(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(seed)  # noqa: S311 - faults, no secrets
    layout = random.choice((*MOST_LAYOUTS, *LAYOUTS))
    operations = tuple(_operations(random, longest=150 if "5" in layout else 90))
    return Plan(layout, seed, tuple(_lies(random, layout)), operations, settles=random.random() < 0.8)


def _lies(random: Random, layout: str) -> Iterator[tuple[str, str]]:
    """Yield nothing, or one or two lies of a party; of two parties where so many may lie."""
    terms, _ = LAYOUTS[layout]()
    liars = random.sample(list(terms.identities), k=2 if layout == "generate 3 of 5" else 1)
    for liar in liars[: random.choice((0, 1, 1, len(liars)))]:
        for lie in random.sample(list(LIES), k=random.choice((1, 1, 2))):
            for one in COMBINED.get(lie, (lie,)):
                yield liar, one


def _operations(random: Random, longest: int) -> Iterator[Operation]:
    gives_up = random.random() < 0.15
    weights = OPERATIONS | ({"order": 1} if gives_up else {})
    for what in random.choices(list(weights), list(weights.values()), k=random.randrange(longest)):
        yield what, random.randrange(10_000)


def run(plan: Plan) -> None:
    """Run a plan to its end, and fail if it goes wrong."""
    world = World(plan)
    world.run()
    check(world)
    if plan.settles:
        world.give_up()
        world.settle()
        world.gossip()
        check_end(world)
    else:
        world.gossip()
        check(world)


@pytest.mark.parametrize("block", range(6))
def test_ceremonies_end_rightly(block: int) -> None:
    """Whatever is lost, forged, killed or lied: one key for all or an abort, and nobody honest is named."""
    for seed in range(block * QUICK_SEEDS // 6, (block + 1) * QUICK_SEEDS // 6):
        run(plan_of(seed))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_ceremonies_end_rightly() -> None:
    """The same with every seed."""
    for seed in range(ALL_SEEDS):
        run(plan_of(seed))


@pytest.mark.parametrize("layout", ["generate 2 of 3", "reshare to others only"])
@pytest.mark.parametrize("lie", [name for table in PROVABLE.values() for name in table])
def test_a_provable_lie_is_proven(lie: str, layout: str) -> None:
    """Each lie that leaves evidence ends with the liar named by all honest parties and the board."""
    terms, _ = LAYOUTS[layout]()
    first, *_, last = terms.identities
    assert _proves(lie, layout, first) | _proves(lie, layout, last)


@pytest.mark.parametrize("layout", ["generate 2 of 3", "reshare to others only"])
@pytest.mark.parametrize("lie", [name for table in DENIABLE.values() for name in table])
def test_a_lie_that_leaves_no_evidence_names_nobody(lie: str, layout: str) -> None:
    """Silence convicts nobody: the ceremony is committed, given up, or waits for the silent one."""
    terms, _ = LAYOUTS[layout]()
    first, *_, last = terms.identities
    for number, liar in enumerate((first, last)):
        world = World(Plan(layout, number, ((liar, lie),), (), settles=True))
        world.run()
        world.give_up()
        world.settle()
        world.gossip()
        check_end(world)
        assert world.board.guilty == frozenset()


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_lie_by_every_party_in_every_ceremony(layout: str) -> None:
    """The same, whoever lies and whatever the ceremony is for."""
    terms, _ = LAYOUTS[layout]()
    for table in PROVABLE.values():
        for lie in table:
            proven = [_proves(lie, layout, liar, seed) for seed, liar in enumerate(terms.identities)]
            assert any(proven), lie


def _proves(lie: str, layout: str, liar: str, seed: int = 0) -> bool:
    """Let one party lie, fail unless it is named if it did, and return whether it did: not every party says all."""
    world = World(Plan(layout, seed, tuple((liar, one) for one in COMBINED.get(lie, (lie,))), (), settles=True))
    world.run()
    world.gossip()
    check_end(world)
    guilty = proven_liars(world)
    assert world.board.guilty == guilty
    assert {party._ledger.guilty for party in world.honest.values()} == {frozenset(guilty)}
    return bool(guilty)
