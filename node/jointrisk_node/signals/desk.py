"""Asks about persons: evaluates their identifiers, looks the tags up in the replica, says what is there together."""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import TYPE_CHECKING, Final

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import InvalidInputError, JointriskError, UnavailableError
from jointrisk.evaluation import Purpose
from jointrisk.listing.derive import TAG_LENGTH
from jointrisk.oprf.group import Randomness
from jointrisk_node.asking.outcome import Blame, Consent, Evaluated
from jointrisk_node.signals.answer import NOTHING, Evidence, Signal, compose
from jointrisk_node.signals.person import Person
from jointrisk_node.signals.ports import Entries, Evaluator, Journal, ReplicaState

if TYPE_CHECKING:
    from jointrisk.identifiers import Identifier

OwnPseudonym = Callable[["Identifier"], bytes | None]
"""Returns this lender's pseudonym for the person whose primary identifier this is; None before it has a secret."""

_ASKED_FOR: Final = (Purpose.ADMISSION, Purpose.PORTFOLIO, Purpose.INVESTIGATION)
_AT_ONCE: Final = 32  # persons composed before others have their turn: about a millisecond
_ID_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class Terms:
    """Why persons are asked about, and on whose behalf.

    Attributes:
        purpose: admission, portfolio or investigation.
        consent: under what the caller's own systems hold the persons' consent.
        system: who of this lender asks; audited.

    Raises:
        InvalidInputError: the purpose is another one.
    """

    purpose: Purpose
    consent: Consent
    system: str

    def __post_init__(self) -> None:
        if self.purpose not in _ASKED_FOR:
            raise InvalidInputError(f"purpose: expected one of {', '.join(_ASKED_FOR)}")


@dataclass(frozen=True, slots=True)
class EpochAsked:
    """How an epoch was asked.

    Attributes:
        epoch: of the group key.
        generation: of the shares.
        quorum: the holders that answered.
        request_ids: as both sides audit them.
        proofs_verified: how many.
        blamed: holders whose answers were false.
        replica: how it stood when it was asked.
    """

    epoch: int
    generation: int
    quorum: tuple[str, ...]
    request_ids: tuple[bytes, ...]
    proofs_verified: int
    blamed: tuple[Blame, ...]
    replica: ReplicaState


@dataclass(frozen=True, slots=True)
class Answers:
    """What is listed about persons.

    Attributes:
        signals: one for each person, in their order.
        epochs: how each epoch was asked, the oldest first.
    """

    signals: list[Signal] = field(repr=False)
    epochs: tuple[EpochAsked, ...]


@dataclass(frozen=True, slots=True)
class _Looked:
    asked: EpochAsked
    keys: Evaluated = field(repr=False)


