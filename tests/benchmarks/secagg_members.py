"""Members of secure sums in one process: the seam, the mods and the encoding as in a run, no disk and no network.

Members compute on machines of their own, all at the same time. So a sum takes what the coordinator computes and, for
each exchange, what one member computes (the median of all).
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean, median

import numpy as np

from jointrisk.federation.signing import public_bytes
from jointrisk.learning import validation
from jointrisk.learning.aggregation import WEIGHT, Aggregation, Check, Collected, Form, Ranges
from jointrisk.learning.flower import (
    ArrayRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
    act_as,
    decode,
    encode,
    instruction,
    pack,
    values,
)
from jointrisk.learning.secure_aggregation import Parameters, Policy
from jointrisk.learning.secure_runs import Keeping, Kept, Note, SecureAggregation, SecureMod, Sitting, is_secure
from secure_members import RUN, identity

RANGES: Ranges = {"train_loss": (0.0, 100.0)}
FORM: Form = validation.FORM
_ROWS = 2000


class MemoryLedger:
    """A node's record of secure sums, kept nowhere.

    Args:
        name: of the member.
        policy: what it insists on.
    """

    def __init__(self, name: str, policy: Policy) -> None:
        self._policy = policy
        self._identity = identity(name)
        self._sessions: dict[bytes, Keeping] = {}
        self._replies: dict[bytes, bytes] = {}

    def open(self, session: bytes, terms: bytes | None) -> Kept:
        """Return what is kept of a session."""
        del terms
        kept = self._sessions.get(session)
        return Kept(self._policy, None, ()) if kept is None else Kept(self._policy, kept.state, kept.answers)

    def sign(self, session: bytes, message: bytes) -> bytes:
        """Sign."""
        del session
        return self._identity.sign(message)

    def keep(self, keeping: Keeping, reply: bytes) -> None:
        """Note a reply and the state after it."""
        self._sessions[keeping.session] = keeping
        self._replies[keeping.answers[-1][1]] = reply

    def reply(self, request: bytes) -> bytes:
        """Return what was replied."""
        return self._replies[request]


class MemoryNotebook:
    """The coordinator's notes, kept nowhere."""

    def __init__(self) -> None:
        self._notes: dict[tuple[int, str], Note] = {}

    def read(self, number: int, statistic: str) -> Note | None:
        """Return the newest attempt."""
        return self._notes.get((number, statistic))

    def write(self, number: int, statistic: str, note: Note) -> None:
        """Note an attempt."""
        self._notes[number, statistic] = note

    def result(self, number: int, statistic: str) -> tuple[Mapping[str, object], bytes] | None:
        """Return nothing: no sum is asked for twice here."""
        del number, statistic
        return None

    def finish(self, number: int, statistic: str, facts: Mapping[str, object], reply: bytes) -> None:
        """Keep nothing."""

    def forget(self, number: int) -> None:
        """Keep nothing."""
        del number
        self._notes.clear()


@dataclass
class Spent:
    """What sums took.

    Attributes:
        members: seconds of one member, the median of all in each exchange.
        all_members: seconds of all of them, one after the other.
        bytes_per_member: sent to and by one, as Flower encodes records, on average.
        whole: seconds of the whole course in this process.
        after_replies: seconds from the last reply to the result.
    """

    members: float = 0.0
    all_members: float = 0.0
    bytes_per_member: float = 0.0
    whole: float = 0.0
    after_replies: float = 0.0
    _begin: float = field(default_factory=time.perf_counter)
    _replied: float = 0.0

    @property
    def seconds(self) -> float:
        """What the sums take when members compute at the same time."""
        return self.whole - self.all_members + self.members

    def exchanged(self, each: Sequence[float], sizes: Sequence[int]) -> None:
        """Note an exchange: seconds and bytes of every member that was asked."""
        self.members += median(each)
        self.all_members += sum(each)
        self.bytes_per_member += fmean(sizes)
        self._replied = time.perf_counter()

    def end(self) -> None:
        """Note that the result is there."""
        now = time.perf_counter()
        self.whole, self.after_replies = now - self._begin, now - self._replied


