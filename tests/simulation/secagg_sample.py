"""Secure sums for tests: members with fixed identity keys, terms, disks, and a coordinator that keeps to the rules."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jointrisk.errors import JointriskError
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.secure_aggregation import (
    Aggregator,
    Answer,
    Contributions,
    Count,
    Input,
    Kind,
    Layout,
    Mode,
    Outcome,
    Parameters,
    Participant,
    Policy,
    Question,
    Real,
    SeriesAggregator,
    SeriesMember,
    Terms,
)
from jointrisk.learning.secure_aggregation.sharing import Randomness

REQUEST = hashlib.sha256(b"content of the message").digest()
STATEMENT = hashlib.sha256(b"model, data, statistic").digest()
TRAINED = Layout((Real(5, -8.0, 8.0), Real(1, 0.0, 100.0, 1 << 20)), heaviest=1 << 20, weighted=True)
COUNTED = Layout((Count(6, 1 << 20), Real(2, 0.0, 1000.0, 1 << 24)), heaviest=1 << 20, weighted=False)


@cache
def identity(name: str) -> Ed25519PrivateKey:
    """Return a member's fixed identity key."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def names(count: int) -> tuple[str, ...]:
    """Return names of members, in order."""
    return tuple(f"bank-{number:03}" for number in range(1, count + 1))


def randomness(seed: object) -> Randomness:
    """Return bytes that only the seed decides."""
    return Random(repr(seed)).randbytes  # noqa: S311 - seeded on purpose


def pinned(members: Iterable[str]) -> dict[str, bytes]:
    """Return the identity keys of members."""
    return {name: public_bytes(identity(name)) for name in members}


def policy(members: Iterable[str], colluders: int = 0) -> Policy:
    """Return what a node insists on."""
    return Policy("federation", 3, pinned(members), colluders, 3)


def terms(members: tuple[str, ...], colluders: int = 0, **changed: Any) -> Terms:
    """Return terms with the parameters that suit these members; keyword arguments change them."""
    chosen = Parameters.choose(len(members), colluders)
    values: dict[str, Any] = {
        "mode": Mode.ROUND,
        "session": bytes(16),
        "federation": "federation",
        "run": "run-1",
        "round": 4,
        "attempt": 1,
        "statistic": "train",
        "contract_version": 3,
        "colluders": colluders,
        "threshold": chosen.threshold,
        "minimum": chosen.minimum,
        "members": tuple(pinned(members).items()),
        "request": REQUEST,
        "layout": TRAINED,
    }
    return Terms(**(values | changed))


def series_terms(members: tuple[str, ...], colluders: int = 0, **changed: Any) -> Terms:
    """Return terms of a series."""
    return terms(members, colluders, **({"mode": Mode.SERIES, "request": None, "layout": None} | changed))


def seeded(seed: int | str) -> Random:
    """Return numbers that only the seed decides."""
    return Random(seed)  # noqa: S311 - tests, no secrets


def random_input(layout: Layout, random: Random) -> Input:
    """Return an input that fits a layout without clipping."""
    source = np.random.default_rng(random.getrandbits(64))
    values = [
        source.integers(0, block.largest, block.size, endpoint=True)
        if isinstance(block, Count)
        else source.uniform(block.low, block.high, block.size)
        for block in layout.blocks
    ]
    return Input(values, random.randint(1, layout.heaviest))


def question(given: Input, statement: bytes = STATEMENT, request: bytes = REQUEST) -> Question:
    """Return a question with this input."""
    return Question(request, statement, lambda: given)


