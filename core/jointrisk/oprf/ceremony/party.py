"""One party of a ceremony as a state machine: messages in, messages out; the caller does the sending and the storing.

Wherever a party is killed, it goes on from the state that was stored last, if the caller keeps one rule: **store
`Party.state` before anything that `receive` or `give_up` returned is sent.** What was stored but not sent is in
`Party.sent`, to be sent again after a restart; what was not stored was not sent, and is made again.
"""

from enum import Enum
from functools import reduce

from jointrisk.errors import ConflictError, CorruptError, InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.ceremony.aborts import Abort, Complaint, Evidence, Reason, exhibit, read_abort
from jointrisk.oprf.ceremony.bodies import Confirm, Deal, Echo, Keys, transcript_digest
from jointrisk.oprf.ceremony.judgement import is_second_hand
from jointrisk.oprf.ceremony.ledger import Added, Ledger
from jointrisk.oprf.ceremony.messages import MessageKind, SignedMessage, Slot, sign_message
from jointrisk.oprf.ceremony.outcome import Outcome, Reckoning, is_final
from jointrisk.oprf.ceremony.party_state import PartyState, Secrets
from jointrisk.oprf.ceremony.suite import Sign, Suite
from jointrisk.oprf.ceremony.terms import Terms
from jointrisk.oprf.group import Randomness, Scalar

Messages = tuple[SignedMessage, ...]


