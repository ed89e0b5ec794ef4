"""What a node has answered: the durable record without which it answers nothing.

`Answered` is about one session: an identical request gets identical bytes, any other with the same number is refused
(*two inputs under one mask give their difference*). `Contributions` is about all sessions of a node: of attempts at one
sum only the newest goes on, none after a survivor set was signed, and a statement is answered for one cohort.

Both are kept by a store: a new `Answer`, the state of the session and the contributions in one transaction, on the disk
before the reply is sent. A session whose state was lost is over, because its attempt has begun and cannot begin again.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from jointrisk.learning.secure_aggregation import encoding
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.terms import DIGEST_LENGTH, SESSION_LENGTH, Terms

_COHORT = b"jointrisk/v1/secagg-claim"
_LONGEST_UNIT = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as it is kept: a row under session, attempt and number.

    Attributes:
        session: 16 bytes.
        attempt: of the session's terms.
        number: of the step in a round, of the sum in a series.
        request: H(request), 32 bytes.
        reply: the bytes that were, or may have been, sent.
    """

    session: bytes
    attempt: int
    number: int
    request: bytes
    reply: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return its bytes."""
        return (
            self.session
            + encoding.number(self.attempt, 4)
            + encoding.number(self.number, 4)
            + self.request
            + self.reply
        )

    @classmethod
    def decode(cls, data: bytes) -> "Answer":
        """Read what :meth:`encode` wrote.

        Raises:
            InvalidInputError: it is something else.
        """
        reader = Reader(data, "an answer")
        head = (reader.take(SESSION_LENGTH), reader.number(4), reader.number(4), reader.take(DIGEST_LENGTH))
        return cls(*head, bytes(reader.rest()))


class Answered:
    """The answers of one session.

    Args:
        terms: of the session.
        answers: what was kept; those of other sessions and attempts are left out.
    """

    def __init__(self, terms: Terms, answers: Iterable[Answer] = ()) -> None:
        self._terms = terms
        own = (one for one in answers if (one.session, one.attempt) == (terms.session, terms.attempt))
        self._answers = {one.number: one for one in own}

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All of them, by number."""
        return tuple(self._answers[number] for number in sorted(self._answers))

    @property
    def last(self) -> int:
        """The greatest number that was answered, 0 before the first."""
        return max(self._answers, default=0)

    def repeated(self, number: int, request: bytes) -> bytes | None:
        """Return the reply to an identical request, or None where the number was not answered yet.

        Args:
            number: of the step or sum.
            request: H(request).

        Raises:
            RuleError: the number was answered to another request.
        """
        if (known := self._answers.get(number)) is None:
            return None
        if known.request != request:
            raise RuleError(Rule.ONE_ANSWER, f"expected the request that was answered as number {number}, got another")
        return known.reply

    def add(self, number: int, request: bytes, reply: bytes) -> bytes:
        """Keep a reply and return it. Called once for each number, after `repeated` has returned None."""
        self._answers[number] = Answer(self._terms.session, self._terms.attempt, number, request, reply)
        return reply

    def forget_before(self, number: int) -> None:
        """Delete the answers before this number: in a series nobody asks for them again."""
        self._answers = {kept: one for kept, one in self._answers.items() if kept >= number}


@dataclass(frozen=True, slots=True)
class Attempt:
    """The newest attempt at one sum.

    Attributes:
        number: of the attempt.
        session: its 16 bytes.
        finished: whether a survivor set was signed.
    """

    number: int
    session: bytes
    finished: bool


