"""The terms of a ceremony: what people approve before their node takes part, and what every signature covers.

format 1 | kind (1) | session (16) | federation | epoch (8) | old generation (8) | new generation (8) |
threshold (1) | holders (1) | for each: name, identity key (32) |
old dealers (1) | for each: name, identity key (32), index (1), public key (32) | old group key (32 or nothing)
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group, sharing
from jointrisk.oprf.ceremony import encoding
from jointrisk.oprf.ceremony.encoding import Reader
from jointrisk.oprf.group import IDENTITY, Element, Scalar

SESSION_LENGTH = 16
KEY_LENGTH = 32
LEAST_THRESHOLD = 2
FEWEST_HOLDERS = 2
MOST_HOLDERS = 9
LARGEST_NUMBER = (1 << 32) - 1
"""Of an epoch or a generation: what the wire contract's uint32 holds."""

_FORMAT = 1
_DOMAIN = b"jointrisk/v1/ceremony-terms"


class Kind(IntEnum):
    """What a ceremony is for. A rotation is ``GENERATE`` with a new epoch."""

    GENERATE = 1
    REFRESH = 2
    RESHARE = 3


@dataclass(frozen=True, slots=True)
class Holder:
    """One that is to hold a share of the new generation.

    Attributes:
        name: the member.
        identity_key: its Ed25519 public key, 32 bytes.
    """

    name: str
    identity_key: bytes


@dataclass(frozen=True, slots=True)
class Dealer:
    """One that deals: in a generation every holder, else a holder of the old generation.

    Attributes:
        name: the member.
        identity_key: its Ed25519 public key, 32 bytes.
        index: its index, of the old generation in a refresh or a resharing.
        public_key: the public key of its old share; None in a generation.
    """

    name: str
    identity_key: bytes
    index: int
    public_key: Element | None = None


