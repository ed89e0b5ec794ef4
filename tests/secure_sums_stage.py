"""A real node in secure sums, and everybody else in an attacker's hands: the coordinator's stream and keys."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hostile_coordinator import HostileCoordinator, HostileStream, offer_of
from jointrisk.federation.names import COORDINATOR
from jointrisk.federation.policy import RunPolicy
from jointrisk.learning.flower import Array, ArrayRecord, ConfigRecord, Message, RecordDict, act_as, decode, encode
from jointrisk.learning.secure_aggregation import (
    Aggregator,
    Input,
    Kind,
    Mode,
    Participant,
    Policy,
    Question,
    SeriesMember,
    Terms,
)
from jointrisk.learning.secure_aggregation.messages import request_frame
from jointrisk.learning.secure_runs import Asked, layouts, wire_kind
from jointrisk.learning.secure_runs.content import read_reply, request_content
from jointrisk.rpc import tls
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import new_server
from jointrisk.rpc.v1 import training_pb2 as pb
from rounds import World
from simulation.secagg_sample import Member

NAMES = ("alder", "birch", "cedar", "doyen", "elder")
VICTIM = "birch"
RUN = "run-1"
METRIC = "rounds_kept"
SIZE = 6
POLICY = RunPolicy(tasks=("probe",), minimum_parties=3, colluders=1)


class StolenCoordinator(HostileCoordinator):
    """The attacker with a world's CA."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: asyncio.Queue[HostileStream] = asyncio.Queue()
        self._server = new_server(Guard())

    async def start(self) -> None:
        """Serve on a free port."""
        pair = self._world.authority.pair(COORDINATOR)
        self._world.port = self.serve("127.0.0.1:0", tls.server_credentials(lambda: pair, self._world.authority.ca))
        await self._server.start()


