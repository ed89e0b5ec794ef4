"""The body of an abort, and the evidence in it.

Their fields, with lengths in bytes:

    abort      reason (1) | missing (1) | for each: name | evidence (1) | its fields
    conflict   sender | kind (1), digest (32), signature (64) | the same of the other message
    exhibit    length (4), message
    complaint  length (4), deal | recipient key (32)
"""

from dataclasses import dataclass, field
from enum import IntEnum

from jointrisk.errors import InvalidInputError
from jointrisk.oprf.ceremony import encoding
from jointrisk.oprf.ceremony.encoding import Reader
from jointrisk.oprf.ceremony.messages import (
    DIGEST_LENGTH,
    LONGEST_BODY,
    LONGEST_MESSAGE,
    SIGNATURE_LENGTH,
    Header,
    MessageKind,
    SignedMessage,
    read_kind,
)
from jointrisk.oprf.ceremony.suite import PRIVATE_KEY_LENGTH

LONGEST_EXHIBIT = LONGEST_BODY - 1024
"""Longest message that fits into the evidence of an abort, whatever else is in it."""


class Reason(IntEnum):
    """Why a party refuses. Only `EVIDENCE` accuses somebody."""

    EVIDENCE = 1
    ORDER = 2
    DEADLINE = 3
    FOLLOWS = 4
    DEGENERATE = 5


@dataclass(frozen=True, slots=True)
class Conflict:
    """Evidence: one party signed two different things for one slot.

    Attributes:
        sender: the party.
        first: one of them.
        second: the other.
    """

    sender: str
    first: Header
    second: Header


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Evidence: a message that breaks the rules by itself.

    Attributes:
        message: the encoded message.
    """

    message: bytes


@dataclass(frozen=True, slots=True)
class Complaint:
    """Evidence: a share that does not fit, with the key that opens it; it is the abort's sender that complains.

    Attributes:
        deal: the encoded deal.
        private_key: the complainer's recipient key for this dealer, 32 bytes. It opens nothing else.
    """

    deal: bytes
    private_key: bytes = field(repr=False)


Evidence = Conflict | Exhibit | Complaint


@dataclass(frozen=True, slots=True)
class Abort:
    """A party has not sent an echo in this ceremony and never will.

    Attributes:
        reason: why.
        missing: for what it waited when it gave up: names of parties, sorted.
        evidence: whom it accuses, provable from here alone; only with `Reason.EVIDENCE`.
    """

    reason: Reason
    missing: tuple[str, ...] = ()
    evidence: Evidence | None = None

    def encode(self) -> bytes:
        """Return the body."""
        missing = encoding.number(len(self.missing), 1) + b"".join(encoding.name(name) for name in self.missing)
        return encoding.number(self.reason, 1) + missing + _encoded_evidence(self.evidence)

    @classmethod
    def decode(cls, body: bytes) -> "Abort":
        """Read the body. The evidence is not judged yet.

        Raises:
            InvalidInputError: it is none.
        """
        reader = Reader(body, "an abort")
        try:
            reason = Reason(reader.number(1))
        except ValueError:
            raise InvalidInputError("expected the reason of an abort, got another number") from None
        missing = tuple(reader.name() for _ in range(reader.number(1)))
        abort = cls(reason, missing, _read_evidence(reader))
        reader.end()
        if list(missing) != sorted(set(missing)) or (reason is Reason.EVIDENCE) != (abort.evidence is not None):
            raise InvalidInputError("expected missing names in order, and evidence where it is the reason")
        return abort


def _encoded_evidence(evidence: Evidence | None) -> bytes:
    match evidence:
        case None:
            return encoding.number(0, 1)
        case Conflict(sender, first, second):
            return encoding.number(1, 1) + encoding.name(sender) + _encoded_header(first) + _encoded_header(second)
        case Exhibit(message):
            return encoding.number(2, 1) + encoding.block(message)
        case Complaint(deal, private_key):
            return encoding.number(3, 1) + encoding.block(deal) + private_key


def _read_evidence(reader: Reader) -> Evidence | None:
    match reader.number(1):
        case 0:
            return None
        case 1:
            return Conflict(reader.name(), _read_header(reader), _read_header(reader))
        case 2:
            return Exhibit(reader.block(LONGEST_MESSAGE))
        case 3:
            return Complaint(reader.block(LONGEST_MESSAGE), reader.take(PRIVATE_KEY_LENGTH))
    raise InvalidInputError("expected the kind of an evidence, got another number")


def _encoded_header(header: Header) -> bytes:
    return encoding.number(header.kind, 1) + header.digest + header.signature


def _read_header(reader: Reader) -> Header:
    return Header(read_kind(reader), reader.take(DIGEST_LENGTH), reader.take(SIGNATURE_LENGTH))


def read_abort(message: SignedMessage) -> Abort | None:
    """Return the abort that a message is, or None when it is another one, or no body at all."""
    try:
        return Abort.decode(message.body) if message.kind is MessageKind.ABORT else None
    except InvalidInputError:
        return None


def exhibit(message: SignedMessage) -> Exhibit | None:
    """Return a message as evidence, or None when it is too long to be carried."""
    return Exhibit(message.encoded) if len(message.encoded) <= LONGEST_EXHIBIT else None
