"""Series of sums: keys are agreed on once, then one message for each sum; who drops out ends the series.

Nothing recovers a mask, so there are no own masks, no shares and no survivors: a sum is unmasked by the inputs of all
members of the list of keys, or never. What an ended series could give away is the difference to another one, and that
is refused by `Contributions.claim`: a statement is answered for one cohort.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from jointrisk.errors import ConflictError
from jointrisk.learning.secure_aggregation import agreement, masks, messages
from jointrisk.learning.secure_aggregation.answered import Answer, Answered, Contributions
from jointrisk.learning.secure_aggregation.fixed_point import Input, Layout, Sums
from jointrisk.learning.secure_aggregation.keys import Advert, KeyList, Sign, require_enough
from jointrisk.learning.secure_aggregation.messages import Kind, SumRequest
from jointrisk.learning.secure_aggregation.participant_state import ParticipantState
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.session import Question, advert_of, enter, require_question, sum_context
from jointrisk.learning.secure_aggregation.sharing import Randomness
from jointrisk.learning.secure_aggregation.terms import Mode, Policy, Terms

_FIRST_SUM = 2
"""Answers 1 and 2 are the keys and the agreement; sum k is answer k + 2. The last two are kept."""


class SeriesMember:
    """A member of a series. Made with `begin` or `restore`.

    Args:
        state: what it knows.
        answers: what it has answered; the last one is enough.
        contributions: of its node; changed in place.
        sign: signs with its identity key.
        randomness: `os.urandom` outside tests.
    """

    def __init__(
        self,
        state: ParticipantState,
        answers: Iterable[Answer],
        *,
        contributions: Contributions,
        sign: Sign,
        randomness: Randomness,
    ) -> None:
        self.terms = state.terms
        self.name = state.name
        self._state = state
        self._answered = Answered(state.terms, answers)
        self._contributions = contributions
        self._sign = sign
        self._randomness = randomness
        self._place = self.terms.places[self.name]
        self._agreed: dict[int, bytes] = {}

    @classmethod
    def begin(
        cls,
        terms: Terms,
        name: str,
        *,
        policy: Policy,
        contributions: Contributions,
        sign: Sign,
        randomness: Randomness,
    ) -> "SeriesMember":
        """Enter a series, once: where there is a state of it, `restore` that. See `Participant.begin`."""
        state = enter(terms, name, Mode.SERIES, policy, contributions, randomness)
        return cls(state, (), contributions=contributions, sign=sign, randomness=randomness)

    @classmethod
    def restore(
        cls,
        state: bytes,
        answers: Iterable[Answer],
        *,
        contributions: Contributions,
        sign: Sign,
        randomness: Randomness,
    ) -> "SeriesMember":
        """Go on from what was stored. See `Participant.restore`."""
        found = ParticipantState.decode(state)
        return cls(found, answers, contributions=contributions, sign=sign, randomness=randomness)

    def state(self) -> bytes:
        """Return all that the member knows beside its answers; it changes with the agreement and the end only."""
        return self._state.encode()

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The last two of its answers; the last is the new one. A store may delete the others."""
        return self._answered.answers

    def answer(self, request: bytes, question: Question | None = None) -> bytes:
        """Return the reply to a request: to be sent after everything is stored.

        Args:
            request: as it came.
            question: for a sum: what this member gives.

        Raises:
            InvalidInputError: it is no request.
            RuleError: it is refused; says which rule is broken. Nothing has changed then.
        """
        kind, body = messages.read_request(request, self.terms)
        if kind not in {Kind.KEYS, Kind.AGREE, Kind.SUM}:
            raise RuleError(Rule.STEP, "expected a request of a series, got one of a round")
        asked = SumRequest.decode(body) if kind is Kind.SUM else None
        number = asked.number + _FIRST_SUM if asked else 1 + (kind is Kind.AGREE)
        digest = messages.hashed(request)
        if (known := self._answered.repeated(number, digest)) is not None:
            return known
        self._contributions.require_newest(self.terms)
        if number != self._answered.last + 1:
            raise RuleError(Rule.STEP, f"expected answer {self._answered.last + 1} of this series, got {number}")
        reply = self._summed(asked, question) if asked else self._prepared(kind, body)
        self._answered.forget_before(self._answered.last)
        return self._answered.add(number, digest, messages.reply_frame(kind, self.terms, reply))

    def end(self) -> None:
        """End the series here: the keys are deleted. To be stored; no sum is answered afterwards."""
        self._state = replace(self._state, secrets=None)
        self._agreed = {}

    def _prepared(self, kind: Kind, body: bytes) -> bytes:
        if kind is Kind.KEYS:
            if body != self.terms.encoded:
                raise RuleError(Rule.SESSION, "expected the terms of this session, got others")
            return self._advert().encoded
        KeyList.decode(self.terms, body).check(self._place, self._advert())
        self._state = replace(self._state, keys=body)
        return b""

    def _summed(self, asked: SumRequest, question: Question | None) -> bytes:
        question = require_question(question, asked.request)
        keys = KeyList.decode(self.terms, self._state.keys)
        words = self._masked_words(question.give(), asked, keys)
        self._contributions.claim(question.statement, [self.terms.name(place) for place in keys.adverts])
        return words

    def _masked_words(self, given: Input, asked: SumRequest, keys: KeyList) -> bytes:
        words = asked.layout.quantised(given, len(self.terms.members), self._randomness)
        context = sum_context(keys, tuple(keys.adverts), asked.number, asked.request)
        for place in keys.adverts:
            if place != self._place:
                key = masks.pair_key(self._agreed_with(place, keys), context, self.name, self.terms.name(place))
                masks.add(words, key, subtract=place < self._place)
        return words.tobytes()

    def _agreed_with(self, place: int, keys: KeyList) -> bytes:
        if self._state.secrets is None:
            raise RuleError(Rule.STEP, "expected a request of a series that goes on, got one of a series that ended")
        if place not in self._agreed:
            self._agreed[place] = agreement.agree(self._state.secrets.mask_key, keys.adverts[place].mask_key)
        return self._agreed[place]

    def _advert(self) -> Advert:
        if self._state.secrets is None:
            raise RuleError(Rule.STEP, "expected a request of a series that goes on, got one of a series that ended")
        return advert_of(self.terms, self.name, self._state.secrets, self._sign)


