"""The coordinator in a round's session as a state machine: what to ask whom, replies in, one sum out.

It learns the sum and who dropped out when. It is a function of its calls: a coordinator that is restarted makes it
again from the terms, and calls it with the stored replies in the order in which they came.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jointrisk.errors import ConflictError, UnavailableError
from jointrisk.federation.signing import SIGNATURE_LENGTH, verify_signature
from jointrisk.learning.secure_aggregation import agreement, encoding, messages
from jointrisk.learning.secure_aggregation.encoding import Reader
from jointrisk.learning.secure_aggregation.fixed_point import Layout, Sums
from jointrisk.learning.secure_aggregation.keys import Advert, KeyList, require_enough
from jointrisk.learning.secure_aggregation.messages import Dealt, Kind
from jointrisk.learning.secure_aggregation.rules import Rule, RuleError
from jointrisk.learning.secure_aggregation.terms import Mode, Terms
from jointrisk.learning.secure_aggregation.unmasking import Unmasking

Places = tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What a session came to.

    Attributes:
        sums: of the survivors' inputs.
        members: the survivors.
        dropped: who is not in the sum, and the step in which its reply was missing.
        silent: survivors that signed or released nothing; their inputs are in the sum.
        complaints: (by, about): whose shares from whom could not be used. One of the two is at fault.
    """

    sums: Sums
    members: tuple[str, ...]
    dropped: Mapping[str, Kind]
    silent: tuple[str, ...]
    complaints: tuple[tuple[str, str], ...]