class Phase(Enum):
    """Where a party stands.

    Attributes:
        GATHERING: it has not voted; keys and deals are coming in.
        PREPARED: it has echoed, and waits for everybody's echo or a refusal. It cannot refuse any more.
        COMMITTED: the new generation is there.
        ABORTED: there will be none, for all that this party has seen.
    """

    GATHERING = "gathering"
    PREPARED = "prepared"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Party:
    """A party. Made with `begin` or `restore`.

    Args:
        state: what it knows.
        sign: signs with its identity key.
        suite: verifies and seals.

    Raises:
        CorruptError: the secrets are gone, and the vote with which they went is not there.
    """

    def __init__(self, state: PartyState, sign: Sign, suite: Suite) -> None:
        self.terms = state.terms
        self.name = state.name
        self._sign = sign
        self._suite = suite
        self._secrets = state.secrets
        self._is_stale = state.is_stale
        self._ledger = Ledger(state.terms, suite)
        self._reckoning = Reckoning(self._ledger)
        for message in state.messages:
            self._ledger.add(message)
        if self._vote is None and not (self._secrets.recipient_keys or self._secrets.dealing):
            raise CorruptError(
                "expected the state of a party with its vote or its secrets, got neither",
                remedy="Abort this ceremony and start another one.",
            )

    @classmethod
    def begin(
        cls,
        terms: Terms,
        name: str,
        *,
        sign: Sign,
        suite: Suite,
        randomness: Randomness,
        old_share: Scalar | None = None,
    ) -> "Party":
        """Enter a ceremony, once: where there is a state of it, `restore` that.

        What is to be sent first is in `sent`, after the state is stored.

        Args:
            terms: as people have approved them.
            name: of this party.
            sign: signs with its identity key.
            suite: verifies and seals.
            randomness: `os.urandom` outside tests. All is drawn now.
            old_share: of a dealer in a refresh or a resharing.

        Raises:
            InvalidInputError: the terms do not name this party, or not with this identity key.
            ConflictError: the old share is not the one that the terms name.
        """
        if name not in terms.identities:
            raise InvalidInputError("expected terms that name this party, got others")
        secrets = Secrets.begin(terms, name, old_share, randomness)
        party = cls(PartyState(terms, name, is_stale=False, secrets=secrets, messages=()), sign, suite)
        if secrets.recipient_keys:
            party._post(MessageKind.KEYS, Keys(tuple(map(suite.public_key, secrets.recipient_keys))).encode())
        return party

    @classmethod
    def restore(cls, state: bytes, *, sign: Sign, suite: Suite) -> "Party":
        """Go on from a stored state.

        Raises:
            InvalidInputError: it is no state.
            CorruptError: something is missing in it.
        """
        return cls(PartyState.decode(state), sign, suite)

    def state(self) -> bytes:
        """Return all that the party knows, secrets in the clear: to be sealed and stored before anything is sent."""
        messages = self._ledger.messages
        return PartyState(self.terms, self.name, self._is_stale, self._secrets, messages).encode()

    @property
    def sent(self) -> Messages:
        """Everything that this party says, in order. Sending it again does no harm."""
        return tuple(message for message in self._ledger.messages if message.sender == self.name)

    @property
    def messages(self) -> Messages:
        """Everything that this party has sent and received: what a peer needs to come to the same end."""
        return self._ledger.messages

    @property
    def outcome(self) -> Outcome | None:
        """How the ceremony ended, or None while it has not."""
        return self._reckoning.outcome()

    @property
    def phase(self) -> Phase:
        """Where the party stands."""
        vote, outcome = self._vote, self.outcome
        if vote is None:
            return Phase.GATHERING
        if vote.kind is MessageKind.ABORT:
            return Phase.ABORTED
        if outcome is None:
            return Phase.PREPARED
        return Phase.COMMITTED if outcome.is_committed else Phase.ABORTED

    @property
    def share(self) -> Scalar | None:
        """The new share; None until it is committed, and at a dealer that is no holder."""
        return self._secrets.share if self.phase is Phase.COMMITTED else None

    @property
    def is_revivable(self) -> bool:
        """Whether a commit can still follow the abort that this party has seen: somebody who refused has echoed too.

        The state, with the share in it, is to be kept until a later generation is committed.
        """
        echoed = self._vote is not None and self._vote.kind is MessageKind.ECHO
        outcome = self.outcome
        return echoed and self.phase is Phase.ABORTED and not (outcome and is_final(self.terms, outcome.refused))

    def missing(self) -> tuple[str, ...]:
        """Return the parties for whose next message this one waits, sorted."""
        return tuple(sorted(self._ledger.missing()))

    def receive(self, message: SignedMessage) -> Messages:
        """Take a message, in any order and any number of times.

        Args:
            message: from anybody. One that no party of this ceremony signed is ignored.

        Returns:
            What this party says now, to be sent to everybody after the state is stored.

        Raises:
            ConflictError: this party has signed something that its state does not know.
        """
        if message.sender == self.name:
            return self._met_itself(message)
        if self._ledger.add(message) in {Added.FORGED, Added.KNOWN}:
            return ()
        self._require_whole_memory()
        return self._advance()

    def give_up(self, reason: Reason) -> Messages:
        """Refuse, unless this party has voted: who has echoed cannot refuse any more.

        Args:
            reason: `Reason.ORDER` or `Reason.DEADLINE`.

        Returns:
            What is to be sent after the state is stored; nothing when this party has voted.

        Raises:
            ConflictError: this party has signed something that its state does not know, perhaps an echo.
        """
        self._require_whole_memory()
        return () if self._vote else (self._refuse(Abort(reason, self.missing())),)

    @property
    def _vote(self) -> SignedMessage | None:
        return self._ledger.first(Slot.VOTE, self.name)

    def _met_itself(self, message: SignedMessage) -> Messages:
        known = self._ledger.first(message.slot, self.name)
        is_known = known is not None and not known.header.contradicts(message.header)
        if not is_known and self._ledger.judge.is_genuine(message):
            self._is_stale = True
            self._require_whole_memory()
        return ()

    def _require_whole_memory(self) -> None:
        """Stop where the state is older than what was sent: any further message could contradict one of them."""
        if self._is_stale or self.name in self._ledger.guilty:
            self._is_stale = True
            raise ConflictError(
                "expected only messages that this party knows under its name, got another",
                remedy="Its state was restored from an older copy. Abort this ceremony and start another one.",
            )

    def _advance(self) -> Messages:
        before = len(self.sent)
        if self._vote is None:
            self._gather()
        outcome = self.outcome
        if self.phase is Phase.COMMITTED and outcome and outcome.transcript and self.name in self.terms.indices:
            if self._ledger.first(Slot.CONFIRM, self.name) is None:
                self._post(MessageKind.CONFIRM, Confirm(outcome.transcript).encode())
        elif self.phase is Phase.ABORTED and not self.is_revivable:
            self._secrets = Secrets()
        return self.sent[before:]

    def _gather(self) -> None:
        """Do what can be done before the vote: refuse, deal, vote."""
        if self._ledger.guilty or self.outcome:
            evidence = self._evidence()
            self._refuse(Abort(Reason.EVIDENCE if evidence else Reason.FOLLOWS, evidence=evidence))
            return
        self._deal()
        deals = [self._ledger.first(Slot.DEAL, dealer.name) for dealer in self.terms.dealers]
        if all(deals):
            self._vote_on([deal for deal in deals if deal])

    def _evidence(self) -> Evidence | None:
        """Return what convicts somebody, as it can be passed on; None when only the accuser's own message does."""
        for conflict in self._ledger.conflicts:
            return conflict
        for message in self._ledger.convicting:
            if not is_second_hand(message):
                return exhibit(message)
            abort = read_abort(message)
            if abort and self._ledger.judge.convicted(message) != message.sender:
                return abort.evidence
        return None

    def _deal(self) -> None:
        dealer, dealing = self.terms.dealer(self.name), self._secrets.dealing
        keys = [self._ledger.first(Slot.KEYS, holder.name) for holder in self.terms.holders]
        if dealer and dealing and all(keys) and self._ledger.first(Slot.DEAL, self.name) is None:
            deal = dealing.deal(self.terms, dealer, [message for message in keys if message], self._suite)
            self._post(MessageKind.DEAL, deal.encode())

    def _vote_on(self, messages: list[SignedMessage]) -> None:
        """Check the own shares in deals that are sound, and echo; or complain."""
        deals = [Deal.decode(self.terms, message.body) for message in messages]
        try:
            self._reckoning.key_of(transcript_digest(self.terms, (one.header.digest for one in messages)), deals)
        except InvalidInputError:
            self._refuse(Abort(Reason.DEGENERATE))
            return
        shares = self._opened(deals) if self.name in self.terms.indices else []
        if None in shares:
            at = shares.index(None)
            complaint = Complaint(messages[at].encoded, self._secrets.recipient_keys[at])
            self._refuse(Abort(Reason.EVIDENCE, evidence=complaint))
            return
        fitting = [share for share in shares if share]
        self._secrets = Secrets(share=reduce(group.scalar_add, fitting) if fitting else None)
        headers = tuple((message.header.digest, message.signature) for message in messages)
        self._post(MessageKind.ECHO, Echo(headers).encode())

    def _opened(self, deals: list[Deal]) -> list[Scalar | None]:
        return [
            self._ledger.judge.opened_share(dealer, deal, self.name, key)
            for dealer, deal, key in zip(self.terms.dealers, deals, self._secrets.recipient_keys, strict=True)
        ]

    def _refuse(self, abort: Abort) -> SignedMessage:
        self._secrets = Secrets()
        return self._post(MessageKind.ABORT, abort.encode())

    def _post(self, kind: MessageKind, body: bytes) -> SignedMessage:
        message = sign_message(self.terms, kind, self.name, body, self._sign)
        if self._ledger.add(message) is Added.FORGED:
            raise InvalidInputError("expected the identity key that the terms name for this party, got another")
        return message