@dataclass
class Member:
    """A node with a disk: what is not on the disk is gone after `restart`."""

    name: str
    policy: Policy
    seed: object = 0
    contributions: bytes = b""
    states: dict[bytes, bytes] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)
    running: dict[bytes, Participant | SeriesMember] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = Contributions(self.contributions)
        self._randomness = randomness((self.seed, self.name))

    @property
    def _arguments(self) -> dict[str, Any]:
        return {
            "contributions": self._known,
            "sign": identity(self.name).sign,
            "randomness": self._randomness,
        }

    def ask(self, of: Terms, request: bytes, asked: Question | None = None, *, stores: bool = True) -> bytes:
        """Answer as a node does: enter on the first request, store, return what may be sent."""
        party = self._party(of)
        reply = party.answer(request, asked)
        if stores:
            self.states[of.digest] = party.state()
            self.answers += [one.encode() for one in party.answers if one.encode() not in self.answers]
            self.contributions = self._known.encode()
        return reply

    def restart(self) -> None:
        """Go on from the disk alone."""
        self.running = {}
        self._known = Contributions(self.contributions)

    def lose(self, of: Terms) -> None:
        """Lose what is kept of a session, but not that it began."""
        self.states.pop(of.digest, None)
        self.restart()

    def _party(self, of: Terms) -> Participant | SeriesMember:
        kind: type[Participant | SeriesMember] = Participant if of.mode is Mode.ROUND else SeriesMember
        if of.digest not in self.running:
            if of.digest in self.states:
                answers = [Answer.decode(one) for one in self.answers]
                party = kind.restore(self.states[of.digest], answers, **self._arguments)
            else:
                party = kind.begin(of, self.name, policy=self.policy, **self._arguments)
            self.running[of.digest] = party
        return self.running[of.digest]


def members_of(of: Terms, seed: object = 0) -> dict[str, Member]:
    """Return fresh nodes for all members."""
    return {name: Member(name, policy(of.names, of.colluders), seed) for name in of.names}


Forge = Callable[[str, Kind, bytes], bytes]


def play(
    of: Terms,
    members: Mapping[str, Member],
    inputs: Mapping[str, Input],
    *,
    drops: Mapping[str, Kind] | None = None,
    forge: Forge = lambda _name, _kind, reply: reply,
) -> Outcome:
    """Play a round with a coordinator that keeps to the rules.

    Args:
        of: the terms.
        members: the nodes.
        inputs: what each gives.
        drops: from which step on a member is silent.
        forge: what a member sends instead of its reply; what the coordinator refuses counts as silence.
    """
    aggregator = Aggregator(of)
    while aggregator.outcome is None:
        kind = aggregator.kind
        for name, request in aggregator.requests().items():
            if kind < (drops or {}).get(name, Kind.AGREE):
                take(aggregator, name, forge(name, kind, members[name].ask(of, request, question(inputs[name]))))
        aggregator.advance()
    return aggregator.outcome


def take(aggregator: Aggregator | SeriesAggregator, name: str, reply: bytes) -> bool:
    """Hand a reply over; return whether it was taken."""
    try:
        aggregator.take(name, reply)
    except JointriskError:
        return False
    return True


def plain(layout: Layout, inputs: Iterable[Input]) -> tuple[list[Any], int]:
    """Return the sums, or weighted means, in plain arithmetic, and the sum of weights."""
    given = list(inputs)
    weight = sum(one.weight for one in given)
    weights = [one.weight if layout.weighted else 1 for one in given]
    totals: list[Any] = [
        sum(one.values[place] * factor for one, factor in zip(given, weights, strict=True))
        for place in range(len(layout.blocks))
    ]
    return [total / weight for total in totals] if layout.weighted else totals, weight


def assert_right(layout: Layout, outcome: Any, inputs: Mapping[str, Input]) -> None:
    """Fail unless the sums are those of the members' inputs, to quantisation."""
    summed = [inputs[name] for name in outcome.members]
    expected, weight = plain(layout, summed)
    assert outcome.sums.weight == weight
    for block, values, wanted in zip(layout.blocks, outcome.sums.values, expected, strict=True):
        if isinstance(block, Count):
            assert values.dtype == np.int64
            assert (values == wanted).all()
        else:
            most = block.step * (1 if layout.weighted else len(summed))
            assert np.abs(values - wanted).max(initial=0) <= most * (1 + 1e-9) + 1e-9