class Contributions:
    """What a node has begun and contributed to, over all sessions.

    Args:
        data: as :meth:`encode` wrote it; nothing for a node that never took part.

    Raises:
        InvalidInputError: it is something else.
    """

    def __init__(self, data: bytes = b"") -> None:
        self._attempts: dict[bytes, Attempt] = {}
        self._claims: dict[bytes, bytes] = {}
        if data:
            self._read(Reader(data, "a record of contributions"))

    @classmethod
    def known(cls, attempts: Mapping[bytes, Attempt], claims: Mapping[bytes, bytes]) -> "Contributions":
        """Return contributions of which a store keeps the parts, or as many of them as matter now.

        Args:
            attempts: the newest attempt, by unit.
            claims: digest of the cohort, by statement.
        """
        found = cls()
        found._attempts, found._claims = dict(attempts), dict(claims)
        return found

    def attempt(self, unit: bytes) -> Attempt | None:
        """Return the newest attempt at a sum."""
        return self._attempts.get(unit)

    def encode(self) -> bytes:
        """Return all of it: to be stored before anything that depends on it is sent."""
        attempts = (
            encoding.block(unit) + encoding.number(one.number, 4) + one.session + encoding.number(one.finished, 1)
            for unit, one in sorted(self._attempts.items())
        )
        claims = (statement + cohort for statement, cohort in sorted(self._claims.items()))
        written = encoding.number(len(self._attempts), 4) + b"".join(attempts)
        return written + encoding.number(len(self._claims), 4) + b"".join(claims)

    def begin(self, terms: Terms) -> None:
        """Note that a session has begun, which ends earlier attempts at the same sum.

        Raises:
            RuleError: the attempt is not newer, or a survivor set was signed in an earlier one.
        """
        known = self._attempts.get(terms.unit)
        if known is not None and known.finished:
            raise RuleError(
                Rule.NEVER_AGAIN,
                "expected a sum to which this node has not contributed, got one for which it signed a survivor set",
            )
        if known is not None and terms.attempt <= known.number:
            raise RuleError(
                Rule.ATTEMPT,
                f"expected an attempt after number {known.number}, got number {terms.attempt}",
                remedy="Begin a new attempt; one of which this node has lost the state is over.",
            )
        self._attempts[terms.unit] = Attempt(terms.attempt, terms.session, finished=False)

    def require_newest(self, terms: Terms) -> None:
        """Refuse to go on with a session after a newer attempt has begun.

        Raises:
            RuleError: one has, or the session never began here.
        """
        known = self._attempts.get(terms.unit)
        if known is None or (known.number, known.session) != (terms.attempt, terms.session):
            raise RuleError(Rule.ATTEMPT, "expected a request of the newest attempt at this sum, got one of another")

    def claim(self, statement: bytes, cohort: Iterable[str]) -> None:
        """Note for which cohort a statement is answered.

        Args:
            statement: 32 bytes: model hash, data version and statistic, hashed by this node.
            cohort: the members whose inputs are in the sum.

        Raises:
            RuleError: it was answered for others.
        """
        digest = claim_digest(cohort)
        if self._claims.setdefault(statement, digest) != digest:
            raise RuleError(Rule.ONE_COHORT, "expected the members for which the same was answered before, got others")

    def finish(self, terms: Terms, statement: bytes, survivors: Iterable[str]) -> None:
        """Note that a survivor set is signed: this node contributes to the sum never again.

        Raises:
            RuleError: see :meth:`claim`.
        """
        self.claim(statement, survivors)
        self._attempts[terms.unit] = replace(self._attempts[terms.unit], finished=True)

    def forget_run(self, run: str) -> None:
        """Delete what is kept of a run that has ended for good, but not the claims."""
        prefix = encoding.run_name(run)
        self._attempts = {unit: one for unit, one in self._attempts.items() if not unit.startswith(prefix)}

    def _read(self, reader: Reader) -> None:
        for _ in range(reader.number(4)):
            unit = reader.block(_LONGEST_UNIT)
            self._attempts[unit] = Attempt(reader.number(4), reader.take(SESSION_LENGTH), reader.flag())
        for _ in range(reader.number(4)):
            statement = reader.take(DIGEST_LENGTH)
            self._claims[statement] = reader.take(DIGEST_LENGTH)
        reader.end()


def claim_digest(cohort: Iterable[str]) -> bytes:
    """Return what stands for the members for which a statement is answered, 32 bytes."""
    names = b"".join(encoding.name(name) for name in sorted(cohort))
    return hashlib.sha256(encoding.block(_COHORT) + names).digest()