class Members:
    """Members behind the seam, whose client apps have their answers ready.

    Args:
        count: how many.
        model: the arrays that are trained.
        lost: how many of them don't get the request for their input.
    """

    def __init__(self, count: int, model: ArrayRecord, lost: int = 0) -> None:
        act_as(RUN)
        self.round = 0
        names = [f"lender-{number:03}" for number in range(1, count + 1)]
        self.numbers: Mapping[str, int] = {name: number for number, name in enumerate(names, start=1)}
        self.identities = {name: public_bytes(identity(name)) for name in names}
        self.spent = Spent()
        self._names = {number: name for name, number in self.numbers.items()}
        self._lost = set(names[:lost])
        self._question = RecordDict({"arrays": model})
        policy = Policy("test", 1, self.identities, 0, 3)
        self._ledgers = {name: MemoryLedger(name, policy) for name in names}
        self._answers = {"train": _trained(model), "evaluate": _evaluated()}

    def sitting(self, parameters: Parameters | None = None) -> Sitting:
        """Return what is the same in all their sums."""
        chosen = parameters or Parameters.usual(len(self.numbers))
        return Sitting("test", RUN, 1, self.numbers, self.identities, chosen)

    def mean(self, seam: Aggregation) -> Spent:
        """Train once, and return what that took."""
        self._begin()
        self._require(seam.mean(self, self._asked("train"), RANGES).reply)
        self.spent.end()
        return self.spent

    def train_and_evaluate(self, seam: Aggregation) -> Spent:
        """Take a whole round, and return what that took."""
        self._begin()
        self._require(seam.mean(self, self._asked("train"), RANGES).reply)
        self._require(seam.sum(self, self._asked("evaluate"), FORM).reply)
        self.spent.end()
        seam.forget(self.round)
        return self.spent

    def collect(
        self, messages: Sequence[Message], check: Check, *, quorum: int | None = None, label: str = ""
    ) -> Collected:
        """Ask all members, one after the other; see `jointrisk.learning.aggregation.Cohort`."""
        del label
        good: dict[str, RecordDict] = {}
        failures: dict[str, str] = {}
        each, sizes = list[float](), list[int]()
        # All contents are the same; the daemon sends them from one file.
        sent = encode(messages[0].content)
        for message in messages:
            name, kind = self._names[message.metadata.dst_node_id], message.metadata.message_type
            if name in self._lost and kind.endswith("masked"):
                failures[name] = "no answer in time"
                continue
            begin = time.perf_counter()
            reply = self._ask(name, kind, sent)
            each.append(time.perf_counter() - begin)
            sizes.append(len(sent) + len(reply))
            good[name] = decode(reply)
            check(name, good[name])
        self.spent.exchanged(each, sizes)
        enough = len(good) >= (len(messages) if quorum is None else quorum)
        return Collected(enough, [partial(good.__getitem__, name) for name in good], tuple(good), failures)

    def _ask(self, name: str, kind: str, sent: bytes) -> bytes:
        number = self.numbers[name]
        asked = instruction(decode(sent), kind, number, "0" * 64, str(self.round))
        if not is_secure(kind):
            return encode(self._answers[kind])
        mod = SecureMod(
            name,
            self._ledgers[name],
            data_version=hashlib.sha256(name.encode()).digest(),
            ranges={"train": RANGES},
            randomness=os.urandom,
        )
        reply = mod(asked, Context(1, number, {}, RecordDict(), {}), self._app)
        return encode(reply.content)

    def _app(self, asked: Message, context: Context) -> Message:
        del context
        return Message(self._answers[asked.metadata.message_type], reply_to=asked)

    def _asked(self, kind: str) -> list[Message]:
        return [Message(self._question, number, kind) for number in self.numbers.values()]

    def _begin(self) -> None:
        self.round += 1
        self.spent = Spent()

    def _require(self, reply: Message | None) -> None:
        if reply is None:
            raise RuntimeError("expected a sum of the members' inputs, got none")


def secure(members: Members, parameters: Parameters | None = None) -> SecureAggregation:
    """Return the seam of secure sums for these members."""
    return SecureAggregation(members.sitting(parameters), MemoryNotebook(), randomness=os.urandom)


def _trained(model: ArrayRecord) -> RecordDict:
    """Return the reply of a member that has trained: every weight moved a little."""
    generator = np.random.default_rng(1)
    moved = {}
    for name, array in model.items():
        before = values(array)
        after = np.add(before, generator.normal(0, 0.01, before.shape), dtype=np.float64)
        moved[name] = pack(after.astype(before.dtype))
    return RecordDict({"arrays": ArrayRecord(moved), "metrics": MetricRecord({WEIGHT: _ROWS, "train_loss": 0.25})})


def _evaluated() -> RecordDict:
    sums = {name: pack(np.ones(shape, dtype=dtype)) for name, (shape, dtype) in FORM.items()}
    return RecordDict({"arrays": ArrayRecord(sums), "metrics": MetricRecord({WEIGHT: _ROWS})})
