"""Members that cheat in secure sums, over real mutual TLS against a real coordinator with its run's worker process.

All four members run the real mod with a real database each, in this process; one of them says something else than it
computed, or nothing. Each run has one round: it is the honest members' mean, or it fails and names who is at fault.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from hostile_node import HostileNode, HostileStream
from jointrisk.errors import JointriskError
from jointrisk.learning import checkpoint
from jointrisk.learning.flower import Context, Message, RecordDict, act_as, decode, encode, instruction, values
from jointrisk.learning.secure_aggregation import Kind, Policy
from jointrisk.learning.secure_runs import SecureMod
from jointrisk.learning.secure_runs.content import read_reply, reply_content
from jointrisk.learning.tasks import Assignment, load_task
from jointrisk.learning.tasks.settings import ProbeSettings
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk_coordinator.runs.ledger import RoundView, RunView
from jointrisk_coordinator.runs.session import StreamSettings
from jointrisk_node.training.gate import read_offer
from needles import byte_needles, everything_under, found_in
from rounds import DAY, Office, World
from secure_members import LedgerAtHand

pytestmark = [pytest.mark.federation, pytest.mark.asyncio(loop_scope="module")]  # with worker processes

NAMES = ("alder", "birch", "cedar", "doyen")
LIAR, PLACE = "cedar", 3
OTHERS = ("alder", "birch", "doyen")
SIZE = 6
SETTINGS = ProbeSettings(payload_bytes=4 * SIZE)
RUN = f"""
task = "probe"
rounds = 1
evaluate = false
round_deadline = "3s"
rejoin_grace = "1s"
on_missed_quorum = "fail"
[task_settings]
payload_bytes = {4 * SIZE}
"""
STEPS = {f"query.secure_{kind.name.lower()}": kind for kind in Kind}
Forge = Callable[[Kind, bytes], bytes | None]
"""What a member says instead of its reply; None for nothing."""


class Member:
    """A member's program at the end of a real stream."""

    def __init__(self, world: World, name: str, folder: Path) -> None:
        self._world, self._name, self._folder = world, name, folder
        pair = world.authority.pair(name)
        address = f"127.0.0.1:{world.port}"
        self._node = HostileNode(name, address, world.authority.ca, pair, world.identity(name))
        self._app: Any = None
        self._run = ""
        self._ledger: LedgerAtHand
        self.forge: Forge = lambda _kind, reply: reply
        self.updates: dict[str, NDArray[np.float64]] = {}
        """What it gave to each run's sum."""
        self.heard: list[bytes] = []
        """What it sent."""
        self.first = np.zeros(SIZE)

    async def serve(self) -> None:
        """Answer tasks for good."""
        async with self._node.stream() as stream:
            while True:
                await self._answer(stream, *await stream.whole_task())

    async def _answer(self, stream: HostileStream, task: pb.Task, content: bytes) -> None:
        try:
            said = self._accepted(task, content) if task.kind == "offer" else self._said(task, content)
        except JointriskError as error:
            failure = pb.Failure(
                message_id=task.message_id, member_id=self._name, code=error.code, reason=error.message
            )
            await stream.send(pb.NodeFrame(failure=failure))
            return
        if said is not None:
            digest = hashlib.sha256(said).digest()
            reply = pb.Reply(member_id=self._name, total_bytes=len(said), sha256=digest, data=said)
            reply.message_id = task.message_id
            await stream.send(pb.NodeFrame(reply=reply))

    def _accepted(self, task: pb.Task, content: bytes) -> bytes:
        offer = read_offer(content)
        self._run = task.run_id
        self._number = offer.number_of(self._name)
        settings = ProbeSettings.model_validate(offer.task_settings)
        self._app = load_task("probe").client_app(Assignment(settings, offer.run_seed, self._number))
        policy = Policy("test", 0, self._world.public_keys(), 1, 3)
        self._ledger = LedgerAtHand(self._folder / task.run_id, self._name, policy)
        return b'{"accepted":true}'

    def _said(self, task: pb.Task, content: bytes) -> bytes | None:
        act_as(task.run_id)
        asked = instruction(decode(content), task.kind, self._number, task.message_id, str(task.round))
        version = hashlib.sha256(self._run.encode()).digest()
        ranges = {"train": load_task("probe").train_metrics}
        mod = SecureMod(self._name, self._ledger, data_version=version, ranges=ranges, randomness=os.urandom)
        reply = mod(asked, Context(1, self._number, {}, RecordDict(), {}), self._trained)
        forged = self.forge(STEPS[task.kind], read_reply(reply.content))
        self.heard.append(forged or b"")
        return None if forged is None else encode(reply_content(forged))

    def _trained(self, message: Message, context: Context) -> Message:
        reply: Message = self._app(message, context)
        sent, got = (values(one.array_records["arrays"]["payload"]) for one in (message.content, reply.content))
        self.first = sent.astype(np.float64)
        self.updates[self._run] = got.astype(np.float64) - sent.astype(np.float64)
        return reply


