"""What parties post: a signed frame around one of five bodies.

    frame      format 1 | kind (1) | session (16) | digest of the terms (32) | sender | body | signature (64)
    signature  Ed25519 over domain | kind | session | digest of the terms | sender | SHA-256 of the body

The signature covers the body's digest, so the short `Header` (kind, digest, signature) proves what was sent without
the body: echoes carry the headers of deals, and two headers for one slot prove that a sender said two things.
Whether a body keeps the rules of its ceremony is told by :mod:`jointrisk.oprf.ceremony.bodies` and ``judgement``.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from jointrisk.errors import InvalidInputError
from jointrisk.oprf.ceremony import encoding
from jointrisk.oprf.ceremony.encoding import Reader
from jointrisk.oprf.ceremony.suite import Sign, Suite
from jointrisk.oprf.ceremony.terms import SESSION_LENGTH, Terms

DIGEST_LENGTH = 32
SIGNATURE_LENGTH = 64
LONGEST_BODY = 1 << 15
LONGEST_MESSAGE = LONGEST_BODY + 256

_FORMAT = 1
_DOMAIN = b"jointrisk/v1/ceremony-message"


class MessageKind(IntEnum):
    """Which body a message has."""

    KEYS = 1
    DEAL = 2
    ECHO = 3
    ABORT = 4
    CONFIRM = 5


class Slot(IntEnum):
    """What a party says once in a ceremony. An echo and an abort fill the same slot: nobody may send both."""

    KEYS = 1
    DEAL = 2
    VOTE = 3
    CONFIRM = 5


_SLOTS = {
    MessageKind.KEYS: Slot.KEYS,
    MessageKind.DEAL: Slot.DEAL,
    MessageKind.ECHO: Slot.VOTE,
    MessageKind.ABORT: Slot.VOTE,
    MessageKind.CONFIRM: Slot.CONFIRM,
}


@dataclass(frozen=True, slots=True)
class Header:
    """Proof that a sender sent a body, without the body.

    Attributes:
        kind: of the message.
        digest: SHA-256 of its body.
        signature: the sender's, 64 bytes.
    """

    kind: MessageKind
    digest: bytes
    signature: bytes

    @property
    def slot(self) -> Slot:
        """The slot that the message fills."""
        return _SLOTS[self.kind]

    def is_signed_by(self, sender: str, terms: Terms, suite: Suite) -> bool:
        """Tell whether this party of the ceremony signed it."""
        identity = terms.identities.get(sender)
        signed = signed_bytes(terms, self.kind, sender, self.digest)
        return identity is not None and suite.verifies(identity, signed, self.signature)

    def contradicts(self, other: "Header") -> bool:
        """Tell whether one sender may not send both: same slot, another content. Signatures are not compared."""
        return self.slot is other.slot and (self.kind, self.digest) != (other.kind, other.digest)


@dataclass(frozen=True)
class SignedMessage:
    """A message as it is posted, kept and sent.

    Attributes:
        kind: which body it has.
        session: of the ceremony.
        terms_digest: of its terms.
        sender: the party's name.
        body: bytes of one of the bodies.
        signature: the sender's, 64 bytes.
    """

    kind: MessageKind
    session: bytes
    terms_digest: bytes
    sender: str
    body: bytes
    signature: bytes

    @cached_property
    def header(self) -> Header:
        """The message without its body."""
        return Header(self.kind, hashlib.sha256(self.body).digest(), self.signature)

    @property
    def slot(self) -> Slot:
        """The slot that it fills."""
        return _SLOTS[self.kind]

    @cached_property
    def encoded(self) -> bytes:
        """The one byte form."""
        return b"".join(
            (
                encoding.number(_FORMAT, 1) + encoding.number(self.kind, 1) + self.session + self.terms_digest,
                encoding.name(self.sender) + encoding.block(self.body) + self.signature,
            )
        )

    def belongs_to(self, terms: Terms) -> bool:
        """Tell whether it says that it is of this ceremony, and is not too long for what it is."""
        longest = LONGEST_BODY if self.kind is MessageKind.ABORT else LONGEST_BODY // 2
        return (self.session, self.terms_digest) == (terms.session, terms.digest) and len(self.body) <= longest

    @classmethod
    def decode(cls, data: bytes) -> "SignedMessage":
        """Read a message from its bytes. Nothing is verified yet.

        Raises:
            InvalidInputError: it is not the one byte form of a message.
        """
        reader = Reader(data, "a message of a ceremony")
        if (found := reader.number(1)) != _FORMAT:
            raise InvalidInputError(
                f"expected a message of format {_FORMAT}, got {found}", remedy="Update this program."
            )
        message = cls(
            kind=read_kind(reader),
            session=reader.take(SESSION_LENGTH),
            terms_digest=reader.take(DIGEST_LENGTH),
            sender=reader.name(),
            body=reader.block(LONGEST_BODY),
            signature=reader.take(SIGNATURE_LENGTH),
        )
        reader.end()
        return message


def sign_message(terms: Terms, kind: MessageKind, sender: str, body: bytes, sign: Sign) -> SignedMessage:
    """Sign a body as a message of a ceremony.

    Args:
        terms: of the ceremony.
        kind: which body it is.
        sender: the party that signs.
        body: the bytes.
        sign: signs with the party's identity key.
    """
    signature = sign(signed_bytes(terms, kind, sender, hashlib.sha256(body).digest()))
    return SignedMessage(kind, terms.session, terms.digest, sender, body, signature)


def signed_bytes(terms: Terms, kind: MessageKind, sender: str, digest: bytes) -> bytes:
    """Return what the signature of a message covers.

    Args:
        terms: of the ceremony.
        kind: which body it has.
        sender: the party.
        digest: SHA-256 of the body.
    """
    bound = encoding.number(kind, 1) + terms.session + terms.digest + encoding.name(sender)
    return encoding.block(_DOMAIN) + bound + digest


def read_kind(reader: Reader) -> MessageKind:
    """Read the kind of a message.

    Raises:
        InvalidInputError: there is no such kind.
    """
    try:
        return MessageKind(reader.number(1))
    except ValueError:
        raise InvalidInputError("expected the kind of a message, got another number") from None
