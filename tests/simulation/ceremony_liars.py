"""Liars: parties that say something else than they honestly would, and stand by it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

from ceremony_sample import identity
from jointrisk.errors import InvalidInputError
from jointrisk.oprf.ceremony import (
    Abort,
    Complaint,
    Conflict,
    Exhibit,
    MessageKind,
    Party,
    Reason,
    Sign,
    SignedMessage,
    Suite,
    Terms,
)
from jointrisk.oprf.ceremony.bodies import Deal
from jointrisk.oprf.ceremony.messages import Slot, sign_message
from jointrisk.oprf.ceremony.party_state import PartyState

Lie = Callable[["Telling"], list[SignedMessage]]
"""Takes the moment of a lie, and returns what is said instead."""


class Liar(Party):
    """Tells lies and stands by them; goes on where an honest party would stop, and remembers what one forgets.

    Args:
        state: of a party that has just begun.
        sign: signs with its identity key.
        suite: verifies and seals.
        lies: what it tells in place of which message.
        seed: of what its lies draw.

    Attributes:
        drawn: its secrets at the beginning.
        told: what it says to each of two sides in place of a message.
        has_lied: whether any of that was a lie.
    """

    def __init__(
        self, state: PartyState, sign: Sign, suite: Suite, lies: Iterable[tuple[MessageKind, Lie]], seed: int
    ) -> None:
        super().__init__(replace(state, messages=()), sign, suite)
        self.drawn = state.secrets
        self.told = dict[bytes, tuple[list[SignedMessage], list[SignedMessage]]]()
        self.dealt = dict[int, SignedMessage]()
        self.has_lied = False
        self._lies = tuple(lies)
        self._seed = seed
        for message in state.messages:
            self._post(message.kind, message.body)

    def _require_whole_memory(self) -> None:
        pass

    def _gather(self) -> None:
        if not self._ledger.guilty - {self.name}:
            # What is malformed it cannot read itself.
            with suppress(InvalidInputError):
                self._deal()
                deals = [self._ledger.first(Slot.DEAL, dealer.name) for dealer in self.terms.dealers]
                if all(deals):
                    self._vote_on([deal for deal in deals if deal])

    def _post(self, kind: MessageKind, body: bytes) -> SignedMessage:
        message = sign_message(self.terms, kind, self.name, body, self._sign)
        sides = self._lied(message, 0), self._lied(message, 1)
        stands_by = sides[0][0] if sides[0] else message
        self.has_lied |= sides != ([message], [message])
        self.told[stands_by.encoded] = sides
        self._ledger.add(stands_by)
        return stands_by

    def _lied(self, message: SignedMessage, side: int) -> list[SignedMessage]:
        """Return what the liar says to one side: what an honest party would, or its lie."""
        for kind, lie in self._lies:
            if kind is message.kind:
                return lie(Telling(self, message, side, victim=self._seed // 3, seed=self._seed))
        return [message]


@dataclass(frozen=True)
class Telling:
    """The moment of a lie.

    Attributes:
        liar: who lies.
        message: what it would say.
        side: 0 or 1; lies that say two things say one of them to each side.
        victim: which holder, dealer or part suffers, where a lie has one; any number.
        seed: of what is drawn at random; the same for all recipients of one message.
    """

    liar: Liar
    message: SignedMessage
    side: int
    victim: int
    seed: int

    @property
    def terms(self) -> Terms:
        """The terms of the ceremony."""
        return self.liar.terms

    @property
    def random(self) -> Random:
        """The same random numbers for every recipient."""
        return Random(self.seed)  # noqa: S311 - the same numbers every time

    @property
    def holder(self) -> int:
        """The place of the holder that suffers, somebody else than the liar."""
        others = [at for at, holder in enumerate(self.terms.holders) if holder.name != self.liar.name]
        return others[self.victim % len(others)]

    def deal(self) -> Deal:
        """Return the deal that the message is."""
        return Deal.decode(self.terms, self.message.body)

    def says(self, body: bytes, kind: MessageKind | None = None) -> list[SignedMessage]:
        """Return a message of the liar with another body."""
        sign = identity(self.liar.name).sign
        return [sign_message(self.terms, kind or self.message.kind, self.liar.name, body, sign)]

    def aborts(self, abort: Abort) -> list[SignedMessage]:
        """Return an abort of the liar."""
        return self.says(abort.encode(), MessageKind.ABORT)

    def accuses(self, evidence: Conflict | Exhibit | Complaint) -> list[SignedMessage]:
        """Return an abort of the liar with this evidence."""
        return self.aborts(Abort(Reason.EVIDENCE, evidence=evidence))

    def honest(self, kind: MessageKind) -> SignedMessage:
        """Return a message of somebody else that the liar knows, of this kind."""
        known = [one for one in self.liar.messages if one.kind is kind and one.sender != self.liar.name]
        return known[self.victim % len(known)]
