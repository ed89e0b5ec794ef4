"""A member of good standing that breaks the rules of its training stream, against a real coordinator daemon."""

import re

import pytest

from attack_arena import Arena
from jointrisk.errors import ConflictError, RefusedError, TooLargeError
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


async def test_a_frame_beyond_grpcs_own_limit_is_refused(arena: Arena) -> None:
    """17 MiB never reach our code: gRPC itself refuses them."""
    async with arena.members["oscar"].stream() as stream:
        await stream.send(bytes(17 << 20))
        assert type(await stream.refusal()) is TooLargeError
    arena.require_serving()


async def test_a_replayed_reply_counts_once(arena: Arena) -> None:
    """The same again is receipted and changes nothing, another one is refused; also when the run has ended."""
    node, said = arena.members["sybil"], b'{"accepted":false}'
    bait = arena.bait("sybil", "oscar")
    stored = arena.home / "runs" / bait.run_id / "in" / f"{bait.message_id}.reply"
    other = bait.reply(b'{"accepted":true}', member_id="sybil")
    for _ in range(2):
        async with node.stream() as stream:
            for _ in range(3):
                await stream.send(bait.reply(said, member_id="sybil"))
                assert (await stream.until("receipt")).receipt.message_id == bait.message_id
            written = stored.stat().st_mtime_ns, stored.read_bytes()
            await stream.send(other)
            assert type(await stream.refusal()) is ConflictError
        assert (stored.stat().st_mtime_ns, stored.read_bytes()) == written == (written[0], said)
    states = {one.member_id: one.state for one in arena.run(bait.run_id).participants}
    assert states == {"sybil": "refused", "oscar": "invited"}
    arena.end(bait.run_id)
    async with node.stream() as stream:
        await stream.send(bait.reply(said, member_id="sybil"))
        await stream.until("receipt")
        await stream.send(other)
        assert type(await stream.refusal()) is ConflictError
    assert not stored.exists()
    arena.require_serving()


async def test_a_second_stream_replaces_the_first(arena: Arena) -> None:
    """The older one ends with a goodbye, what it still says counts for nothing, and the task goes to the newer one."""
    node, bait = arena.members["sybil"], arena.bait("sybil")
    async with node.stream() as first:
        assert (await first.until("task")).task.message_id == bait.message_id
        async with node.stream() as second:
            goodbye = (await first.rest())[-1].goodbye
            assert "newer stream" in goodbye.reason
            await first.send(bait.reply(member_id="sybil"))
            assert (await second.until("task")).task.message_id == bait.message_id
            assert "sybil" in arena.online()
            assert arena.run(bait.run_id).participants[0].state == "invited"
    arena.end(bait.run_id)
    arena.require_serving()


async def test_a_refused_greeting_replaces_nothing(arena: Arena) -> None:
    """A stream in order goes on when another one of the same member begins with a broken greeting."""
    node = arena.members["sybil"]
    async with node.stream() as good:
        async with node.stream(greeted=False) as bad:
            await bad.send(node.hello(member_id="honest"))
            assert type(await bad.refusal()) is RefusedError
        bait = arena.bait("sybil")
        assert (await good.until("task")).task.message_id == bait.message_id
    arena.end(bait.run_id)


async def test_what_was_refused_is_in_the_log_that_people_read(arena: Arena) -> None:
    """``audit list`` shows whose stream broke which rule; the chain is sound after all the attacks."""
    node = arena.next_hostile()
    async with node.stream(greeted=False) as stream:
        await stream.send(node.hello(member_id="honest"))
        await stream.refusal()
    listed = arena.federation.coordinator.json("audit", "list", "--event", "training.refused")
    last = next(one["fields"] for one in reversed(listed) if one["fields"]["member_id"] == node.name)
    assert (last["code"], "another member" in last["reason"]) == ("refused", True)
    assert "are sound" in arena.federation.coordinator.command("audit", "verify")