class Stage:
    """The victim, the attacker's stream to it, and the other four members, whose programs the attacker runs."""

    def __init__(self, world: World, attacker: StolenCoordinator) -> None:
        self.world = world
        self._attacker = attacker
        self._link = world.link(VICTIM)
        self._stream: HostileStream
        self.round = 0
        self._asked = 0
        act_as(RUN)

    async def start(self) -> None:
        """Let the node connect, and welcome it."""
        await self._link.start()
        self._stream = await self._attacker.greeted()
        self._stream.welcome(ended_runs=[], forgotten=[], lease_ms=600_000, heartbeat_ms=10_000)

    async def stop(self) -> None:
        """End the node."""
        self._stream.end()
        await self._link.stop(0)

    async def restart(self) -> None:
        """Make the node again from its disk."""
        await self.stop()
        self._link = self.world.link(VICTIM)
        await self.start()

    async def accept(self, run_id: str = RUN) -> None:
        """Let the node accept a run that keeps to its policy."""
        said = await self.task(run_id, "offer", offer(run_id))
        assert isinstance(said, bytes), said

    async def task(self, run_id: str, kind: str, content: bytes) -> bytes | pb.Failure:
        """Return the victim's reply to a task, or its failure."""
        number = os.urandom(32).hex()
        self._stream.task(run_id, kind, content, message_id=number)
        while True:
            frame = await self._stream.until("reply", "failure")
            if number in {frame.reply.message_id, frame.failure.message_id}:
                self._stream.say(pb.CoordinatorFrame(receipt=pb.Receipt(message_id=number)))
                return frame.reply.data if frame.HasField("reply") else frame.failure

    async def ask(self, request: bytes, asked: Asked | None = None, *, run_id: str = RUN) -> bytes:
        """Return what the victim replies to a request of a secure sum."""
        content = encode(request_content({VICTIM: request}, asked))
        said = await self.task(run_id, wire_kind(Kind(request[1])), content)
        assert isinstance(said, bytes), said
        return read_reply(decode(said))

    async def refused(self, request: bytes, asked: Asked | None = None, *, run_id: str = RUN) -> str:
        """Return the rule by which the victim refuses a request; it has the same on record."""
        content = encode(request_content({VICTIM: request}, asked))
        return await self.task_refused(run_id, wire_kind(Kind(request[1])), content)

    async def task_refused(self, run_id: str, kind: str, content: bytes) -> str:
        """Return what stands before the colon of a refusal."""
        before = len(self.records("training.refused"))
        said = await self.task(run_id, kind, content)
        assert not isinstance(said, bytes), "the victim answered"
        assert said.code == "refused", said
        record = self.records("training.refused")[before:]
        assert [(one["run_id"], one["kind"], one["reason"]) for one in record] == [(run_id, kind, said.reason)]
        return said.reason.partition(":")[0]

    def records(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of the victim's audit records of an event."""
        return [dict(entry.fields) for entry in self.world.audits[VICTIM].entries(event=event)]

    def fresh(self) -> Asked:
        """Return a question that nobody was asked before."""
        self._asked += 1
        return question(self._asked)

    def terms(self, asked: Asked, members: tuple[str, ...] = NAMES, **changed: Any) -> Terms:
        """Return sound terms of a new round, or others."""
        self.round += 1
        keys = self.world.public_keys()
        few = len(members) < len(NAMES)
        fields: dict[str, Any] = {
            "mode": Mode.ROUND,
            "session": os.urandom(16),
            "federation": "test",
            "run": RUN,
            "round": self.round,
            "attempt": 1,
            "statistic": "train",
            "contract_version": 0,
            "colluders": 1,
            "threshold": 3 if few else 4,
            "minimum": 3,
            "members": tuple((name, keys[name]) for name in members),
            "request": asked.digest(),
            "layout": layouts.mean_layout(Message(asked.records, 1, "train"), {METRIC: (0.0, 1000.0)}),
        }
        return Terms(**(fields | changed))

    def others(self, terms: Terms) -> dict[str, Member]:
        """Return the programs of the other members."""
        policy = Policy("test", 0, dict(terms.members), 0, 3)
        return {name: Member(name, policy, os.urandom(8)) for name in terms.names if name != VICTIM}


class Course:
    """One session, played by the rules up to where an attack begins."""

    def __init__(self, stage: Stage, asked: Asked | None = None, **changed: Any) -> None:
        self.stage = stage
        self.asked = asked or stage.fresh()
        self.terms = stage.terms(self.asked, **changed)
        self.aggregator = Aggregator(self.terms)
        self.others = stage.others(self.terms)
        self.victim: dict[Kind, bytes] = {}
        """What the victim has replied."""

    def frame(self, kind: Kind, body: bytes) -> bytes:
        """Return a request of this session."""
        return request_frame(kind, self.terms, body)

    def request(self) -> bytes:
        """Return what the victim is asked by the rules now."""
        return self.aggregator.requests()[VICTIM]

    async def ask(self, request: bytes) -> bytes:
        """Ask the victim."""
        return await self.stage.ask(request, self._asked(request), run_id=self.terms.run)

    async def refused(self, kind: Kind, body: bytes) -> str:
        """Return the rule by which the victim refuses a request of this session."""
        request = self.frame(kind, body)
        return await self.stage.refused(request, self._asked(request), run_id=self.terms.run)

    async def until(self, kind: Kind, absent: Mapping[str, Kind] | None = None) -> "Course":
        """Play by the rules until a step begins; ``absent``: from which step on a member is silent."""
        while self.aggregator.outcome is None and self.aggregator.kind < kind:
            step = self.aggregator.kind
            for name, request in self.aggregator.requests().items():
                if step >= (absent or {}).get(name, Kind.SUM):
                    continue
                if name == VICTIM:
                    reply = self.victim[step] = await self.ask(request)
                else:
                    reply = self.others[name].ask(self.terms, request, self._question(name))
                self.aggregator.take(name, reply)
            self.aggregator.advance()
        return self

    def _asked(self, request: bytes) -> Asked | None:
        return self.asked if request[1] in {Kind.MASKED, Kind.SUM} else None

    def _question(self, name: str) -> Question:
        return Question(self.asked.digest(), bytes(32), lambda: given(name))


def given(name: str) -> Input:
    """Return another member's input: its place in every entry."""
    place = float(NAMES.index(name) + 1)
    return Input([np.full(SIZE, place), np.array([place])], 1)


def question(number: int) -> Asked:
    """Return a training task: its model is another with each number."""
    payload = np.full(SIZE, float(number), dtype=np.float32)
    records = RecordDict(
        {"arrays": ArrayRecord({"payload": Array(payload)}), "config": ConfigRecord({"server-round": number})}
    )
    return Asked("train", "mean", (METRIC,), records)


def offer(run_id: str, **changed: Any) -> bytes:
    """Return an offer that the victim's policy lets through, or another."""
    return offer_of(run_id, **({"members": NAMES, "aggregation": "secure"} | changed))


def secrets_of(party: Participant | SeriesMember) -> Any:
    """Return the secrets that a member's program has drawn."""
    return party._state.secrets


@asynccontextmanager
async def stage(folder: Path, policy: RunPolicy = POLICY) -> AsyncIterator[Stage]:
    """Start the attacker and the victim."""
    world = World(folder, NAMES, policy=policy)
    attacker = StolenCoordinator(world)
    await attacker.start()
    made = Stage(world, attacker)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await attacker.stop()


def changed_terms(terms: Terms, **fields: Any) -> Terms:
    """Return terms with other fields, and a session of their own."""
    return replace(terms, session=os.urandom(16), **fields)
