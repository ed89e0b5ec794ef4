"""What a party keeps secret in a ceremony, and all that it knows as bytes, so that it can be killed at any point."""

from dataclasses import dataclass, field

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import encoding
from jointrisk.oprf.ceremony.dealing import Dealing
from jointrisk.oprf.ceremony.encoding import Reader
from jointrisk.oprf.ceremony.messages import LONGEST_MESSAGE, SignedMessage
from jointrisk.oprf.ceremony.suite import PRIVATE_KEY_LENGTH
from jointrisk.oprf.ceremony.terms import Terms
from jointrisk.oprf.group import Randomness, Scalar

_FORMAT = 1
_LONGEST_TERMS = 1 << 14


@dataclass(frozen=True, slots=True)
class Secrets:
    """A party's secrets. What is not needed any more is not there any more.

    Attributes:
        recipient_keys: X25519 private keys, one for each dealer; until the vote, and only of a holder.
        dealing: until the vote, and only of a dealer.
        share: the new share, from the echo on; only of a holder.
    """

    recipient_keys: tuple[bytes, ...] = field(default=(), repr=False)
    dealing: Dealing | None = field(default=None, repr=False)
    share: Scalar | None = field(default=None, repr=False)

    @classmethod
    def begin(cls, terms: Terms, name: str, old_share: Scalar | None, randomness: Randomness) -> "Secrets":
        """Draw everything that a party needs for a ceremony.

        Raises:
            ConflictError: a dealer's old share is not the one that the terms name.
        """
        keys = tuple(randomness(PRIVATE_KEY_LENGTH) for _ in terms.dealers) if name in terms.indices else ()
        dealer = terms.dealer(name)
        return cls(keys, Dealing.begin(terms, dealer, old_share, randomness) if dealer else None)

    def encode(self) -> bytes:
        """Return the secrets as bytes."""
        keys = encoding.number(len(self.recipient_keys), 1) + b"".join(self.recipient_keys)
        dealing = encoding.number(self.dealing is not None, 1) + (self.dealing.encode() if self.dealing else b"")
        return keys + dealing + encoding.number(self.share is not None, 1) + (self.share or b"")

    @classmethod
    def read(cls, terms: Terms, reader: Reader) -> "Secrets":
        """Read what `encode` wrote."""
        keys = tuple(reader.take(PRIVATE_KEY_LENGTH) for _ in range(reader.number(1)))
        dealing = Dealing.read(terms, reader) if reader.number(1) else None
        return cls(keys, dealing, group.nonzero_scalar(reader.take(group.LENGTH)) if reader.number(1) else None)


@dataclass(frozen=True, slots=True)
class PartyState:
    """All that a party knows.

    Attributes:
        terms: of the ceremony.
        name: the party.
        is_stale: whether it has seen that it once knew more.
        secrets: its secrets.
        messages: everything that it has sent and received, in order.
    """

    terms: Terms
    name: str
    is_stale: bool
    secrets: Secrets
    messages: tuple[SignedMessage, ...]

    def encode(self) -> bytes:
        """Return the state as bytes, secrets in the clear: to be sealed before they are written anywhere."""
        written = encoding.number(_FORMAT, 1) + encoding.block(self.terms.encoded) + encoding.name(self.name)
        messages = b"".join(encoding.block(message.encoded) for message in self.messages)
        known = encoding.number(self.is_stale, 1) + self.secrets.encode()
        return written + known + encoding.number(len(self.messages), 4) + messages

    @classmethod
    def decode(cls, data: bytes) -> "PartyState":
        """Read a state.

        Raises:
            InvalidInputError: it is none.
        """
        reader = Reader(data, "the state of a party in a ceremony")
        if (found := reader.number(1)) != _FORMAT:
            raise InvalidInputError(f"expected a state of format {_FORMAT}, got {found}", remedy="Update this program.")
        terms = Terms.decode(reader.block(_LONGEST_TERMS))
        state = cls(terms, reader.name(), bool(reader.number(1)), Secrets.read(terms, reader), _read_messages(reader))
        reader.end()
        return state


def _read_messages(reader: Reader) -> tuple[SignedMessage, ...]:
    return tuple(SignedMessage.decode(reader.block(LONGEST_MESSAGE)) for _ in range(reader.number(4)))
