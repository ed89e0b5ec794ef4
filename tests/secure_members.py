"""Members of secure sums at hand: real mods and real databases, without processes and the wire."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk import durable
from jointrisk.errors import JointriskError
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.aggregation import Check, Collected, PlainAggregation
from jointrisk.learning.flower import Context, Message, RecordDict, act_as, decode, encode, instruction
from jointrisk.learning.secure_aggregation import Parameters, Policy, Terms
from jointrisk.learning.secure_runs import Keeping, Kept, SecureAggregation, SecureMod, Sitting
from jointrisk.masterkey import MasterKey
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.runs.notebook import FolderNotebook
from jointrisk_node.store.tables import load_tables
from jointrisk_node.sums import SumLedger
from jointrisk_node.sums.ledger import NewAnswer

RUN = "run-1"
App = Callable[[Message], RecordDict]
Fault = Callable[[str, str], str]
"""Given a member and a message's kind: "" for none, "lost" for a request that does not arrive, "late" for a reply that
does not, "killed" for a member that dies when it has stored its answer and answers when it is asked again."""


class KilledError(Exception):
    """A process ended."""


class LedgerAtHand:
    """A node's ledger without the pipe between."""

    def __init__(self, folder: Path, name: str, policy: Policy) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = Store(make_engine(f"sqlite:///{folder / 'node.db'}"))
        load_tables().create_all(self.store.engine)
        self.audit = AuditLog(self.store)
        self.rows = SumLedger(self.store, MasterKey(bytes(32)), self.audit)
        self.cohorts = 1
        self._sent = durable.folder(folder / "sent")
        self._policy = policy
        self._identity = identity(name)
        self._terms: dict[bytes, Terms] = {}

    def open(self, session: bytes, terms: bytes | None) -> Kept:
        """Return what is kept."""
        kept = self.rows.find(session)
        if kept is None:
            if terms is not None:
                self._terms[session] = Terms.decode(terms)
            return Kept(self._policy, None, ())
        self._terms[session] = kept.terms
        return Kept(self._policy, kept.state, tuple((number, bytes.fromhex(one)) for number, one in kept.answers))

    def sign(self, session: bytes, message: bytes) -> bytes:
        """Sign."""
        assert session in message
        return self._identity.sign(message)

    def keep(self, keeping: Keeping, reply: bytes) -> None:
        """Store."""
        answers = [(number, request.hex()) for number, request in keeping.answers]
        terms = self._terms[keeping.session]
        new = NewAnswer(terms, keeping.state, answers, keeping.statement, keeping.cohort, keeping.finished)
        self.rows.keep(new, self.cohorts)
        (self._sent / keeping.answers[-1][1].hex()).write_bytes(reply)

    def reply(self, request: bytes) -> bytes:
        """Return what was stored."""
        return (self._sent / request.hex()).read_bytes()


class CohortAtHand:
    """Members behind the seam, with faults."""

    def __init__(self, folder: Path, apps: Mapping[str, App], *, fault: Fault = lambda _who, _kind: "") -> None:
        act_as(RUN)
        self.numbers: Mapping[str, int] = {name: number for number, name in enumerate(sorted(apps), start=1)}
        self.round = 1
        self.fault = fault
        self.asked: list[str] = []
        keys = {name: public_bytes(identity(name)) for name in apps}
        policy = Policy("test", 1, keys, 0, 3)
        self.ledgers = {name: LedgerAtHand(folder / name, name, policy) for name in apps}
        self._apps = apps
        self._names = {number: name for name, number in self.numbers.items()}

    def sitting(self, colluders: int | None = None) -> Sitting:
        """Return what is the same in all sums of these members."""
        count = len(self.numbers)
        chosen = Parameters.usual(count) if colluders is None else Parameters.choose(count, colluders)
        keys = {name: public_bytes(identity(name)) for name in self.numbers}
        return Sitting("test", RUN, 1, self.numbers, keys, chosen)

    def collect(
        self, messages: Sequence[Message], check: Check, *, quorum: int | None = None, label: str = ""
    ) -> Collected:
        """Ask everybody, once."""
        del label
        good: dict[str, RecordDict] = {}
        failures: dict[str, str] = {}
        for message in messages:
            name = self._names[message.metadata.dst_node_id]
            kind = message.metadata.message_type
            self.asked.append(kind)
            fault = self.fault(name, kind)
            if fault == "lost":
                failures[name] = "no answer in time"
                continue
            try:
                reply = self._ask(name, message)
                if fault == "killed":
                    reply = self._ask(name, message)
                if fault == "late":
                    failures[name] = "no answer in time"
                    continue
                check(name, reply)
                good[name] = reply
            except JointriskError as error:
                failures[name] = f"{error.code}: {error.message}"
        needed = len(self.numbers) if quorum is None else quorum
        replies = [lambda one=one: one for one in good.values()]
        return Collected(len(good) >= needed, replies, tuple(good), failures)

    def _ask(self, name: str, message: Message) -> RecordDict:
        """Let a fresh process of the member answer what came over the wire."""
        content = decode(encode(message.content))
        number = self.numbers[name]
        asked = instruction(content, message.metadata.message_type, number, "0" * 64, "1")
        context = Context(1, number, {}, RecordDict(), {})
        if not message.metadata.message_type.startswith("query.secure_"):
            return self._apps[name](asked)
        mod = SecureMod(
            name,
            self.ledgers[name],
            data_version=hashlib.sha256(name.encode()).digest(),
            ranges={"train": {"loss": (0.0, 10.0)}},
            randomness=os.urandom,
        )
        reply = mod(asked, context, lambda inner, _: Message(self._apps[name](inner), reply_to=inner))
        return decode(encode(reply.content))


def identity(name: str) -> Ed25519PrivateKey:
    """Return a member's identity key."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def secure(cohort: CohortAtHand, folder: Path, *, colluders: int | None = None) -> SecureAggregation:
    """Return the aggregation of a worker that has just started."""
    return SecureAggregation(
        cohort.sitting(colluders), FolderNotebook(folder), randomness=os.urandom, sleep=lambda _: None
    )


PLAIN = PlainAggregation()


def arrays_of(reply: RecordDict) -> dict[str, np.ndarray]:
    """Return a reply's arrays."""
    return {name: array.numpy() for name, array in reply.array_records.get("arrays", {}).items()}
