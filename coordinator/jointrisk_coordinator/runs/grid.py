"""Flower's Grid over the pipe to the daemon: the worker's way to the members of its run."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jointrisk import durable
from jointrisk.errors import InvalidInputError, JointriskError
from jointrisk.learning.aggregation import Check, Collected
from jointrisk.learning.flower import Error, Grid, Message, RecordDict, Run, decode, encode
from jointrisk.transfer import message_id
from jointrisk.worker_process import Line
from jointrisk_coordinator.runs.daemon_line import DaemonLine
from jointrisk_coordinator.runs.quorum import Monotonic, Rules, Verdict, decide

_KEPT_DECODED = 64 << 20
_NO_ANSWER = "no answer in time"


@dataclass(frozen=True)
class Place:
    """Where in the run a message belongs."""

    round: int
    attempt: int


class _Replies:
    """Usable replies of one exchange; small ones stay decoded, large ones are read again when they are summed."""

    def __init__(self) -> None:
        self._loaders: dict[int, Callable[[], RecordDict]] = {}
        self._kept = 0

    def __len__(self) -> int:
        return len(self._loaders)

    def take(self, number: int, path: Path, check: Callable[[RecordDict], None]) -> None:
        """Add a reply.

        Raises:
            InvalidInputError: it cannot be used.
        """
        record = decode(path.read_bytes())
        check(record)
        size = path.stat().st_size
        if self._kept + size > _KEPT_DECODED:
            self._loaders[number] = lambda: decode(path.read_bytes())
        else:
            self._kept += size
            self._loaders[number] = lambda: record

    def in_order(self) -> tuple[list[int], list[Callable[[], RecordDict]]]:
        """Return members' numbers and loaders, ascending."""
        numbers = sorted(self._loaders)
        return numbers, [self._loaders[number] for number in numbers]


