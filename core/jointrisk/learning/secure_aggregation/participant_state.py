"""What a member knows of a round's session between two messages, as bytes for its store."""

from dataclasses import dataclass, field

from jointrisk.errors import InvalidInputError
from jointrisk.learning.secure_aggregation import encoding
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.sharing import SHARE_LENGTH
from jointrisk.learning.secure_aggregation.terms import DIGEST_LENGTH, Terms

SECRET_LENGTH = 32

_LONGEST = 1 << 24
_MOST_PLACES = 100


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a member has drawn for one session. Shows in no `repr`.

    Attributes:
        mask_key: private X25519 key, 32 bytes.
        seal_key: private X25519 key, 32 bytes.
        seed: of its own mask, 32 bytes; without use in a series.
    """

    mask_key: bytes = field(repr=False)
    seal_key: bytes = field(repr=False)
    seed: bytes = field(repr=False)

    @property
    def encoded(self) -> bytes:
        """Its bytes."""
        return self.mask_key + self.seal_key + self.seed

    @classmethod
    def read(cls, reader: Reader) -> "Secrets":
        """Read what `encoded` wrote."""
        return cls(reader.take(SECRET_LENGTH), reader.take(SECRET_LENGTH), reader.take(SECRET_LENGTH))


@dataclass(frozen=True, slots=True)
class Held:
    """The two shares that a member holds of a dealer's secrets. They show in no `repr`.

    Attributes:
        key: share of the private mask key, 33 bytes.
        seed: share of the seed, 33 bytes.
    """

    key: bytes = field(repr=False)
    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParticipantState:
    """What a member knows of a session. Secret: to be sealed before it is stored.

    Attributes:
        terms: of the session.
        name: of the member.
        secrets: None as soon as they are not needed any more: when the masked input is made.
        keys: bytes of the list of keys; empty before it came.
        held: shares by dealer; its own from when it deals, the others' when it masks; none after they were released.
        cohort: places of those that it masked with.
        statement: what its input says, 32 bytes; empty before it gave one.
        survivors: places in the set that it signed.
    """

    terms: Terms
    name: str
    secrets: Secrets | None
    keys: bytes = b""
    held: dict[int, Held] = field(default_factory=dict, repr=False)
    cohort: tuple[int, ...] = ()
    statement: bytes = b""
    survivors: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return its bytes."""
        secrets = b"\0" if self.secrets is None else b"\1" + self.secrets.encoded
        held = (encoding.number(place, 1) + one.key + one.seed for place, one in sorted(self.held.items()))
        parts = (
            encoding.block(self.terms.encoded) + encoding.name(self.name) + secrets + encoding.block(self.keys),
            encoding.number(len(self.held), 1) + b"".join(held),
            encoding.places(self.cohort) + encoding.block(self.statement) + encoding.places(self.survivors),
        )
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> "ParticipantState":
        """Read what :meth:`encode` wrote.

        Raises:
            InvalidInputError: it is something else.
        """
        reader = Reader(data, "the state of a secure sum")
        terms, name = Terms.decode(reader.block(_LONGEST)), reader.name()
        if name not in terms.places:
            raise InvalidInputError(f"expected {reader.what} of one of its members, got another")
        secrets = Secrets.read(reader) if reader.flag() else None
        keys = reader.block(_LONGEST)
        held = {reader.number(1): _read_held(reader) for _ in range(reader.number(1))}
        cohort, statement = reader.places(_MOST_PLACES), reader.block(DIGEST_LENGTH)
        state = cls(terms, name, secrets, keys, held, cohort, statement, reader.places(_MOST_PLACES))
        reader.end()
        return state


def _read_held(reader: Reader) -> Held:
    return Held(reader.take(SHARE_LENGTH), reader.take(SHARE_LENGTH))
