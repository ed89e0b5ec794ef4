"""Offers and tasks by which a coordinator with all its keys tries to make a real node train what it should not."""

import json
import re
from collections.abc import Callable

import pytest

from hostile_coordinator import HostileCoordinator, HostileStream, offer_of
from jointrisk.rpc.v1 import training_pb2 as pb
from poisoned_replies import HOSTILE_TASKS, train_task
from victim_node import Victim

pytestmark = [pytest.mark.federation, pytest.mark.asyncio(loop_scope="session")]

RUN = "run-1"
OFFERS: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "strangers that would hide it": (
        "refused",
        "minimum_parties.*does not know nobody-1, nobody-2",
        lambda: offer_of(RUN, members=("nobody-1", "nobody-2", "victim")),
    ),
    "fewer members than its policy allows": (
        "refused",
        "minimum_parties",
        lambda: offer_of(RUN, members=("friend", "victim"), minimum_members=2),
    ),
    "aggregates of itself alone": ("refused", "minimum_parties", lambda: offer_of(RUN, minimum_members=1)),
    "other code": ("refused", "code_version", lambda: offer_of(RUN, code_version="9.9.9+evil")),
    "a task outside its policy": ("refused", "tasks", lambda: offer_of(RUN, task="default_model")),
    "a task that is none": ("refused", "tasks", lambda: offer_of(RUN, task="os.system")),
    "not itself": ("refused", "does not name victim", lambda: offer_of(RUN, members=("friend", "nobody", "other"))),
    "another run": ("invalid_input", "not the one it came for", lambda: offer_of("run-2")),
    "a task's setting over its limit": (
        "invalid_input",
        "payload_bytes",
        lambda: offer_of(RUN, task_settings={"payload_bytes": 2**40}),
    ),
    "members in no order": ("invalid_input", "members", lambda: offer_of(RUN, members=("victim", "friend", "other"))),
    "a member twice": ("invalid_input", "members", lambda: offer_of(RUN, members=("friend", "friend", "victim"))),
    "a member of a strange name": ("invalid_input", "members", lambda: offer_of(RUN, members=("\x1b[2J", "victim"))),
    "no JSON": ("invalid_input", "offer", lambda: b"\xff\x00"),
    "deep JSON": ("invalid_input", "offer", lambda: b"[" * 50_000),
    "an unknown field": ("invalid_input", "offer", lambda: _with_field("pickle")),
}


def _with_field(name: str) -> bytes:
    return json.dumps(json.loads(offer_of(RUN)) | {name: 1}).encode()


async def failure_of(stream: HostileStream, message_id: str) -> pb.Failure:
    """Return the failure that the node answers a task with."""
    failure = (await stream.until("failure")).failure
    assert failure.message_id == message_id
    assert failure.member_id == "victim"
    return failure


async def accept(stream: HostileStream, run_id: str = RUN) -> str:
    """Let the node accept a sound offer; return the offer's message id."""
    message_id = stream.task(run_id, "offer", offer_of(run_id))
    reply = (await stream.until("reply")).reply
    assert (reply.message_id, reply.data) == (message_id, b'{"accepted":true}')
    return message_id


@pytest.mark.parametrize("name", OFFERS)
async def test_offer_is_refused_with_its_reason(victim: Victim, hostile: HostileCoordinator, name: str) -> None:
    """The reason is told and on record here, no worker starts, and the run cannot go on without the node's consent."""
    code, says, content = OFFERS[name]
    before = victim.last_record()
    async with hostile.stream() as stream:
        failure = await failure_of(stream, stream.task(RUN, "offer", content()))
        assert failure.code == code
        assert re.search(says, failure.reason), failure.reason
        record = await victim.recorded(before, "training.refused")
        assert (record["run_id"], record["kind"], record["code"]) == (RUN, "offer", code)
        failure = await failure_of(stream, stream.task(RUN, "train", train_task()))
        assert (failure.code, failure.reason) == ("refused", "this node has not accepted the run")
        assert victim.workers() == []
    assert victim.records(before, "training.accepted") == []
    victim.require_unharmed()


