"""What one place, a party or the board, has seen of a ceremony, and what that proves.

A ledger takes genuine messages in any order and any number of times. Of each sender it keeps the first message for each
slot and one that contradicts it. More are kept only when they complete a commit: an echo of what others echo, a deal
that was echoed. So no flood of contradictions fills the memory or hides a commit.
"""

from enum import Enum

from jointrisk.oprf.ceremony.aborts import Conflict
from jointrisk.oprf.ceremony.bodies import Deal, Echo
from jointrisk.oprf.ceremony.judgement import Judge
from jointrisk.oprf.ceremony.messages import Header, MessageKind, SignedMessage, Slot
from jointrisk.oprf.ceremony.suite import Suite
from jointrisk.oprf.ceremony.terms import Terms


class Added(Enum):
    """What became of a message.

    Attributes:
        NEW: kept.
        KNOWN: it was there before.
        FORGED: it is not of this ceremony or not signed by a party; nothing was kept.
        DROPPED: its sender has contradicted itself before, and it adds nothing.
    """

    NEW = "new"
    KNOWN = "known"
    FORGED = "forged"
    DROPPED = "dropped"


class Ledger:
    """The messages of one ceremony as seen from one place.

    Args:
        terms: of the ceremony.
        suite: verifies signatures and opens shares.

    Attributes:
        seen: how many messages said something new; what follows from the ledger is the same while this is.
    """

    def __init__(self, terms: Terms, suite: Suite) -> None:
        self.terms = terms
        self.judge = Judge(terms, suite)
        self.seen = 0
        self._messages: list[SignedMessage] = []
        self._slots: dict[tuple[Slot, str], list[SignedMessage]] = {}
        self._headers: dict[tuple[Slot, str], Header] = {}
        self._conflicts: dict[str, Conflict] = {}
        self._convicting: dict[str, SignedMessage] = {}
        self._echoes: dict[bytes, dict[str, Echo]] = {}
        self._transcripts: dict[tuple[str, bytes], bytes] = {}

    @property
    def messages(self) -> tuple[SignedMessage, ...]:
        """Everything that is kept, in the order of arrival."""
        return tuple(self._messages)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """One for each party that contradicted itself."""
        return tuple(self._conflicts.values())

    @property
    def convicting(self) -> tuple[SignedMessage, ...]:
        """One message for each party that a message convicts by itself."""
        return tuple(self._convicting.values())

    @property
    def guilty(self) -> frozenset[str]:
        """The names of all parties against whom something is proven."""
        return frozenset(self._conflicts) | frozenset(self._convicting)

    @property
    def echoes(self) -> dict[bytes, dict[str, Echo]]:
        """The echoes by transcript digest and sender."""
        return self._echoes

    def first(self, slot: Slot, sender: str) -> SignedMessage | None:
        """Return the first message of this sender in this slot, or None."""
        kept = self._slots.get((slot, sender))
        return kept[0] if kept else None

    def all_of(self, slot: Slot, sender: str) -> tuple[SignedMessage, ...]:
        """Return the messages of this sender in this slot; more than one contradict each other."""
        return tuple(self._slots.get((slot, sender), ()))

    def echoed(self, vote: SignedMessage) -> bytes | None:
        """Return the digest of the deals that a vote echoes; None when it is an abort, or breaks the rules."""
        return self._transcripts.get((vote.sender, vote.header.digest)) if vote.kind is MessageKind.ECHO else None

    def sound_deal(self, dealer: str, digest: bytes) -> Deal | None:
        """Return the deal of this dealer with this digest when it is there and keeps the rules, or None."""
        for message in self.all_of(Slot.DEAL, dealer):
            if message.header.digest == digest and self.judge.keeps_rules(message):
                return Deal.decode(self.terms, message.body)
        return None

    def missing(self) -> set[str]:
        """Return who has not sent what comes next: keys, then deals, then votes, then confirmations."""
        holders, dealers = set(self.terms.indices), {dealer.name for dealer in self.terms.dealers}
        steps = {Slot.KEYS: holders, Slot.DEAL: dealers, Slot.VOTE: set(self.terms.identities), Slot.CONFIRM: holders}
        waited = ({name for name in senders if (slot, name) not in self._slots} for slot, senders in steps.items())
        return next(filter(None, waited), set())

    def add(self, message: SignedMessage) -> Added:
        """Take a message, and note what it proves."""
        kept = self._slots.get((message.slot, message.sender), [])
        # Compared without signatures: an echo of the same thing that is signed twice is one echo.
        if not (message in kept or self.judge.is_genuine(message)):
            return Added.FORGED
        if any(not message.header.contradicts(other.header) for other in kept):
            return Added.KNOWN
        self.seen += 1
        self._note(message.sender, message.header)
        echo = self._examined(message)
        if len(kept) > 1 and not self._completes(message, echo):
            return Added.DROPPED
        self._slots.setdefault((message.slot, message.sender), kept).append(message)
        self._messages.append(message)
        if echo is not None:
            transcript = echo.transcript(self.terms)
            self._transcripts[message.sender, message.header.digest] = transcript
            self._echoes.setdefault(transcript, {})[message.sender] = echo
        return Added.NEW

    def _examined(self, message: SignedMessage) -> Echo | None:
        """Note whom a message convicts and the headers that it carries; return the echo that it is, if it is one."""
        if (guilty := self.judge.convicted(message)) is not None:
            self._convicting.setdefault(guilty, message)
            return None
        if message.kind is MessageKind.DEAL:
            self._note_all(Deal.decode(self.terms, message.body).headers(self.terms))
        if message.kind is not MessageKind.ECHO:
            return None
        echo = Echo.decode(self.terms, message.body)
        self._note_all(echo.headers(self.terms))
        return echo

    def _note_all(self, headers: dict[str, Header]) -> None:
        for sender, header in headers.items():
            self._note(sender, header)

    def _note(self, sender: str, header: Header) -> None:
        first = self._headers.setdefault((header.slot, sender), header)
        if first.contradicts(header):
            self._conflicts.setdefault(sender, Conflict(sender, first, header))

    def _completes(self, message: SignedMessage, echo: Echo | None) -> bool:
        """Tell whether a third message for a slot can belong to a commit that others echo."""
        if echo is not None:
            return bool(set(self._echoes.get(echo.transcript(self.terms), {})) - {message.sender})
        return message.kind is MessageKind.DEAL and any(
            echoed.headers(self.terms)[message.sender].digest == message.header.digest
            for by_sender in self._echoes.values()
            for echoed in by_sender.values()
            if self.terms.dealer(message.sender) is not None
        )
