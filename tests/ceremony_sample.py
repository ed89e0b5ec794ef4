"""Ceremonies for tests and benchmarks: parties with fixed identity keys, terms, and a network that loses nothing."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.ceremony_suite import CeremonySuite
from jointrisk.federation.signing import public_bytes
from jointrisk.oprf import group, sharing
from jointrisk.oprf.ceremony import Board, Dealer, GroupKey, Holder, Kind, Party, SignedMessage, Suite, Terms
from jointrisk.oprf.group import Element, Scalar

SUITE = CeremonySuite()


@dataclass
class RememberingSuite:
    """The real suite, which computes nothing twice: simulated parties verify the same messages again and again."""

    known: dict[tuple[bytes | str, ...], bytes | bool | None] = field(default_factory=dict)

    def verifies(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature is valid."""
        key = ("verifies", public_key, message, signature)
        if key not in self.known:
            self.known[key] = SUITE.verifies(public_key, message, signature)
        return bool(self.known[key])

    def public_key(self, private_key: bytes) -> bytes:
        """Return the X25519 public key."""
        return SUITE.public_key(private_key)

    def is_usable(self, public_key: bytes) -> bool:
        """Tell whether the X25519 key is usable."""
        key = ("is_usable", public_key)
        if key not in self.known:
            self.known[key] = SUITE.is_usable(public_key)
        return bool(self.known[key])

    def seal(self, ephemeral_key: bytes, recipient: bytes, context: bytes, plaintext: bytes) -> bytes:
        """Seal."""
        return SUITE.seal(ephemeral_key, recipient, context, plaintext)

    def open(self, private_key: bytes, sealed: bytes, context: bytes) -> bytes | None:
        """Open."""
        return SUITE.open(private_key, sealed, context)


@dataclass(frozen=True)
class Generation:
    """What a ceremony left behind.

    Attributes:
        key: what everybody knows.
        shares: by holder.
    """

    key: GroupKey
    shares: Mapping[str, Scalar]


@cache
def identity(name: str) -> Ed25519PrivateKey:
    """Return the identity key of a party, always the same."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def names(count: int, first: int = 1) -> tuple[str, ...]:
    """Return so many parties' names."""
    return tuple(f"bank-{number}" for number in range(first, first + count))


def holders(of: Iterable[str]) -> tuple[Holder, ...]:
    """Return holders with these names."""
    return tuple(Holder(name, public_bytes(identity(name))) for name in of)


def generation_terms(threshold: int, count: int, session: bytes = bytes(16)) -> Terms:
    """Return the terms of a first generation among ``count`` holders."""
    return Terms(session, Kind.GENERATE, "sample", 1, 0, 1, threshold, holders(names(count)))


def moving_terms(
    old: Generation, dealers: Sequence[str], to: Sequence[str], threshold: int, kind: Kind = Kind.RESHARE
) -> Terms:
    """Return the terms of a refresh or a resharing by these old holders."""
    indices = {name: index for index, (name, _) in enumerate(old.key.holders, 1)}
    public_keys = dict(old.key.holders)
    dealing = tuple(Dealer(one, public_bytes(identity(one)), indices[one], public_keys[one]) for one in dealers)
    return Terms(bytes(15) + b"\1", kind, "sample", 1, 1, 2, threshold, holders(to), dealing, old.key.public_key)


def begin(terms: Terms, seed: int = 0, old: Generation | None = None, suite: Suite | None = None) -> dict[str, Party]:
    """Return all parties of a ceremony at its beginning."""
    shares = old.shares if old else {}
    dealers = {dealer.name for dealer in terms.dealers}
    return {
        name: Party.begin(
            terms,
            name,
            sign=identity(name).sign,
            suite=suite or SUITE,
            randomness=random.Random(f"{seed} {name}").randbytes,  # noqa: S311 - the same every time
            old_share=shares.get(name) if name in dealers else None,
        )
        for name in terms.identities
    }


def exchange(parties: Mapping[str, Party], board: Board | None = None) -> list[SignedMessage]:
    """Deliver everything that the parties say to all of them, and return it in order."""
    said = [message for party in parties.values() for message in party.sent]
    for message in said:  # grows while it is read
        if board is not None:
            board.post(message)
        for party in parties.values():
            said += party.receive(message)
    return said


@cache
def generation(threshold: int, count: int) -> Generation:
    """Return a generation of shares, always the same."""
    parties = begin(generation_terms(threshold, count, b"an old ceremony!"))
    exchange(parties)
    outcome = next(iter(parties.values())).outcome
    assert outcome is not None
    assert outcome.key is not None
    return Generation(outcome.key, {name: party.share for name, party in parties.items() if party.share})


def reconstructed(terms: Terms, shares: Mapping[str, Scalar]) -> Element:
    """Return the public key of the secret that these shares make together."""
    factors = sharing.lagrange(terms.indices[name] for name in shares)
    total = group.scalar_of(0)
    for name, share in shares.items():
        total = group.scalar_add(total, group.scalar_multiply(factors[terms.indices[name]], share))
    return group.multiply_base(total)
