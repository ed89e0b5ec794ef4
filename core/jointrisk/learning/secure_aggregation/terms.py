"""The terms of a session: everything that all parties must agree on before a key is made, and what a node insists on.

    format 1 | mode (1) | session (16) | federation | run | round (4) | attempt (4) | statistic | contract version (4) |
    colluders (1) | threshold (1) | minimum (1) | members (1), for each: name, identity key (32) |
    mode 1: request (32), layout

Members stand in the order of their names; a member's *place* counts from 1. Whatever is derived later is bound to the
digest of these bytes, so parties that were told different things have no mask in common.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from jointrisk.errors import InvalidInputError
from jointrisk.learning.secure_aggregation import encoding
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.fixed_point import Layout
from jointrisk.learning.secure_aggregation.parameters import Parameters
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError

SESSION_LENGTH = 16
IDENTITY_LENGTH = 32
DIGEST_LENGTH = 32

_FORMAT = 1
_DOMAIN = b"jointrisk/v1/secagg-terms"


class Mode(IntEnum):
    """How a session goes.

    Attributes:
        ROUND: one sum, and members may drop out on the way.
        SERIES: many sums with one set of keys; who drops out ends it.
    """

    ROUND = 1
    SERIES = 2


@dataclass(frozen=True)
class Terms:
    """The terms of a session.

    Attributes:
        mode: see :class:`Mode`.
        session: 16 random bytes of the coordinator's.
        federation: its name.
        run: the run's id.
        round: of the run; 0 for what comes before the first.
        attempt: at this sum, from 1.
        statistic: what is summed, such as "train" or "query-coarse".
        contract_version: of the feature contract.
        colluders: f.
        threshold: t.
        minimum: the fewest members in a sum.
        members: names and identity keys, in the order of the names.
        request: H(request) of a round's sum, 32 bytes; None in a series, where each sum brings its own.
        layout: of a round's sum; None in a series.
    """

    mode: Mode
    session: bytes
    federation: str
    run: str
    round: int
    attempt: int
    statistic: str
    contract_version: int
    colluders: int
    threshold: int
    minimum: int
    members: tuple[tuple[str, bytes], ...]
    request: bytes | None = None
    layout: Layout | None = None

    @property
    def parameters(self) -> Parameters:
        """The numbers: n, f, t and the minimum."""
        return Parameters(len(self.members), self.colluders, self.threshold, self.minimum)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all members."""
        return tuple(name for name, _ in self.members)

    @cached_property
    def places(self) -> dict[str, int]:
        """Each member's place, from 1."""
        return {name: place for place, name in enumerate(self.names, 1)}

    def name(self, place: int) -> str:
        """Return the member at a place."""
        return self.names[place - 1]

    @property
    def unit(self) -> bytes:
        """What may be summed once: run, round and statistic; attempts at it have one number after the other."""
        return encoding.run_name(self.run) + encoding.number(self.round, 4) + encoding.name(self.statistic)

    @cached_property
    def encoded(self) -> bytes:
        """The one byte form."""
        numbers = bytes((self.colluders, self.threshold, self.minimum, len(self.members)))
        head = encoding.number(_FORMAT, 1) + encoding.number(self.mode, 1) + self.session
        unit = encoding.run_name(self.run) + encoding.number(self.round, 4) + encoding.number(self.attempt, 4)
        what = encoding.name(self.statistic) + encoding.number(self.contract_version, 4)
        members = b"".join(encoding.name(name) + key for name, key in self.members)
        tail = b"" if self.layout is None else (self.request or b"") + self.layout.encoded()
        return head + encoding.name(self.federation) + unit + what + numbers + members + tail

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the terms, 32 bytes."""
        return hashlib.sha256(encoding.block(_DOMAIN) + self.encoded).digest()

    @classmethod
    def decode(cls, data: bytes) -> "Terms":
        """Read terms from their bytes.

        Raises:
            InvalidInputError: they are not the one byte form of terms.
        """
        reader = Reader(data, "terms of a secure sum")
        if (found := reader.number(1)) != _FORMAT:
            raise InvalidInputError(f"expected terms of format {_FORMAT}, got {found}", remedy="Update this program.")
        mode, session, federation = _read_mode(reader), reader.take(SESSION_LENGTH), reader.name()
        run, number, attempt = reader.run_name(), reader.number(4), reader.number(4)
        statistic, contract_version = reader.name(), reader.number(4)
        colluders, threshold, minimum, count = reader.take(4)
        members = tuple((reader.name(), reader.take(IDENTITY_LENGTH)) for _ in range(count))
        request = reader.take(DIGEST_LENGTH) if mode is Mode.ROUND else None
        layout = Layout.read(reader) if mode is Mode.ROUND else None
        reader.end()
        numbers = (run, number, attempt, statistic, contract_version, colluders, threshold, minimum)
        terms = cls(mode, session, federation, *numbers, members, request, layout)
        terms.check()
        return terms

    def check(self) -> None:
        """Refuse terms that nobody may agree to.

        Raises:
            InvalidInputError: they are no terms.
            RuleError: they do not protect a member.
        """
        if len(self.session) != SESSION_LENGTH or self.attempt < 1:
            raise InvalidInputError(f"expected a session of {SESSION_LENGTH} bytes and an attempt from 1, got others")
        names, keys = self.names, {key for _, key in self.members}
        if list(names) != sorted(set(names)) or len(keys) != len(names):
            raise InvalidInputError("expected every member and every identity key once, in order, got others")
        if (self.mode is Mode.ROUND) != (self.layout is not None and self.request is not None):
            raise InvalidInputError("expected a request and a layout in the terms of a round, and only there")
        self.parameters.check()
        if self.layout is not None:
            self.layout.check()
            self.layout.width(len(self.members))


@dataclass(frozen=True)
class Policy:
    """What a node insists on, whatever the coordinator says.

    Attributes:
        federation: the node's own.
        contract_version: of the feature contract that it works by.
        pinned: the identity keys of all members that it trusts, itself included.
        colluders: the fewest colluding members that must be provided for.
        minimum: the fewest members in a sum.
    """

    federation: str
    contract_version: int
    pinned: Mapping[str, bytes]
    colluders: int
    minimum: int

    def judge(self, terms: Terms, name: str) -> None:
        """Refuse terms that this node does not take part in.

        Args:
            terms: as they came.
            name: of this node.

        Raises:
            RuleError: says which rule is broken.
            InvalidInputError: they are no terms.
        """
        terms.check()
        if (terms.federation, terms.contract_version) != (self.federation, self.contract_version):
            raise RuleError(Rule.SESSION, "expected a sum of this federation under the present contract, got another")
        for member, key in terms.members:
            if self.pinned.get(member) != key:
                raise RuleError(
                    Rule.PINNED_MEMBERS,
                    "expected members that this node trusts, under their pinned keys, got another",
                    about=member,
                )
        if name not in terms.places:
            raise RuleError(Rule.PINNED_MEMBERS, "expected terms that name this node, got others")
        if terms.colluders < self.colluders:
            raise RuleError(
                Rule.COLLUDERS, f"expected at least {self.colluders} colluding members, got {terms.colluders}"
            )
        if terms.minimum < self.minimum:
            raise RuleError(Rule.MINIMUM, f"expected a minimum of at least {self.minimum}, got {terms.minimum}")


def _read_mode(reader: Reader) -> Mode:
    try:
        return Mode(reader.number(1))
    except ValueError:
        raise InvalidInputError(f"expected {reader.what} of a known mode, got another") from None
