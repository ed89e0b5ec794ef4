"""The bulletin board's side of a ceremony: what the coordinator can check without being trusted with anything.

A board passes on what parties sign, in one order. It can lose, delay and reorder, but not invent or change: every party
verifies every message by itself, and computes the end from the messages as the board does.
"""

from collections.abc import Iterable

from jointrisk.errors import ConflictError, UnauthenticatedError
from jointrisk.oprf.ceremony.ledger import Added, Ledger
from jointrisk.oprf.ceremony.messages import SignedMessage
from jointrisk.oprf.ceremony.outcome import Outcome, Reckoning
from jointrisk.oprf.ceremony.suite import Suite
from jointrisk.oprf.ceremony.terms import Terms


class Board:
    """The messages of one ceremony in one order.

    Args:
        terms: of the ceremony.
        suite: verifies signatures.
        messages: what was posted before, when the board is restarted.
    """

    def __init__(self, terms: Terms, suite: Suite, messages: Iterable[SignedMessage] = ()) -> None:
        self.terms = terms
        self._ledger = Ledger(terms, suite)
        self._reckoning = Reckoning(self._ledger)
        for message in messages:
            self._ledger.add(message)

    @property
    def messages(self) -> tuple[SignedMessage, ...]:
        """Everything that was posted, in order: at most one for each sender and slot, and what contradicts it."""
        return self._ledger.messages

    @property
    def outcome(self) -> Outcome | None:
        """How the ceremony ended, or None while it has not."""
        return self._reckoning.outcome()

    @property
    def guilty(self) -> frozenset[str]:
        """The parties against whom something is proven, whatever becomes of the ceremony."""
        return self._ledger.guilty

    def missing(self) -> tuple[str, ...]:
        """Return the parties for whose next message the ceremony waits, sorted."""
        return tuple(sorted(self._ledger.missing()))

    def post(self, message: SignedMessage) -> bool:
        """Take a message.

        Returns:
            Whether it is new: to be stored at the end of the others, and passed on. A message that contradicts an
            earlier one of its sender is passed on too, for it convicts the sender.

        Raises:
            UnauthenticatedError: it is not of this ceremony, or not signed by the party that it names.
            ConflictError: its sender has contradicted itself before; it is not kept.
        """
        added = self._ledger.add(message)
        if added is Added.FORGED:
            raise UnauthenticatedError("expected a message that a party of this ceremony signed, got another")
        if added is Added.DROPPED:
            raise ConflictError("expected one message for each step of the ceremony, got a third one from one sender")
        return added is Added.NEW
