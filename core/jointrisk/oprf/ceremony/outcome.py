"""How a ceremony ended, as everybody computes it from the messages.

**Committed**: every party has echoed the same deals. **Aborted**: a party has refused, or two echoed different deals;
unless it is committed, for a commit outweighs every abort (see :mod:`jointrisk.oprf.ceremony` for why).
"""

from collections.abc import Collection
from dataclasses import dataclass

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group, sharing
from jointrisk.oprf.ceremony.aborts import Reason, read_abort
from jointrisk.oprf.ceremony.bodies import Confirm, Deal
from jointrisk.oprf.ceremony.ledger import Ledger
from jointrisk.oprf.ceremony.messages import SignedMessage, Slot
from jointrisk.oprf.ceremony.terms import Terms
from jointrisk.oprf.group import IDENTITY, Element


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What everybody knows of a group key and its shares.

    Attributes:
        epoch: of the key.
        generation: of the shares.
        threshold: how many holders are needed.
        public_key: of the group key.
        holders: each holder's name and the public key of its share; the index of the first is 1.
    """

    epoch: int
    generation: int
    threshold: int
    public_key: Element
    holders: tuple[tuple[str, Element], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a ceremony ended.

    Attributes:
        key: what was committed; None when it was aborted.
        transcript: digest of the deals that were committed, or None.
        confirmed: the holders that have stored their new share, in the order of the terms.
        guilty: the parties against whom something is proven, sorted; none after an administrative abort.
        refused: the parties that refused, in the order of the terms.
        reason: why it was aborted, or None.
        missing: for whom was waited when it was given up.
    """

    key: GroupKey | None
    transcript: bytes | None = None
    confirmed: tuple[str, ...] = ()
    guilty: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reason: Reason | None = None
    missing: tuple[str, ...] = ()

    @property
    def is_committed(self) -> bool:
        """Whether there is a new generation."""
        return self.key is not None


class Reckoning:
    """Computes how a ceremony ended from a ledger, again whenever something was added.

    Args:
        ledger: the messages.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._keys = dict[bytes, GroupKey]()
        self._at = -1
        self._outcome: Outcome | None = None

    def outcome(self) -> Outcome | None:
        """Return how the ceremony ended by these messages, or None while it has not."""
        if self._at != self._ledger.seen:
            self._at, self._outcome = self._ledger.seen, self._computed()
        return self._outcome

    def key_of(self, transcript: bytes, deals: Collection[Deal]) -> GroupKey:
        """Return the key that deals make, as `group_key` does, each only once.

        Args:
            transcript: the deals' digest.
            deals: one of each dealer, which keep the rules.
        """
        if transcript not in self._keys:
            self._keys[transcript] = group_key(self._ledger.terms, deals)
        return self._keys[transcript]

    def _computed(self) -> Outcome | None:
        ledger = self._ledger
        for transcript, echoes in ledger.echoes.items():
            if set(echoes) == set(ledger.terms.identities) and (key := self._committed_key(transcript)):
                confirmed = tuple(name for name in ledger.terms.indices if _confirms(ledger, name, transcript))
                return Outcome(key, transcript, confirmed, tuple(sorted(ledger.guilty)))
        if refusals := _refusals(ledger):
            return _aborted(ledger, refusals)
        if _is_split(ledger):
            return Outcome(None, guilty=tuple(sorted(ledger.guilty)), reason=Reason.EVIDENCE)
        return None

    def _committed_key(self, transcript: bytes) -> GroupKey | None:
        """Return the key of these deals; None if one of them is not there, or not as an honest party echoes it."""
        echo = next(iter(self._ledger.echoes[transcript].values()))
        headers = echo.headers(self._ledger.terms).items()
        deals = [self._ledger.sound_deal(dealer, header.digest) for dealer, header in headers]
        try:
            return None if None in deals else self.key_of(transcript, [deal for deal in deals if deal])
        except InvalidInputError:
            return None


def group_key(terms: Terms, deals: Collection[Deal]) -> GroupKey:
    """Return the key that deals make together.

    Args:
        terms: of the ceremony.
        deals: one of each dealer, which keep the rules.

    Raises:
        InvalidInputError: the group key or the public key of a share would be the identity. Dealers that lie together
            can bring that about without anybody being able to tell which.
    """
    commitments = [IDENTITY] * terms.threshold
    for deal in deals:
        commitments = [group.add(one, other) for one, other in zip(commitments, deal.commitments, strict=True)]
    return GroupKey(
        terms.epoch,
        terms.new_generation,
        terms.threshold,
        group.element(commitments[0]),
        tuple(
            (name, group.element(sharing.evaluate_commitments(commitments, index)))
            for name, index in terms.indices.items()
        ),
    )


def is_final(terms: Terms, refused: Collection[str]) -> bool:
    """Tell whether refusals exclude a commit even if as many parties lie as may collude.

    Fewer than the threshold of the new holders lie, and not every old dealer: so among as many holders as the
    threshold, and among all dealers, one is honest, has refused in truth, and never echoes.
    """
    holders = sum(name in terms.indices for name in refused)
    return holders >= terms.threshold or all(dealer.name in refused for dealer in terms.dealers)


def may_retire(terms: Terms, confirmed: Collection[str], *, deadline_passed: bool) -> bool:
    """Tell whether the shares of the old generation may be deleted after a commit.

    Args:
        terms: of the ceremony.
        confirmed: the holders that have stored their new share (`Outcome.confirmed`).
        deadline_passed: whether the time for confirmations is over; one more than the threshold are then enough,
            so that one of them may still be lost.
    """
    stored = len(set(confirmed) & set(terms.indices))
    everybody = len(terms.holders)
    return stored == everybody or (deadline_passed and stored >= min(terms.threshold + 1, everybody))


def _confirms(ledger: Ledger, holder: str, transcript: bytes) -> bool:
    message = ledger.first(Slot.CONFIRM, holder)
    return message is not None and message.body == Confirm(transcript).encode()


def _refusals(ledger: Ledger) -> dict[str, SignedMessage]:
    """Return who refused, in the order of the terms. A vote that breaks the rules is a refusal too: it is no echo."""
    votes = ((name, vote) for name in ledger.terms.identities for vote in ledger.all_of(Slot.VOTE, name))
    return {name: vote for name, vote in votes if ledger.echoed(vote) is None}


def _is_split(ledger: Ledger) -> bool:
    """Tell whether two parties have first echoed different deals: if both are honest, neither can ever be committed."""
    firsts = (ledger.first(Slot.VOTE, name) for name in ledger.terms.identities)
    return len({ledger.echoed(vote) for vote in firsts if vote is not None}) > 1


def _aborted(ledger: Ledger, refusals: dict[str, SignedMessage]) -> Outcome:
    guilty = tuple(sorted(ledger.guilty))
    reasons = [abort for abort in map(read_abort, refusals.values()) if abort is not None]
    first = next((abort for abort in reasons if abort.reason is not Reason.FOLLOWS), None)
    if guilty or first is None:
        return Outcome(
            None, guilty=guilty, refused=tuple(refusals), reason=Reason.EVIDENCE if guilty else Reason.FOLLOWS
        )
    return Outcome(None, refused=tuple(refusals), reason=first.reason, missing=first.missing)