class Aggregator:
    """The sum of one session.

    Args:
        terms: of a round's session.

    Raises:
        RuleError: the terms do not protect the members.
        InvalidInputError: they are no terms of a round.
    """

    def __init__(self, terms: Terms) -> None:
        terms.check()
        if terms.mode is not Mode.ROUND or terms.layout is None:
            raise RuleError(Rule.SESSION, "expected terms of a round, got those of a series")
        self.terms = terms
        self.kind = Kind.KEYS
        self.outcome: Outcome | None = None
        self._layout: Layout = terms.layout
        self._asked: Places = tuple(terms.places.values())
        self._replies: dict[int, bytes] = {}
        self._adverts: dict[int, Advert] = {}
        self._keys = KeyList(terms, {})
        self._deals: dict[int, dict[int, Dealt]] = {}
        self._cohort: Places = ()
        self._words = self._layout.empty(len(terms.members))
        self._complaints: list[tuple[int, int]] = []
        self._survivors: Places = ()
        self._signatures: dict[int, bytes] = {}
        self._shares: dict[int, dict[int, bytes]] = {}
        self._dropped: dict[int, Kind] = {}

    def requests(self) -> dict[str, bytes]:
        """Return what to send to whom in this step."""
        if self.outcome is not None:
            return {}
        return {self.terms.name(place): self._request(place) for place in self._asked}

    def waiting(self) -> tuple[str, ...]:
        """Return whose replies in this step are missing."""
        return tuple(self.terms.name(place) for place in self._asked if place not in self._replies)

    @property
    def is_enough(self) -> bool:
        """Whether `advance` can go on without the members that have not replied."""
        if self.kind is Kind.RELEASE:
            return all(len(self._shares.get(dealer, ())) >= self.terms.threshold for dealer in self._cohort)
        needed = self.terms.threshold if self.kind is Kind.SIGN else self.terms.parameters.needed
        return len(self._replies) >= needed

    def take(self, sender: str, reply: bytes) -> None:
        """Take a member's reply in this step. The same one again changes nothing.

        Args:
            sender: the member in the certificate.
            reply: as it came.

        Raises:
            InvalidInputError: it is no reply to what was asked.
            RuleError: it breaks a rule; the sender is named. Nothing has changed then.
            ConflictError: the sender was not asked, or has replied something else before.
        """
        place = self.terms.places.get(sender, 0)
        digest = messages.hashed(reply)
        if place not in self._asked or self._replies.get(place, digest) != digest:
            raise ConflictError("expected one reply of each member that was asked, got another")
        if place in self._replies:
            return
        reader = messages.read_reply(reply, self.terms, self.kind)
        steps = {
            Kind.KEYS: self._take_keys,
            Kind.SHARES: self._take_deal,
            Kind.MASKED: self._take_masked,
            Kind.SIGN: self._take_signature,
            Kind.RELEASE: self._take_shares,
        }
        steps[self.kind](place, reader)
        self._replies[place] = digest

    def advance(self) -> None:
        """End this step: who has not replied has dropped out. After the last step there is an `outcome`.

        Raises:
            RuleError: too few members are left, or the sum cannot be unmasked; the dealer at fault is named.
            UnavailableError: too few signatures or shares came; asking again can help.
            CorruptError: some input was not as agreed, so the sum is none.
        """
        here = tuple(sorted(self._replies))
        if self.kind is Kind.RELEASE:
            self._finish()
            return
        if self.kind is Kind.SIGN and len(here) < self.terms.threshold:
            raise UnavailableError(f"expected {self.terms.threshold} signatures of survivors, got {len(here)}")
        if self.kind is not Kind.SIGN:
            require_enough(self.terms, len(here))
            self._dropped |= {place: self.kind for place in self._asked if place not in here}
        if self.kind is Kind.KEYS:
            self._keys = KeyList(self.terms, {place: self._adverts[place] for place in here})
        elif self.kind is Kind.SHARES:
            self._cohort = here
        elif self.kind is Kind.MASKED:
            self._survivors = here
        self.kind, self._asked, self._replies = Kind(self.kind + 1), here, {}

    def _request(self, place: int) -> bytes:
        bodies = {
            Kind.KEYS: lambda: self.terms.encoded,
            Kind.SHARES: lambda: self._keys.encoded,
            Kind.MASKED: lambda: messages.cohort_body(place, self._cohort, self._deals),
            Kind.SIGN: lambda: encoding.places(self._survivors),
            Kind.RELEASE: lambda: messages.signatures_body(self._signatures),
        }
        return messages.request_frame(self.kind, self.terms, bodies[self.kind]())

    def _take_keys(self, place: int, reader: Reader) -> None:
        advert = Advert.read(reader)
        reader.end()
        advert.check(self.terms, self.terms.name(place))
        self._adverts[place] = advert

    def _take_deal(self, place: int, reader: Reader) -> None:
        self._deals[place] = messages.read_deal(reader, place, self._keys.adverts)

    def _take_masked(self, place: int, reader: Reader) -> None:
        """Add the words at once: nobody's are kept."""
        complaints = reader.places(len(self.terms.members))
        if not set(complaints) <= set(self._cohort) - {place}:
            raise RuleError(Rule.COHORT, "expected complaints about others of the cohort", about=self.terms.name(place))
        words = messages.read_words(reader, self._words)
        np.add(self._words, words, out=self._words)
        self._complaints += [(place, dealer) for dealer in complaints]

    def _take_signature(self, place: int, reader: Reader) -> None:
        signature = reader.take(SIGNATURE_LENGTH)
        reader.end()
        member, key = self.terms.members[place - 1]
        signed = messages.survivors_signed(self._keys, self._cohort, self._survivors)
        if not verify_signature(signed, signature, key):
            raise RuleError(
                Rule.SURVIVOR_SIGNATURES, "expected a signature over the set of survivors, got another", about=member
            )
        self._signatures[place] = signature

    def _take_shares(self, place: int, reader: Reader) -> None:
        """Take shares that fit what their dealers committed to; of one's own complaints none is expected."""
        shares = messages.read_released(reader, self._cohort)
        expected = {dealer for dealer in self._cohort if (place, dealer) not in self._complaints}
        if set(shares) != expected or not all(self._fits(place, dealer, one) for dealer, one in shares.items()):
            raise RuleError(
                Rule.DEALT_SHARES,
                "expected the shares to which their dealers committed, got others",
                about=self.terms.name(place),
            )
        for dealer, share in shares.items():
            self._shares.setdefault(dealer, {})[place] = share

    def _fits(self, holder: int, dealer: int, share: bytes) -> bool:
        what = int(dealer in self._survivors)
        names = (self.terms.name(dealer), self.terms.name(holder))
        dealt = self._deals[dealer][holder]
        said = dealt.seed_commitment if what else dealt.key_commitment
        return agreement.share_commitment(share, what, self._keys.digest, *names) == said

    def _finish(self) -> None:
        self._require_shares()
        words = self._words.copy()
        Unmasking(self._keys, self._cohort, self._survivors, self._shares).run(words)
        sums = self._layout.sums(words, len(self._survivors))
        name = self.terms.name
        silent = tuple(name(place) for place in self._survivors if place not in self._replies)
        dropped = {name(place): kind for place, kind in self._dropped.items()}
        complaints = tuple((name(one), name(other)) for one, other in self._complaints)
        members = tuple(name(place) for place in self._survivors)
        self.outcome = Outcome(sums, members, dropped, silent, complaints)

    def _require_shares(self) -> None:
        """Refuse to unmask with too few shares; name a dealer about whom more complain than may collude."""
        if self.is_enough:
            return
        for dealer in self._cohort:
            complaining = sum(about == dealer for _, about in self._complaints)
            if complaining > self.terms.colluders and len(self._shares.get(dealer, ())) < self.terms.threshold:
                raise RuleError(
                    Rule.DEALT_SHARES,
                    f"expected shares that open, got {complaining} complaints about one dealer",
                    about=self.terms.name(dealer),
                )
        raise UnavailableError(f"expected {self.terms.threshold} shares of every secret, got fewer")