async def test_tasks_of_a_run_that_was_never_offered_take_no_room(victim: Victim, hostile: HostileCoordinator) -> None:
    """Refused at their first frame, with a record; not a byte is stored."""
    before = victim.last_record()
    async with hostile.stream() as stream:
        for kind in ("train", "evaluate", "query", "query.histograms"):
            message_id = stream.task("run-9", kind, b"x" * 1000, total_bytes=1 << 20)
            assert (await failure_of(stream, message_id)).code == "refused"
        assert victim.files() == []
        assert victim.workers() == []
    assert len(victim.records(before, "training.refused")) == 4
    victim.require_unharmed()


async def test_an_accepted_offer_stays_as_it_is(victim: Victim, hostile: HostileCoordinator) -> None:
    """A changed offer is refused; what follows is done by the first one, or not at all."""
    before = victim.last_record()
    async with hostile.stream() as stream:
        first = await accept(stream)
        kept = (victim.node.home / "training" / RUN / "offer.json").read_bytes()
        changed = stream.task(RUN, "offer", offer_of(RUN, rounds=1000, run_seed=2), message_id="1" * 64)
        assert (await failure_of(stream, changed)).code == "conflict"
        same_id = stream.task(RUN, "offer", offer_of(RUN, rounds=7), message_id=first)
        assert (await failure_of(stream, same_id)).code == "conflict"
        assert (victim.node.home / "training" / RUN / "offer.json").read_bytes() == kept
        message_id = stream.task(RUN, "train", train_task())
        assert (await stream.until("reply")).reply.message_id == message_id
    assert [record["run_id"] for record in victim.records(before, "training.accepted")] == [RUN]
    assert {record["code"] for record in victim.records(before, "training.refused")} == {"conflict"}
    victim.require_unharmed()


async def test_poisoned_tasks_fail_alone(victim: Victim, hostile: HostileCoordinator) -> None:
    """Whatever a training task holds, it is answered with a failure, and the next sound one is done."""
    async with hostile.stream() as stream:
        await accept(stream)
        for number, (name, content) in enumerate(HOSTILE_TASKS.items(), 2):
            message_id = stream.task(RUN, "train", content(), message_id=f"{number:064x}")
            failure = await failure_of(stream, message_id)
            assert failure.code in {"invalid_input", "client_failed"}, name
            assert not list((victim.node.home / "training" / RUN).glob("state/*")), name
        message_id = stream.task(RUN, "train", train_task())
        assert (await stream.until("reply")).reply.message_id == message_id
    victim.require_unharmed()


async def test_a_flood_of_beginnings_fills_no_disk(victim: Victim, hostile: HostileCoordinator) -> None:
    """Of tasks that are begun and never ended, so many lie at a node and no more."""
    async with hostile.stream() as stream:
        for number in range(210):
            stream.task(f"run-{number}", "offer", b"x", total_bytes=1000, message_id=f"{number:064x}")
        failure = (await stream.until("failure")).failure
        assert "holds 200 tasks" in failure.reason
        for _ in range(9):
            await stream.until("failure")
        assert len(victim.files()) == 200
    async with hostile.stream():
        await victim.wait(lambda: victim.files() == [], "the beginnings to be forgotten")
    victim.require_unharmed()


async def test_a_node_takes_part_in_so_many_runs_at_a_time(victim: Victim, hostile: HostileCoordinator) -> None:
    """Offers beyond are refused: each run costs a worker process."""
    async with hostile.stream() as stream:
        for number in range(8):
            offer = victim.node.home / "training" / f"filler-{number}" / "offer.json"
            offer.parent.mkdir(mode=0o700)
            offer.write_bytes(offer_of(f"filler-{number}"))
        failure = await failure_of(stream, stream.task(RUN, "offer", offer_of(RUN)))
        assert "in 8 runs already" in failure.reason
        assert victim.workers() == []
    victim.require_unharmed()