class Scene:
    """A coordinator and four members."""

    def __init__(self, world: World, office: Office, members: dict[str, Member]) -> None:
        self.world, self.office, self.members = world, office, members

    async def run(self, forge: Forge) -> RunView:
        """Return how a run ends in which one member forges its replies."""
        for member in self.members.values():
            member.heard = []
        self.members[LIAR].forge = forge
        return await self.office.follow(await self.office.supervisor.start(RUN))

    def folder(self, run: RunView) -> Path:
        """Return what the coordinator has of a run."""
        return self.world.folder / "coordinator" / "runs" / run.run_id

    def require_mean_of(self, run: RunView, names: tuple[str, ...]) -> RoundView:
        """Check that a run came to the mean of these members' updates, weighted by their numbers of rows."""
        assert run.state == "done", run.detail
        assert run.history[-1].members == names
        kept = checkpoint.load(self.folder(run) / "checkpoints", 1, run.arrays_sha256)
        first = values(
            load_task("probe").initial_arrays(SETTINGS, None, run.settings.run_seed, b"", "probe", {})["payload"]
        ).astype(np.float64)
        weights = {name: place for place, name in enumerate(NAMES, 1) if name in names}
        total = sum(self.members[name].updates[run.run_id] * weight for name, weight in weights.items())
        mean = total / sum(weights.values())
        assert np.abs(values(kept.arrays["payload"]).astype(np.float64) - first - mean).max() < 1e-6
        return run.history[-1]


@asynccontextmanager
async def federation(folder: Path) -> AsyncIterator[Scene]:
    """Run a coordinator and the members."""
    world = World(folder, NAMES, stream=StreamSettings(lease=DAY / 48, heartbeat=DAY / 480))
    office = await world.office()
    members = {name: Member(world, name, folder / name) for name in NAMES}
    serving = [asyncio.create_task(member.serve()) for member in members.values()]
    try:
        yield Scene(world, office, members)
    finally:
        for task in serving:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*serving, return_exceptions=True)
        await office.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """One federation for all runs."""
    async with federation(tmp_path_factory.mktemp("members")) as made:
        yield made


def at(step: Kind, change: Callable[[bytes], bytes | None]) -> Forge:
    """Return a member that cheats in one step, whenever it is asked."""
    return lambda kind, reply: change(reply) if kind is step else reply


def flipped(place: int) -> Callable[[bytes], bytes]:
    """Return a change of one byte."""

    def change(reply: bytes) -> bytes:
        spoilt = bytearray(reply)
        spoilt[place] ^= 1
        return bytes(spoilt)

    return change


def dealt_badly(receivers: int) -> Callable[[bytes], bytes]:
    """Return a deal of which the sealed shares for the first receivers do not open."""
    sealed_for = [34 + 146 * place + 100 for place in range(PLACE - 1)] + [34 + 146 * (PLACE - 1) + 64 + 100]

    def change(reply: bytes) -> bytes:
        for place in sealed_for[:receivers]:
            reply = flipped(place)(reply)
        return reply

    return change


