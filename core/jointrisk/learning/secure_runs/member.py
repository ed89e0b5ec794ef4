"""A member's part as a Flower mod: stands before the client app, and lets out nothing but masked words."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from jointrisk.errors import InvalidInputError
from jointrisk.learning.aggregation import Ranges
from jointrisk.learning.flower import Context, Message, RecordDict, instruction
from jointrisk.learning.secure_aggregation import (
    Answer,
    Contributions,
    Input,
    Kind,
    Mode,
    Participant,
    Policy,
    Question,
    Rule,
    RuleError,
    SeriesMember,
    Terms,
)
from jointrisk.learning.secure_aggregation.messages import hashed
from jointrisk.learning.secure_aggregation.participant_state import ParticipantState
from jointrisk.learning.secure_aggregation.sharing import Randomness
from jointrisk.learning.secure_runs import layouts
from jointrisk.learning.secure_runs.content import Asked, read_request, reply_content

_STATEMENT = b"jointrisk/v1/secagg-statement"
_HEAD = 34
"""Bytes of a frame before its body: format, kind, digest of the terms."""

Next = Callable[[Message, Context], Message]
"""The client app, or the next mod."""


@dataclass(frozen=True)
class Kept:
    """What a node's ledger has of a session.

    Attributes:
        policy: what the node insists on.
        state: the member's; None before it has entered.
        answers: number and H(request) of the requests that were answered.
    """

    policy: Policy
    state: bytes | None = field(repr=False)
    answers: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Keeping:
    """What has to be on the disk before a reply leaves.

    Attributes:
        session: digest of the terms.
        state: the member's.
        answers: number and H(request) of the answers that are kept; the last is the new one.
        statement: what is claimed with the answer, 32 bytes; empty for nothing.
        cohort: for whom.
        finished: whether a set of survivors was signed.
    """

    session: bytes
    state: bytes = field(repr=False)
    answers: tuple[tuple[int, bytes], ...]
    statement: bytes
    cohort: tuple[str, ...]
    finished: bool


class Ledger(Protocol):
    """A node's durable record of secure sums, and its identity key."""

    def open(self, session: bytes, terms: bytes | None) -> Kept:
        """Return what is kept of a session; with terms, judge them first.

        Raises:
            JointriskError: the node does not take part.
        """

    def sign(self, session: bytes, message: bytes) -> bytes:
        """Sign keys or survivors of a session that was opened."""

    def keep(self, keeping: Keeping, reply: bytes) -> None:
        """Store everything in one step, the reply under the last answer's H(request).

        Raises:
            JointriskError: a rule forbids the answer; nothing is stored.
        """

    def reply(self, request: bytes) -> bytes:
        """Return the reply that was stored under H(request)."""


class SecureMod:
    """One member of one run; a Flower mod.

    Args:
        name: of the member.
        ledger: its node's.
        data_version: digest of the rows that it answers from.
        ranges: the metrics of training and of evaluation that its task declares.
        randomness: `os.urandom` outside tests.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        *,
        data_version: bytes,
        ranges: Mapping[str, Ranges],
        randomness: Randomness,
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._data_version = data_version
        self._ranges = ranges
        self._randomness = randomness

    def __call__(self, message: Message, context: Context, call_next: Next) -> Message:
        """Answer a message of a secure sum; the client app is called when an input is asked for.

        Raises:
            RuleError: a rule forbids it.
            InvalidInputError: it is no such message.
        """
        frame, asked = read_request(message.content, self._name)
        if len(frame) < _HEAD:
            raise InvalidInputError("expected a request of a secure sum, got less")
        kind, session, body = frame[1:2], frame[2:_HEAD], frame[_HEAD:]
        kept = self._ledger.open(session, body if kind == bytes((Kind.KEYS,)) else None)
        request = hashed(frame)
        if any(request == known for _, known in kept.answers):
            return Message(reply_content(self._ledger.reply(request)), reply_to=message)
        told = _Told()
        member = self._member(session, body, kept, told)
        question = None if asked is None else self._question(asked, message, context, call_next)
        reply = member.answer(frame, question)
        answers = tuple((one.number, one.request) for one in member.answers)
        statement, cohort = told.claimed
        self._ledger.keep(Keeping(session, member.state(), answers, statement, cohort, told.signed), reply)
        return Message(reply_content(reply), reply_to=message)

    def _member(self, session: bytes, body: bytes, kept: Kept, told: "_Told") -> Participant | SeriesMember:
        sign: Callable[[bytes], bytes] = lambda signed: self._ledger.sign(session, signed)  # noqa: E731 - an argument
        if kept.state is None:
            terms = Terms.decode(body)
            begin = Participant.begin if terms.mode is Mode.ROUND else SeriesMember.begin
            return begin(
                terms, self._name, policy=kept.policy, contributions=told, sign=sign, randomness=self._randomness
            )
        terms = ParticipantState.decode(kept.state).terms
        told.begin(terms)
        answers = [Answer(terms.session, terms.attempt, number, request, b"") for number, request in kept.answers]
        restore = Participant.restore if terms.mode is Mode.ROUND else SeriesMember.restore
        return restore(kept.state, answers, contributions=told, sign=sign, randomness=self._randomness)

    def _question(self, asked: Asked, message: Message, context: Context, call_next: Next) -> Question:
        declared = set(self._ranges.get(asked.kind.partition(".")[0], ()))
        if asked.how == "mean" and not set(asked.names) <= declared:
            raise RuleError(Rule.INPUT, "expected metrics that the task declares, got others")

        def give() -> Input:
            inner = instruction(
                asked.records,
                asked.kind,
                message.metadata.dst_node_id,
                message.metadata.message_id,
                message.metadata.group_id,
            )
            return layouts.given(asked, call_next(inner, context).content)

        return Question(asked.digest(), self._statement(asked), give)

    def _statement(self, asked: Asked) -> bytes:
        parts = (_STATEMENT, asked.model_digest(), self._data_version, asked.kind.encode())
        return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def asked_kind(content: RecordDict, name: str) -> str | None:
    """Return what a member's client app is asked with a message of a secure sum; None when it is asked nothing."""
    _, asked = read_request(content, name)
    return None if asked is None else asked.kind


class _Told(Contributions):
    """Notes what an answer claims. The rules about it are the ledger's, which knows all sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed: tuple[bytes, tuple[str, ...]] = (b"", ())
        self.signed = False

    def claim(self, statement: bytes, cohort: Iterable[str]) -> None:
        """See `Contributions`."""
        names = tuple(sorted(cohort))
        super().claim(statement, names)
        self.claimed = (statement, names)

    def finish(self, terms: Terms, statement: bytes, survivors: Iterable[str]) -> None:
        """See `Contributions`."""
        super().finish(terms, statement, survivors)
        self.signed = True
