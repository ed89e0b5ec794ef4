"""Whatever is killed at whatever step, the same command again ends with every entry once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator_at_test import MovableClock
from jointrisk.identifiers import canonicalise
from lender_at_test import EPOCH, LenderAtTest, phone, row
from listing_coordinator import HOLDERS, ListingCoordinator


class _KilledError(BaseException):
    """Stands for SIGKILL: nobody handles it."""


# Before a step is after the one before it.
STEPS = [
    ("desk", "_publisher._sealer._evaluate"),
    ("ledger", "store_rows"),
    ("waiting", "to_append"),
    ("calls", "append_listings"),
    ("calls", "listing_states"),
    ("waiting", "appended"),
    ("ledger", "correct_rows"),
    ("calls", "mark_listings"),
    ("waiting", "marked"),
    ("ledger", "withdraw"),
    ("ledger", "purge"),
    ("ledger", "add_entries"),
]


def _deadly(target: Any, name: str) -> None:
    """Have the first call of a method end everything when it has done its work, and nobody has heard of it."""
    *path, last = name.split(".")
    for part in path:
        target = getattr(target, part)
    alive: Callable[..., Any] = getattr(target, last)

    async def killed(*arguments: Any, **named: Any) -> Any:
        await alive(*arguments, **named)
        raise _KilledError

    def killed_at_once(*arguments: Any, **named: Any) -> Any:
        alive(*arguments, **named)
        raise _KilledError

    setattr(target, last, killed if asyncio.iscoroutinefunction(alive) else killed_at_once)


async def _publish(lender: LenderAtTest) -> None:
    await lender.publish(row(1), row(2), row(9))


async def _correct(lender: LenderAtTest) -> None:
    await lender.publish(row(1, severity="low"), row(2), correcting=True)


async def _withdraw(lender: LenderAtTest) -> None:
    await lender.desk.withdraw(["loan-9"])
    await lender.desk.settle()


async def _publish_again(lender: LenderAtTest) -> None:
    await lender.desk.upkeep.publish_again(2, 10, pause=lambda: asyncio.sleep(0))


COURSE = (_publish, _correct, _withdraw, _publish_again)
"""What a lender's people and its daemon do, one after another."""


@pytest.mark.parametrize(("part", "step"), STEPS)
async def test_a_kill_at_any_step_loses_nothing_and_does_nothing_twice(tmp_path: Path, part: str, step: str) -> None:
    """In both epochs the corrected row and the other are there once, the withdrawn one isn't, nothing waits."""
    clock = MovableClock()
    coordinator = ListingCoordinator(tmp_path / "coordinator", clock=clock, epochs=(EPOCH,))
    lender = LenderAtTest(tmp_path / "lender", coordinator, clock)
    _deadly(getattr(lender, part), step)
    kills = 0
    for act in COURSE:
        if act is _publish_again:
            coordinator.epochs[2] = HOLDERS
            coordinator.log.keep()
        try:
            await act(lender)
        except _KilledError:
            kills += 1
            lender = LenderAtTest(tmp_path / "lender", coordinator, clock)
            await act(lender)
    assert kills == 1
    assert lender.waiting.waiting() == 0
    for epoch in (EPOCH, 2):
        found = {n: len(await lender.found(canonicalise("phone", "CN", phone(n)), epoch)) for n in (1, 2, 9)}
        assert found == {1: 1, 2: 1, 9: 0}