LEFT_OUT: dict[str, tuple[Kind, Callable[[bytes], bytes | None]]] = {
    "keys that it did not sign": (Kind.KEYS, flipped(34)),
    "half a reply": (Kind.KEYS, lambda reply: reply[:50]),
    "noise for shares": (Kind.SHARES, lambda reply: os.urandom(len(reply))),
    "too few words": (Kind.MASKED, lambda reply: reply[:-8]),
    "complaints about itself": (Kind.MASKED, lambda reply: reply[:34] + b"\1\3" + reply[35:]),
    "the shares' step again": (Kind.MASKED, lambda reply: reply[:1] + bytes([Kind.SHARES + 128]) + reply[2:]),
    "nothing instead of its input": (Kind.MASKED, lambda _: None),
}


@pytest.mark.parametrize("name", LEFT_OUT)
async def test_who_cheats_before_its_input_is_in_is_left_out(scene: Scene, name: str) -> None:
    """The sum is the mean of the others, and it is on record in which step it dropped out."""
    step, change = LEFT_OUT[name]
    done = scene.require_mean_of(await scene.run(at(step, change)), OTHERS)
    assert done.guarantee["dropped"] == {LIAR: step.name.lower()}


LATE: dict[str, tuple[Kind, Callable[[bytes], bytes | None]]] = {
    "another signature": (Kind.SIGN, flipped(40)),
    "silence when survivors sign": (Kind.SIGN, lambda _: None),
    "wrong shares": (Kind.RELEASE, flipped(-1)),
    "silence when shares are released": (Kind.RELEASE, lambda _: None),
}


@pytest.mark.parametrize("name", LATE)
async def test_who_cheats_afterwards_stops_nothing(scene: Scene, name: str) -> None:
    """Its input is in the sum, which the others unmask without its help."""
    done = scene.require_mean_of(await scene.run(at(*LATE[name])), NAMES)
    assert done.guarantee["silent"] == [LIAR]


async def test_shares_for_one_that_do_not_open_stop_nothing(scene: Scene) -> None:
    """One complaint names a pair, and t others have what is needed."""
    scene.require_mean_of(await scene.run(at(Kind.SHARES, dealt_badly(1))), NAMES)


async def test_a_dealer_about_whom_more_complain_than_may_collude_is_named(scene: Scene) -> None:
    """The run ends without a result, and says by whose fault."""
    run = await scene.run(at(Kind.SHARES, dealt_badly(3)))
    assert run.state == "failed"
    assert "dealt-shares" in run.detail
    assert LIAR in run.detail


async def test_an_input_that_is_none_is_no_result(scene: Scene) -> None:
    """More rows than a member may have: the sum is refused. Nobody can say whose input it was, so nobody is named."""
    run = await scene.run(at(Kind.MASKED, flipped(-2)))
    assert run.state == "failed"
    assert run.history == ()
    assert "sum of weights within their bounds" in run.detail


async def test_a_curious_coordinator_keeps_no_members_part(scene: Scene) -> None:
    """During the course and after it no member's update is in its folder, its database, or what it was sent.

    When the round is complete, nothing masked is left either: what could be unmasked with keys stolen later.
    """
    during: dict[str, bytes] = {}

    def look(_kind: Kind, reply: bytes) -> bytes:
        during.update(everything_under(scene.world.folder / "coordinator"))
        return reply

    run = await scene.run(look)
    scene.require_mean_of(run, NAMES)
    heard = [reply for member in scene.members.values() for reply in member.heard]
    places = during | {f"sent {number}": reply for number, reply in enumerate(heard)}
    after = everything_under(scene.world.folder / "coordinator")
    places |= {f"after: {place}": content for place, content in after.items()}
    for name, member in scene.members.items():
        update = member.updates[run.run_id]
        needles = [
            needle
            for form in (update.astype(np.float32), update, (update + member.first).astype(np.float32))
            for needle in byte_needles(f"the update of {name}", form[:2].tobytes())
        ]
        assert found_in(places, needles) == []
    masked = [reply for reply in heard if len(reply) > 34 and reply[1] == Kind.MASKED + 128]
    assert len(masked) == len(NAMES)
    assert not any(reply[35:67] in content for reply in masked for content in after.values())
    assert not list((scene.folder(run) / "secure").iterdir())