class WorkerGrid(Grid):
    """The participants of one run, online or not.

    Args:
        line: the daemon.
        run_id: the run.
        members: the participants and their numbers.
        out: the folder of contents, where the daemon reads them.
        rules: how long to wait for whom.
        monotonic: seconds.
    """

    def __init__(
        self,
        line: DaemonLine,
        run_id: str,
        members: Mapping[str, int],
        out: Path,
        rules: Rules,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._line = line
        self._run_id = run_id
        self._names = {number: member for member, number in members.items()}
        self._out = durable.folder(out)
        self._rules = rules
        self._monotonic = monotonic
        self._place = Place(0, 1)
        self._steps: dict[str, int] = {}
        self._asked: dict[str, Message] = {}
        self._answers: list[Line] = []
        self._told: set[str] = set()

    def enter(self, place: Place) -> None:
        """Say which round and attempt the next messages belong to."""
        self._place = place
        self._steps.clear()

    @property
    def round(self) -> int:
        """The round that the next messages belong to."""
        return self._place.round

    @property
    def numbers(self) -> Mapping[str, int]:
        """The participants' numbers."""
        return {member: number for number, member in self._names.items()}

    def collect(
        self, messages: Sequence[Message], check: Check, *, quorum: int | None = None, label: str = ""
    ) -> Collected:
        """Send messages and wait as the run's rules say; see :class:`jointrisk.learning.aggregation.Cohort`."""
        rules = self._rules if quorum is None else replace(self._rules, quorum=quorum)
        pending = dict(zip(self._send(messages, label), messages, strict=True))
        replies, failures, began = _Replies(), dict[str, str](), self._monotonic()
        while True:
            now, names = self._monotonic(), self._names_of(pending.values())
            away = {name: since for name in names if (since := self._line.away_since.get(name)) is not None}
            decision = decide(rules, good=len(replies), pending=names, away_since=away, began=began, now=now)
            if decision.verdict is not Verdict.WAIT:
                break
            self._say_waiting(away)
            answer = self._line.next_answer(decision.until - now)
            if answer is not None and (message := pending.pop(answer["message_id"], None)) is not None:
                self._take(answer, message, replies, failures, check)
        self._say_waiting({})
        if pending:
            self._line.withdraw(pending)
        failures |= dict.fromkeys(self._names_of(pending.values()), _NO_ANSWER)
        numbers, loaders = replies.in_order()
        members = tuple(self._names[number] for number in numbers)
        return Collected(decision.verdict is Verdict.GO, loaders, members, failures)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages and wait for all replies, at most ``timeout`` seconds (Flower's interface)."""
        ids = list(self.push_messages(messages))
        end = None if timeout is None else self._monotonic() + timeout
        replies: list[Message] = []
        while len(replies) < len(ids) and (end is None or self._monotonic() < end):
            answer = self._line.next_answer(None if end is None else max(0.0, end - self._monotonic()))
            if answer is not None:
                self._answers.append(answer)
            replies.extend(self.pull_messages(ids))
        return replies

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages and return their ids (Flower's interface)."""
        messages = list(messages)
        ids = self._send(messages)
        self._asked.update(zip(ids, messages, strict=True))
        return ids

    def _send(self, messages: Sequence[Message], label: str = "") -> list[str]:
        lines, contents = [], dict[int, tuple[str, int]]()
        for message in messages:
            if id(message.content) not in contents:
                contents[id(message.content)] = self._write(message.content)
            lines.append(self._ask_line(message, *contents[id(message.content)], label))
        for kind in {line["kind"] for line in lines}:
            self._steps[kind] = self._steps.get(kind, 0) + 1
        self._line.ask(lines)
        return [line["message_id"] for line in lines]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have come (Flower's interface)."""
        wanted = set(message_ids)
        mine = [answer for answer in self._answers if answer["message_id"] in wanted]
        self._answers = [answer for answer in self._answers if answer["message_id"] not in wanted]
        return [_to_message(answer, self._asked.pop(answer["message_id"])) for answer in mine]

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message (Flower's interface)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the participants' numbers, online or not."""
        return sorted(self._names)

    def set_run(self, run: Run) -> None:  # noqa: ARG002
        """Refuse: the run is fixed (Flower's interface)."""
        raise InvalidInputError("a worker serves one run, from its beginning")

    @property
    def run(self) -> Run:
        """Flower's description of the run."""
        return Run.create_empty(0)

    def _take(
        self,
        answer: Line,
        message: Message,
        replies: _Replies,
        failures: dict[str, str],
        check: Check,
    ) -> None:
        number = message.metadata.dst_node_id
        name = self._names[number]
        if answer["reply"] is None:
            failures[name] = f"{answer['code']}: {answer['reason']}"
            return
        try:
            replies.take(number, Path(answer["reply"]), lambda reply: check(name, reply))
        except JointriskError as error:
            failures[name] = f"{error.code}: {error.message}"

    def _names_of(self, messages: Iterable[Message]) -> list[str]:
        return [self._names[message.metadata.dst_node_id] for message in messages]

    def _say_waiting(self, away: Mapping[str, float]) -> None:
        if set(away) != self._told:
            self._told = set(away)
            self._line.waiting(away)

    def _write(self, content: RecordDict) -> tuple[str, int]:
        data = encode(content)
        name = hashlib.sha256(data).hexdigest()
        path = self._out / name
        if not path.exists() or path.stat().st_size != len(data):
            # Not synced: after a power cut the worker starts again and writes it again.
            scratch = path.with_suffix(".new")
            scratch.write_bytes(data)
            scratch.replace(path)
        return name, len(data)

    def _ask_line(self, message: Message, digest: str, size: int, label: str) -> Line:
        kind, member = message.metadata.message_type, self._names[message.metadata.dst_node_id]
        at = self._place
        where = (at.attempt, kind) if not label else (0, f"{kind}/{label}")
        step = 0 if label else self._steps.get(kind, 0)
        return {
            "message_id": message_id(self._run_id, at.round, *where, member, step),
            "member_id": member,
            "round": at.round,
            "base_round": max(at.round - 1, 0),
            "kind": kind,
            "bytes": size,
            "sha256": digest,
            "budget_ms": round(self._rules.deadline * 1000),
        }


def _to_message(answer: Line, asked: Message) -> Message:
    if answer["reply"] is None:
        return Message(Error(code=0, reason=f"{answer['code']}: {answer['reason']}"), reply_to=asked)
    return Message(decode(Path(answer["reply"]).read_bytes()), reply_to=asked)
