"""A member of good standing that breaks the rules of its training stream, against a real coordinator daemon."""

import re

import pytest

from attack_arena import Arena
from stream_attacks import ATTACKS, Attack, Scene

pytestmark = pytest.mark.federation


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
async def test_attack_is_refused_and_recorded(arena: Arena, attack: Attack) -> None:
    """The stream ends with a clear error, the audit log says whose it was, and everybody else is served."""
    node = arena.next_hostile()
    before, bait, others = arena.last_record(), arena.bait(node.name), arena.bait("oscar")
    async with node.stream(greeted=attack.greeted) as stream:
        await stream.send(*attack.frames(Scene(stream, bait, others)))
        refused = await stream.refusal()
    assert type(refused) is attack.error, refused.message
    assert re.search(attack.says, refused.message)
    record = await arena.recorded(before, "training.refused", member_id=node.name)
    assert record["code"] == refused.code
    arena.require_serving()
    assert arena.run(others.run_id).participants[0].state == "invited"
    for run_id in (bait.run_id, others.run_id):
        arena.end(run_id)
        assert not list((arena.home / "runs" / run_id).rglob("*.*"))