class SignalDesk:
    """Asks. Made and used in the daemon's event loop.

    Args:
        evaluator: evaluates identifiers with the holders.
        entries: what is listed.
        journal: what was asked is recorded there before it is answered; answers never are.
        own_pseudonym: tells this lender's own listings apart.
        randomness: `os.urandom` outside tests.
        clock: the time.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        entries: Entries,
        journal: Journal,
        *,
        own_pseudonym: OwnPseudonym,
        randomness: Randomness = os.urandom,
        clock: Clock = utc_now,
    ) -> None:
        self._evaluator = evaluator
        self._entries = entries
        self._journal = journal
        self._own_pseudonym = own_pseudonym
        self._randomness = randomness
        self._clock = clock

    async def ask(self, persons: Sequence[Person], terms: Terms, *, bulk: bool = False) -> Answers:
        """Ask about persons, with all their identifiers in every epoch that is served.

        Args:
            persons: who.
            terms: why.
            bulk: whether this may wait for lookups of single persons.

        Raises:
            UnavailableError: fewer holders than are needed answer, or an epoch has no replica, or one that is too old.
            JointriskError: the quota is used up, or something else failed: then nothing is said about anybody.
        """
        question_id = self._randomness(_ID_LENGTH).hex()
        # Begun before the holders are asked: it gets to the disk with the records of the requests, in one wait for it.
        recorded = asyncio.create_task(self._record("signals.asked", question_id, terms, persons))
        try:
            return await self._ask(persons, terms, question_id, bulk=bulk)
        except JointriskError as error:
            await recorded
            await self._record("signals.not_answered", question_id, terms, persons, code=error.code)
            raise
        finally:
            await recorded

    async def _ask(self, persons: Sequence[Person], terms: Terms, question_id: str, *, bulk: bool) -> Answers:
        epochs = self._served()
        places = _places(persons)
        identifiers = list(places)
        looked = [await self._evaluate(identifiers, terms, epoch, question_id, bulk=bulk) for epoch in epochs]
        signals = await self._composed(persons, places, looked)
        return Answers(signals, tuple(one.asked for one in looked))

    def _served(self) -> list[int]:
        """Return the epochs to ask: those of the replicas, the newest key's among them.

        Raises:
            UnavailableError: something of them is missing here, or a replica is too old. Nothing has been asked then.
        """
        known, served = self._evaluator.epochs(), sorted(self._entries.epochs())
        if not known:
            raise UnavailableError(
                "expected a group key to ask with, got none yet", remedy="`jointrisk node ceremony status` tells more."
            )
        if known[-1] not in served:
            raise UnavailableError(
                f"expected the listings of epoch {known[-1]}, this node has no copy of them yet",
                remedy="`jointrisk node listings sync` fetches them.",
            )
        if strange := [epoch for epoch in served if epoch not in known]:
            raise UnavailableError(
                f"expected the group key of epoch {strange[0]}, which is listed under, got none yet",
                remedy="Wait until this node has verified the key ceremony's transcript.",
            )
        for epoch in served:
            self._entries.lookup(epoch, bytes(TAG_LENGTH))  # refuses where the copy is too old
        return served

    async def _evaluate(
        self, identifiers: "list[Identifier]", terms: Terms, epoch: int, question_id: str, *, bulk: bool
    ) -> _Looked:
        done = await self._evaluator.evaluate(
            identifiers, terms.purpose, terms.consent, epoch=epoch, bulk=bulk, question_id=question_id
        )
        asked = EpochAsked(
            epoch,
            done.generation,
            done.quorum,
            done.request_ids,
            done.proofs_verified,
            done.blamed,
            self._entries.state(epoch),
        )
        return _Looked(asked, done)

    async def _composed(
        self, persons: Sequence[Person], places: "dict[Identifier, int]", looked: Sequence[_Looked]
    ) -> list[Signal]:
        today = self._clock().astimezone(UTC).date()
        signals = []
        for number, person in enumerate(persons, start=1):
            signals.append(self._signal(person, places, looked, today))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return signals

    def _signal(
        self, person: Person, places: "dict[Identifier, int]", looked: Sequence[_Looked], today: date
    ) -> Signal:
        evidence = list(self._evidence([places[one] for one in person.identifiers], looked))
        if not evidence:
            return NOTHING
        return compose(evidence, self._own(person), today)

    def _evidence(self, places: Collection[int], looked: Sequence[_Looked]) -> Iterator[Evidence]:
        for one in looked:
            for place in places:
                keys = one.keys.keys[place]
                if found := self._entries.lookup(one.asked.epoch, keys.tag):
                    yield Evidence(keys, found)

    def _own(self, person: Person) -> list[bytes]:
        """Return this lender's pseudonyms for the person: any of the identifiers can be the primary one."""
        found = map(self._own_pseudonym, person.identifiers)
        return [pseudonym for pseudonym in found if pseudonym is not None]

    async def _record(self, event: str, question_id: str, terms: Terms, persons: Sequence[Person], **more: str) -> None:
        await self._journal.append(
            event,
            question_id=question_id,
            system=terms.system,
            purpose=terms.purpose.value,
            consent=terms.consent.reference,
            persons=len(persons),
            identifier_count=sum(len(person.identifiers) for person in persons),
            **more,
        )


def _places(persons: Sequence[Person]) -> "dict[Identifier, int]":
    """Return each identifier once, and its place: persons can share one, such as a phone."""
    places: dict[Identifier, int] = {}
    for person in persons:
        for one in person.identifiers:
            places.setdefault(one, len(places))
    return places