@dataclass(frozen=True)
class SeriesOutcome:
    """One sum of a series.

    Attributes:
        sums: of all members' inputs.
        members: all members of the series.
    """

    sums: Sums
    members: tuple[str, ...]


class SeriesAggregator:
    """The coordinator in a series. Keys first, then the agreement, then sums, each asked for with `ask`.

    Args:
        terms: of a series.

    Raises:
        RuleError: the terms do not protect the members.
        InvalidInputError: they are no terms.
    """

    def __init__(self, terms: Terms) -> None:
        terms.check()
        if terms.mode is not Mode.SERIES:
            raise RuleError(Rule.SESSION, "expected terms of a series, got those of a round")
        self.terms = terms
        self.kind = Kind.KEYS
        self._asked = tuple(terms.places.values())
        self._replies: dict[int, bytes] = {}
        self._keys = KeyList(terms, {})
        self._adverts: dict[int, Advert] = {}
        self._sum: SumRequest | None = None
        self._words = np.zeros(0, dtype="<u8")

    def requests(self) -> dict[str, bytes]:
        """Return what to send to whom; nothing between sums."""
        if self.kind is Kind.SUM and self._sum is None:
            return {}
        body = {Kind.KEYS: self.terms.encoded, Kind.AGREE: self._keys.encoded}.get(self.kind)
        if body is None and self._sum is not None:
            body = self._sum.encoded
        return {
            self.terms.name(place): messages.request_frame(self.kind, self.terms, body or b"") for place in self._asked
        }

    def waiting(self) -> tuple[str, ...]:
        """Return whose replies are missing."""
        return tuple(self.terms.name(place) for place in self._asked if place not in self._replies)

    def ask(self, number: int, request: bytes, layout: Layout) -> None:
        """Begin a sum, after the one before has its outcome.

        Args:
            number: from 1, one after the other.
            request: H(request), 32 bytes.
            layout: of the inputs.
        """
        layout.check()
        self._sum, self._replies = SumRequest(number, request, layout), {}
        self._words = layout.empty(len(self.terms.members))

    def take(self, sender: str, reply: bytes) -> None:
        """Take a member's reply. The same one again changes nothing.

        Raises:
            InvalidInputError: it is no reply to what was asked.
            RuleError: it breaks a rule. Nothing has changed then.
            ConflictError: the sender was not asked, or has replied something else before.
        """
        place, digest = self.terms.places.get(sender, 0), messages.hashed(reply)
        if place not in self._asked or self._replies.get(place, digest) != digest:
            raise ConflictError("expected one reply of each member that was asked, got another")
        if place in self._replies:
            return
        reader = messages.read_reply(reply, self.terms, self.kind)
        if self.kind is Kind.KEYS:
            advert = Advert.read(reader)
            advert.check(self.terms, sender)
            self._adverts[place] = advert
        elif self.kind is Kind.SUM:
            np.add(self._words, messages.read_words(reader, self._words), out=self._words)
        reader.end()
        self._replies[place] = digest

    def advance(self) -> None:
        """End the keys, or the agreement: who has not replied to the first is not in the series.

        Raises:
            RuleError: too few members are left; after the agreement, anybody is missing.
        """
        if self.kind is Kind.KEYS:
            self._asked = tuple(sorted(self._replies))
            require_enough(self.terms, len(self._asked))
            self._keys = KeyList(self.terms, {place: self._adverts[place] for place in self._asked})
            self.kind, self._replies = Kind.AGREE, {}
        else:
            self._require_all()
            self.kind = Kind.SUM

    def outcome(self) -> SeriesOutcome:
        """Return the sum that was asked for.

        Raises:
            RuleError: somebody's input is missing: the series has ended.
            CorruptError: some input was not as agreed, so the sum is none.
        """
        self._require_all()
        if self._sum is None:
            raise RuleError(Rule.STEP, "expected a sum that was asked for, got none")
        sums = self._sum.layout.sums(self._words, len(self._asked))
        self._sum = None
        return SeriesOutcome(sums, tuple(self.terms.name(place) for place in self._asked))

    def _require_all(self) -> None:
        if missing := self.waiting():
            raise RuleError(
                Rule.COHORT,
                f"expected replies of all {len(self._asked)} members of the series, {len(missing)} are missing",
                remedy="Begin a new series: with all members, or where the model or the statistic is another one.",
            )