@dataclass(frozen=True)
class Terms:
    """The terms of one ceremony. Whoever makes or reads them has valid ones.

    Attributes:
        session: 16 random bytes, used for no other ceremony.
        kind: generation, refresh or resharing.
        federation: its name.
        epoch: of the group key; a generation makes that of a new epoch.
        old_generation: number of the shares that there are; 0 when there are none.
        new_generation: number of the shares that the ceremony makes; greater, and used for no other ceremony.
        threshold: how many of the new holders are needed.
        holders: the new holders; the index of the first is 1.
        old_dealers: in a refresh or a resharing, as many old holders as the old threshold says; else empty.
        old_public_key: in a refresh or a resharing the group key, else None.

    Raises:
        InvalidInputError: they contradict themselves; among others, the dealers' public keys do not make the group key.
    """

    session: bytes
    kind: Kind
    federation: str
    epoch: int
    old_generation: int
    new_generation: int
    threshold: int
    holders: tuple[Holder, ...]
    old_dealers: tuple[Dealer, ...] = ()
    old_public_key: Element | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_parties(self)
        if self.kind is Kind.GENERATE:
            _check_no_old_key(self)
        else:
            _check_old_key(self)

    @cached_property
    def encoded(self) -> bytes:
        """The one byte form."""
        return b"".join(
            (
                encoding.number(_FORMAT, 1) + encoding.number(self.kind, 1) + self.session,
                encoding.name(self.federation),
                *(encoding.number(n, 8) for n in (self.epoch, self.old_generation, self.new_generation)),
                encoding.number(self.threshold, 1) + encoding.number(len(self.holders), 1),
                *(encoding.name(holder.name) + holder.identity_key for holder in self.holders),
                encoding.number(len(self.old_dealers), 1),
                *(_encoded_dealer(dealer) for dealer in self.old_dealers),
                self.old_public_key or b"",
            )
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the terms under a domain of its own; part of every signature."""
        return hashlib.sha256(encoding.block(_DOMAIN) + self.encoded).digest()

    @cached_property
    def dealers(self) -> tuple[Dealer, ...]:
        """Who deals, in the order of the terms."""
        if self.kind is not Kind.GENERATE:
            return self.old_dealers
        return tuple(Dealer(one.name, one.identity_key, index) for index, one in enumerate(self.holders, 1))

    @cached_property
    def identities(self) -> dict[str, bytes]:
        """The identity keys of all parties, by name: holders first, then dealers that are none."""
        keys = {holder.name: holder.identity_key for holder in self.holders}
        return keys | {dealer.name: dealer.identity_key for dealer in self.dealers}

    @cached_property
    def indices(self) -> dict[str, int]:
        """The new holders' indices, by name."""
        return {holder.name: index for index, holder in enumerate(self.holders, 1)}

    @cached_property
    def coefficients(self) -> dict[str, Scalar]:
        """What each old dealer multiplies its share with: its Lagrange coefficient, by name."""
        by_index = sharing.lagrange(dealer.index for dealer in self.old_dealers)
        return {dealer.name: by_index[dealer.index] for dealer in self.old_dealers}

    def dealer(self, name: str) -> Dealer | None:
        """Return the dealer of this name, or None."""
        return next((dealer for dealer in self.dealers if dealer.name == name), None)

    def dealt_key(self, dealer: Dealer) -> Element | None:
        """Return what the first commitment of this dealer has to be; None when it is free (in a generation)."""
        if dealer.public_key is None:
            return None
        return group.multiply(self.coefficients[dealer.name], dealer.public_key)

    @classmethod
    def decode(cls, data: bytes) -> "Terms":
        """Read terms from their bytes.

        Raises:
            InvalidInputError: they are not the one byte form of valid terms.
        """
        reader = Reader(data, "terms of a ceremony")
        if (found := reader.number(1)) != _FORMAT:
            raise InvalidInputError(f"expected terms of format {_FORMAT}, got {found}", remedy="Update this program.")
        terms = _read(reader)
        reader.end()
        return terms


def _read(reader: Reader) -> Terms:
    try:
        kind = Kind(reader.number(1))
    except ValueError:
        raise InvalidInputError("expected the kind of a ceremony, got another number") from None
    return Terms(
        kind=kind,
        session=reader.take(SESSION_LENGTH),
        federation=reader.name(),
        epoch=reader.number(8),
        old_generation=reader.number(8),
        new_generation=reader.number(8),
        threshold=reader.number(1),
        holders=tuple(Holder(reader.name(), reader.take(KEY_LENGTH)) for _ in range(reader.number(1))),
        old_dealers=tuple(_read_dealer(reader) for _ in range(reader.number(1))),
        old_public_key=None if kind is Kind.GENERATE else group.element(reader.take(group.LENGTH)),
    )


def _encoded_dealer(dealer: Dealer) -> bytes:
    written = encoding.name(dealer.name) + dealer.identity_key + encoding.number(dealer.index, 1)
    return written + (dealer.public_key or b"")


def _read_dealer(reader: Reader) -> Dealer:
    name, identity_key = reader.name(), reader.take(KEY_LENGTH)
    return Dealer(name, identity_key, reader.number(1), group.element(reader.take(group.LENGTH)))


def _check_numbers(terms: Terms) -> None:
    if len(terms.session) != SESSION_LENGTH:
        raise InvalidInputError(f"expected a session of {SESSION_LENGTH} bytes, got {len(terms.session)}")
    encoding.name(terms.federation)
    if not 1 <= terms.epoch <= LARGEST_NUMBER:
        raise InvalidInputError("expected an epoch from 1, got another")
    if not 0 <= terms.old_generation < terms.new_generation <= LARGEST_NUMBER:
        raise InvalidInputError("expected a new generation greater than the old one, got another")
    if not FEWEST_HOLDERS <= len(terms.holders) <= MOST_HOLDERS:
        raise InvalidInputError(f"expected {FEWEST_HOLDERS} to {MOST_HOLDERS} holders, got {len(terms.holders)}")
    if not LEAST_THRESHOLD <= terms.threshold <= len(terms.holders):
        raise InvalidInputError(
            f"expected a threshold from {LEAST_THRESHOLD} to the number of holders, got {terms.threshold}"
        )


def _check_parties(terms: Terms) -> None:
    """Refuse a name that is there twice, two names with one key, and one name with two keys."""
    for names in ([one.name for one in terms.holders], [one.name for one in terms.old_dealers]):
        if len(set(names)) != len(names):
            raise InvalidInputError("expected every holder and dealer once, got one of them twice")
    parties = {(one.name, one.identity_key) for one in terms.holders}
    parties |= {(one.name, one.identity_key) for one in terms.old_dealers}
    if len({key for _, key in parties}) != len(parties) or len({name for name, _ in parties}) != len(parties):
        raise InvalidInputError("expected one identity key for each party and one party for each, got another")
    for name, key in parties:
        encoding.name(name)
        if len(key) != KEY_LENGTH:
            raise InvalidInputError(f"expected identity keys of {KEY_LENGTH} bytes, got {len(key)}")


def _check_no_old_key(terms: Terms) -> None:
    if terms.old_dealers or terms.old_public_key is not None:
        raise InvalidInputError("expected no old dealers and no old key in the terms of a generation, got some")


def _check_old_key(terms: Terms) -> None:
    """Refuse dealers whose public keys do not make the group key: a share of another generation would be dealt."""
    if terms.old_generation == 0 or terms.old_public_key is None:
        raise InvalidInputError("expected an old generation and its group key, got none")
    if not LEAST_THRESHOLD <= len(terms.old_dealers) <= MOST_HOLDERS:
        raise InvalidInputError(f"expected {LEAST_THRESHOLD} to {MOST_HOLDERS} dealers, got {len(terms.old_dealers)}")
    if terms.kind is Kind.REFRESH and not {one.name for one in terms.old_dealers} <= set(terms.indices):
        raise InvalidInputError("expected the same holders before and after a refresh, got a dealer that is no holder")
    total = IDENTITY
    for dealer in terms.old_dealers:
        if (dealt := terms.dealt_key(dealer)) is None:
            raise InvalidInputError("expected the public key of every old dealer's share, got none for one of them")
        total = group.add(total, dealt)
    if total != terms.old_public_key:
        raise InvalidInputError("expected dealers whose public keys make the group key, got others")
