"""Who is guilty, from messages alone: everybody with the terms comes to the same judgement.

What is judged here is provable to anybody: each judgement follows from signed messages and the terms, without knowing
what arrived when. Silence is never judged.

*A complaint* shows a deal and the recipient key that its share was sealed to. The key pair was made by the complainer
for this dealer alone, and the deal itself contains the complainer's signed keys, so neither can deny them. If the key
is not the complainer's, or opens a share that fits the commitments, the complainer lied; else the dealer did. Nothing
but that one share is revealed, and it is worthless: the ceremony ends with it.
"""

from collections.abc import Mapping

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group, sharing
from jointrisk.oprf.ceremony.aborts import Complaint, Conflict, Evidence, Exhibit, read_abort
from jointrisk.oprf.ceremony.bodies import Confirm, Deal, Echo, Keys
from jointrisk.oprf.ceremony.dealing import proves_possession
from jointrisk.oprf.ceremony.messages import Header, MessageKind, SignedMessage
from jointrisk.oprf.ceremony.suite import Suite, share_context
from jointrisk.oprf.ceremony.terms import Dealer, Terms
from jointrisk.oprf.group import Scalar

_REMEMBERED = 4096
"""Far more than a ceremony needs, and a bound for those who send more."""


class Judge:
    """Judges the messages of one ceremony, and remembers its judgements.

    Args:
        terms: of the ceremony.
        suite: verifies signatures and opens shares.
    """

    def __init__(self, terms: Terms, suite: Suite) -> None:
        self.terms = terms
        self.suite = suite
        self._signed = set[tuple[str, Header]]()
        self._usable = dict[bytes, bool]()
        self._kept = dict[tuple[str, Header], bool]()

    def is_genuine(self, message: SignedMessage) -> bool:
        """Tell whether a message belongs to this ceremony and is signed by a party of it."""
        return message.belongs_to(self.terms) and self.has_signed(message.sender, message.header)

    def has_signed(self, sender: str, header: Header) -> bool:
        """Tell whether this party of the ceremony signed this header."""
        if (sender, header) in self._signed:
            return True
        if signed := header.is_signed_by(sender, self.terms, self.suite):
            _make_room(self._signed)
            self._signed.add((sender, header))
        return signed

    def convicted(self, message: SignedMessage) -> str | None:
        """Return the name of the party that a genuine message convicts by itself, or None.

        That is the sender of a message that breaks the rules, the party that an abort's evidence accuses, or the
        sender of an abort whose evidence proves nothing.
        """
        if message.kind is not MessageKind.ABORT:
            return None if self.keeps_rules(message) else message.sender
        abort = read_abort(message)
        if abort is None:
            return message.sender
        if abort.evidence is None:
            return None
        return self._accused(message.sender, abort.evidence) or message.sender

    def keeps_rules(self, message: SignedMessage) -> bool:
        """Tell whether a genuine message other than an abort is as its sender may send it."""
        key = (message.sender, message.header)
        if key not in self._kept:
            _make_room(self._kept)
            self._kept[key] = self._examine(message)
        return self._kept[key]

    def _examine(self, message: SignedMessage) -> bool:
        try:
            match message.kind:
                case MessageKind.KEYS:
                    return message.sender in self.terms.indices and self._are_usable(message.body)
                case MessageKind.DEAL:
                    dealer = self.terms.dealer(message.sender)
                    return dealer is not None and self._is_sound(dealer, Deal.decode(self.terms, message.body))
                case MessageKind.ECHO:
                    return self._is_witnessed(Echo.decode(self.terms, message.body))
                case _:
                    Confirm.decode(message.body)
                    return message.sender in self.terms.indices
        except InvalidInputError:
            return False

    def opened_share(self, dealer: Dealer, deal: Deal, receiver: str, private_key: bytes) -> Scalar | None:
        """Open a holder's share in a deal.

        Args:
            dealer: who dealt.
            deal: a deal that keeps the rules.
            receiver: the holder.
            private_key: the holder's recipient key for this dealer.

        Returns:
            The share, or None when it does not open or does not fit the commitments.
        """
        index = self.terms.indices[receiver]
        context = share_context(self.terms, dealer.name, receiver)
        plain = self.suite.open(private_key, deal.sealed[index - 1], context)
        try:
            share = group.nonzero_scalar(plain or b"")
            fits = group.multiply_base(share) == sharing.evaluate_commitments(deal.commitments, index)
        except InvalidInputError:
            return None
        return share if fits else None

    def is_proven(self, conflict: Conflict) -> bool:
        """Tell whether a conflict proves that its sender said two things."""
        both = (conflict.first, conflict.second)
        return conflict.first.contradicts(conflict.second) and all(
            self.has_signed(conflict.sender, one) for one in both
        )

    def _accused(self, sender: str, evidence: Evidence) -> str | None:
        """Return who is guilty by the evidence in an abort, or None when it proves nothing against anybody."""
        match evidence:
            case Conflict():
                return evidence.sender if self.is_proven(evidence) else None
            case Exhibit():
                return self._exhibited(evidence)
            case Complaint():
                return self._complained(sender, evidence)

    def _exhibited(self, evidence: Exhibit) -> str | None:
        """Judge a message within an abort. It may not be an abort with an exhibit: nothing nests deeper."""
        message = self._shown(evidence.message)
        if message is None or is_second_hand(message):
            return None
        return self.convicted(message)

    def _complained(self, sender: str, complaint: Complaint) -> str | None:
        message = self._shown(complaint.deal)
        if message is None or message.kind is not MessageKind.DEAL or sender not in self.terms.indices:
            return None
        if not self.keeps_rules(message):
            return message.sender
        dealer, deal = self.terms.dealer(message.sender), Deal.decode(self.terms, message.body)
        if dealer is None or self._key_for(dealer, deal, sender) != self.suite.public_key(complaint.private_key):
            return None
        return None if self.opened_share(dealer, deal, sender, complaint.private_key) else dealer.name

    def _key_for(self, dealer: Dealer, deal: Deal, receiver: str) -> bytes:
        body, _ = deal.keys[self.terms.indices[receiver] - 1]
        return Keys.decode(self.terms, body).public_keys[self.terms.dealers.index(dealer)]

    def _shown(self, encoded: bytes) -> SignedMessage | None:
        """Return a message that is shown as evidence, or None when it is not one of this ceremony."""
        try:
            message = SignedMessage.decode(encoded)
        except InvalidInputError:
            return None
        return message if self.is_genuine(message) else None

    def _are_usable(self, body: bytes) -> bool:
        if body not in self._usable:
            keys = Keys.decode(self.terms, body).public_keys
            _make_room(self._usable)
            self._usable[body] = len(set(keys)) == len(keys) and all(self.suite.is_usable(key) for key in keys)
        return self._usable[body]

    def _is_sound(self, dealer: Dealer, deal: Deal) -> bool:
        """Tell whether a deal is right as far as everybody can see: all but the sealed shares."""
        expected = self.terms.dealt_key(dealer)
        return (
            (expected is None or expected == deal.commitments[0])
            and proves_possession(self.terms, dealer, deal.commitments[0], deal.proof)
            and self._are_signed(deal.headers(self.terms))
            and all(self._are_usable(body) for body, _ in deal.keys)
        )

    def _is_witnessed(self, echo: Echo) -> bool:
        return self._are_signed(echo.headers(self.terms))

    def _are_signed(self, headers: Mapping[str, Header]) -> bool:
        return all(self.has_signed(sender, header) for sender, header in headers.items())


def is_second_hand(message: SignedMessage) -> bool:
    """Tell whether a message is an abort that passes on somebody else's message as its evidence."""
    abort = read_abort(message)
    return abort is not None and isinstance(abort.evidence, Exhibit)


def _make_room(judgements: set[tuple[str, Header]] | dict[tuple[str, Header], bool] | dict[bytes, bool]) -> None:
    if len(judgements) >= _REMEMBERED:
        judgements.clear()
