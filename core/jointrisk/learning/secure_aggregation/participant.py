"""One member in a round's session as a state machine: requests in, replies out; the caller does sending and storing.

Wherever a member is killed, it goes on from what was stored last, if the caller keeps one rule: **store the new answer,
`Participant.state` and the contributions in one transaction before the reply is sent.**
"""

from collections.abc import Iterable
from dataclasses import replace

from jointrisk.errors import CorruptError
from jointrisk.federation.signing import verify_signature
from jointrisk.learning.secure_aggregation import agreement, encoding, masks, messages, sharing
from jointrisk.learning.secure_aggregation.answered import Answer, Answered, Contributions
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.fixed_point import Input
from jointrisk.learning.secure_aggregation.keys import KeyList, Sign, require_enough
from jointrisk.learning.secure_aggregation.messages import Dealt, Kind
from jointrisk.learning.secure_aggregation.participant_state import Held, ParticipantState, Secrets
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.session import Question, advert_of, enter, require_question, sum_context
from jointrisk.learning.secure_aggregation.sharing import SHARE_LENGTH, Randomness
from jointrisk.learning.secure_aggregation.terms import Mode, Policy, Terms


class Participant:
    """A member. Made with `begin` or `restore`.

    Args:
        state: what it knows.
        answers: what it has answered.
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
    ) -> "Participant":
        """Enter a session, once: where there is a state of it, `restore` that.

        Args:
            terms: as they came.
            name: of this member.
            policy: what its node insists on.
            contributions: of its node; changed in place.
            sign: signs with its identity key.
            randomness: `os.urandom` outside tests.

        Raises:
            RuleError: the node does not take part; says which rule is broken.
        """
        state = enter(terms, name, Mode.ROUND, policy, contributions, randomness)
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
    ) -> "Participant":
        """Go on from what was stored.

        Raises:
            InvalidInputError: it is no state.
        """
        found = ParticipantState.decode(state)
        return cls(found, answers, contributions=contributions, sign=sign, randomness=randomness)

    def state(self) -> bytes:
        """Return all that the member knows beside its answers, secrets in the clear: to be sealed and stored."""
        return self._state.encode()

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What it has answered; the last is the new one."""
        return self._answered.answers

    def answer(self, request: bytes, question: Question | None = None) -> bytes:
        """Return the reply to a request: to be sent after everything is stored.

        Args:
            request: as it came.
            question: for a masked input: what this member gives.

        Raises:
            InvalidInputError: it is no request.
            RuleError: it is refused; says which rule is broken. Nothing has changed then.
        """
        kind, body = messages.read_request(request, self.terms)
        digest = messages.hashed(request)
        if (known := self._answered.repeated(kind, digest)) is not None:
            return known
        self._contributions.require_newest(self.terms)
        if kind != self._answered.last + 1 or kind > Kind.RELEASE:
            raise RuleError(Rule.STEP, f"expected a request for step {self._answered.last + 1}, got step {kind}")
        reply = messages.reply_frame(kind, self.terms, self._reply(kind, body, question))
        return self._answered.add(kind, digest, reply)

    def _reply(self, kind: Kind, body: bytes, question: Question | None) -> bytes:
        if kind is Kind.MASKED:
            return self._masked(body, question)
        steps = {
            Kind.KEYS: self._advertised,
            Kind.SHARES: self._dealt,
            Kind.SIGN: self._signed,
            Kind.RELEASE: self._released,
        }
        return steps[kind](body)

    def _advertised(self, body: bytes) -> bytes:
        if body != self.terms.encoded:
            raise RuleError(Rule.SESSION, "expected the terms of this session, got others")
        return advert_of(self.terms, self.name, self._secrets, self._sign).encoded

    def _dealt(self, body: bytes) -> bytes:
        """Share both secrets among the members that gave keys."""
        secrets, keys = self._secrets, KeyList.decode(self.terms, body)
        keys.check(self._place, advert_of(self.terms, self.name, secrets, self._sign))
        threshold, count = self.terms.threshold, len(self.terms.members)
        key_shares = sharing.split(secrets.mask_key, threshold, count, self._randomness)
        seed_shares = sharing.split(secrets.seed, threshold, count, self._randomness)
        shares = {place: Held(key_shares[place - 1], seed_shares[place - 1]) for place in keys.adverts}
        deal = [self._deal_to(place, shares[place], keys).encoded for place in keys.adverts]
        self._state = replace(self._state, keys=body, held={self._place: shares[self._place]})
        return b"".join(deal)

    def _deal_to(self, place: int, shares: Held, keys: KeyList) -> Dealt:
        receiver = self.terms.name(place)
        bound = (keys.digest, self.name, receiver)
        commitments = (
            agreement.share_commitment(shares.key, 0, *bound),
            agreement.share_commitment(shares.seed, 1, *bound),
        )
        if place == self._place:
            return Dealt(*commitments, b"")
        agreed = agreement.agree(self._secrets.seal_key, keys.adverts[place].seal_key)
        sealed = agreement.seal(agreed, *bound, shares.key + shares.seed, b"".join(commitments))
        return Dealt(*commitments, sealed)

    def _masked(self, body: bytes, question: Question | None) -> bytes:
        """Mask the input for the cohort, and keep the shares that the others dealt."""
        keys, (cohort, deals) = self._keys, messages.read_cohort(self._place, body)
        require_enough(self.terms, len(cohort))
        if self._place not in cohort or not set(cohort) <= set(keys.adverts):
            raise RuleError(Rule.COHORT, "expected a cohort of members that gave keys, this one included, got another")
        question = require_question(question, self.terms.request)
        opened = {dealer: self._opened(dealer, dealt, keys) for dealer, dealt in deals.items()}
        held = self._state.held | {dealer: shares for dealer, shares in opened.items() if shares is not None}
        complaints = tuple(dealer for dealer in cohort if dealer not in held)
        words = self._masked_words(question.give(), keys, cohort)
        self._state = replace(self._state, secrets=None, held=held, cohort=cohort, statement=question.statement)
        return encoding.places(complaints) + words

    def _masked_words(self, given: Input, keys: KeyList, cohort: tuple[int, ...]) -> bytes:
        layout = self.terms.layout
        if layout is None:
            raise CorruptError("expected the layout of a round, got a state without")
        words = layout.quantised(given, len(self.terms.members), self._randomness)
        context = sum_context(keys, cohort)
        masks.add(words, masks.own_key(self._secrets.seed, context, self.name))
        for place in cohort:
            if place != self._place:
                agreed = agreement.agree(self._secrets.mask_key, keys.adverts[place].mask_key)
                key = masks.pair_key(agreed, context, self.name, self.terms.name(place))
                masks.add(words, key, subtract=place < self._place)
        return words.tobytes()

    def _opened(self, dealer: int, dealt: Dealt, keys: KeyList) -> Held | None:
        """Return a dealer's shares, or None where they do not open or are not what the dealer committed to."""
        agreed = agreement.agree(self._secrets.seal_key, keys.adverts[dealer].seal_key)
        bound = (keys.digest, self.terms.name(dealer), self.name)
        opened = agreement.open_sealed(agreed, *bound, dealt.sealed, dealt.commitments)
        if opened is None:
            return None
        shares = Held(opened[:SHARE_LENGTH], opened[SHARE_LENGTH:])
        fits = (
            agreement.share_commitment(shares.key, 0, *bound) == dealt.key_commitment
            and agreement.share_commitment(shares.seed, 1, *bound) == dealt.seed_commitment
        )
        return shares if fits and sharing.is_share(shares.key) and sharing.is_share(shares.seed) else None

    def _signed(self, body: bytes) -> bytes:
        """Sign the one survivor set, and never contribute to this sum again."""
        reader = Reader(body, "a set of survivors")
        survivors = reader.places(messages.MOST_PLACES)
        reader.end()
        require_enough(self.terms, len(survivors))
        if self._place not in survivors or not set(survivors) <= set(self._state.cohort):
            raise RuleError(Rule.COHORT, "expected survivors of the cohort, this node among them, got others")
        names = [self.terms.name(place) for place in survivors]
        self._contributions.finish(self.terms, self._state.statement, names)
        self._state = replace(self._state, survivors=survivors)
        return self._sign(messages.survivors_signed(self._keys, self._state.cohort, survivors))

    def _released(self, body: bytes) -> bytes:
        """Release shares of the seeds of survivors and of the keys of the others, and keep nothing."""
        state, signatures = self._state, messages.read_signatures(body)
        signed = messages.survivors_signed(self._keys, state.cohort, state.survivors)
        if not set(signatures) <= set(state.survivors) or len(signatures) < self.terms.threshold:
            raise RuleError(
                Rule.SURVIVOR_SIGNATURES,
                f"expected signatures of {self.terms.threshold} survivors, got {len(signatures)}, or of others",
            )
        for place, signature in signatures.items():
            member, key = self.terms.members[place - 1]
            if not verify_signature(signed, signature, key):
                raise RuleError(
                    Rule.SURVIVOR_SIGNATURES, "expected signatures over the set that this node signed", about=member
                )
        survivors = set(state.survivors)
        shares = {dealer: one.seed if dealer in survivors else one.key for dealer, one in state.held.items()}
        self._state = replace(state, held={})
        return messages.released_body(state.cohort, shares)

    @property
    def _secrets(self) -> Secrets:
        if self._state.secrets is None:
            raise CorruptError("expected the secrets of a session that goes on, got a state without")
        return self._state.secrets

    @property
    def _keys(self) -> KeyList:
        return KeyList.decode(self.terms, self._state.keys)
