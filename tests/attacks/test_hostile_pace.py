"""Members that flood, that do not read, that write a byte a second: they hold up nobody but themselves."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from attack_arena import HONEST, LEASE, Arena, Bait
from hostile_node import HostileStream
from jointrisk.errors import DeadlineError, JointriskError, RefusedError, UnavailableError
from jointrisk.rpc.v1 import training_pb2 as pb
from stream_attacks import ATTACKS, Scene

pytestmark = pytest.mark.federation

ACCEPTED = b'{"accepted":true}'


async def accept(stream: HostileStream) -> Bait:
    """Accept the offer of the next run, and return it."""
    task, _ = await stream.whole_task("offer")
    offer = Bait(task.run_id, task.message_id)
    await stream.send(offer.reply(ACCEPTED, member_id=stream.node.name))
    return offer


async def test_slow_members_hold_up_nobody(arena: Arena) -> None:
    """One neither reads nor speaks, one writes a byte a second: the round ends with the honest one."""
    mute, slow = arena.members["mute"], arena.members["slow"]
    async with mute.stream() as unread, slow.stream() as dripping:
        more = 'rounds = 1\nquorum = 1\nround_deadline = "9s"\nrejoin_grace = "1s"\nevaluate = false'
        run_id = arena.start_run(HONEST, "mute", "slow", more=more, task_settings="payload_bytes = 8_000_000")
        await accept(unread)
        await accept(dripping)
        began = time.monotonic()
        drip = asyncio.create_task(dribble(dripping))
        run = await asyncio.to_thread(arena.follow, run_id)
        took = time.monotonic() - began
        assert "mute" not in arena.online(), "the lease ends the stream of who says nothing"
        drip.cancel()
        await asyncio.gather(drip, return_exceptions=True)
        assert run.state == "done", run.detail
        assert [list(done.members) for done in run.history] == [[HONEST]]
        assert sorted(run.history[0].missing) == ["mute", "slow"]
        assert LEASE < took < 25
        assert type(await unread.refusal()) is DeadlineError
    arena.require_serving()


async def dribble(stream: HostileStream) -> None:
    """Answer the training task with one byte a second."""
    task, _ = await stream.whole_task("train")
    begun = pb.Reply(message_id=task.message_id, member_id=stream.node.name, total_bytes=1000, sha256=bytes(32))
    await stream.send(pb.NodeFrame(reply=begun))
    for offset in range(1000):
        await asyncio.sleep(1)
        await stream.send(pb.NodeFrame(chunk=pb.Chunk(message_id=task.message_id, offset=offset, data=b"x")))


async def test_who_sends_without_reading_is_ended(arena: Arena) -> None:
    """What is to be answered does not pile up in the coordinator's memory."""
    before = arena.last_record()
    async with arena.members["trudy"].stream() as stream:
        run_id = arena.start_run("trudy", task_settings="payload_bytes = 8_000_000")
        offer = await accept(stream)
        assert (await stream.until("task")).task.kind == "train", "of which no more is read: the coordinator waits"
        await stream.send(*[offer.reply(ACCEPTED, member_id="trudy")] * 1500)
        record = await arena.recorded(before, "training.refused", member_id="trudy")
        assert "without reading" in record["reason"]
    arena.end(run_id)
    arena.require_serving()


async def test_one_member_has_few_streams_at_a_time(arena: Arena) -> None:
    """Streams that have not ended yet are counted, greeted or not; when they end, there is room again."""
    node = arena.members["slow"]
    async with AsyncExitStack() as streams:
        opened = [await streams.enter_async_context(node.stream(greeted=False)) for _ in range(12)]
        refusals = await asyncio.gather(*(first_refusal(stream) for stream in opened))
        assert [type(error) for error in refusals if error is not None] == [UnavailableError] * 4
    await asyncio.sleep(0.2)
    async with node.stream():
        arena.require_serving()


async def first_refusal(stream: HostileStream) -> JointriskError | None:
    """Return what a silent stream is refused with; None when it is left alone for a second."""
    try:
        return await asyncio.wait_for(stream.refusal(), 1)
    except TimeoutError:
        return None


async def test_a_flood_of_broken_streams_fills_no_log(arena: Arena) -> None:
    """Records of refusals and lines of the daemon's log are bounded; the member waits until it may try again."""
    node, before, log = arena.members["flood"], arena.last_record(), arena.log_bytes()
    errors = []
    for _ in range(200):
        async with node.stream(greeted=False) as stream:
            await stream.send(node.hello(member_id=HONEST))
            errors.append(type(await stream.refusal()))
    assert errors[:100] == [RefusedError] * 100
    assert UnavailableError in errors
    assert 1 <= len(arena.records(before, "training.refused", member_id="flood")) <= 40
    assert arena.log_bytes() - log < 40_000
    arena.require_serving()


async def test_an_honest_run_goes_on_amid_all_attacks(arena: Arena) -> None:
    """While one member breaks every rule in turn, another one's run does its rounds, all of them, undisturbed."""
    run_id = arena.start_run(
        HONEST, more='rounds = 12\nround_deadline = "60s"', task_settings="sleep_seconds = 0.1\npayload_bytes = 200_000"
    )
    node, bait, others = arena.members["sybil"], arena.bait("sybil"), arena.bait("oscar")
    for attack in ATTACKS:
        async with node.stream(greeted=attack.greeted) as stream:
            await stream.send(*attack.frames(Scene(stream, bait, others)))
            assert isinstance(await stream.refusal(), JointriskError)
    run = await asyncio.to_thread(arena.follow, run_id)
    assert run.state == "done", run.detail
    assert [list(done.members) for done in run.history] == [[HONEST]] * 12
    assert {done.attempts for done in run.history} == {1}
    for one in (bait, others):
        arena.end(one.run_id)
    arena.require_serving()
