"""A federation's listings in memory, for tests of signals: a real shared key, real entries, a real database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol

from fixed_randomness import fixed_randomness
from jointrisk.audit import AuditEntry, FieldValue, check_entry
from jointrisk.errors import UnavailableError
from jointrisk.evaluation import Purpose
from jointrisk.identifiers import Identifier, canonicalise
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.listing.label import Label
from jointrisk.listing.pseudonym import lister_pseudonym
from jointrisk.listing.record import Record, new_entry_id, seal
from jointrisk.listing.stamp import lister_stamp
from jointrisk.oprf.requester import blind
from jointrisk_node.asking.outcome import Blame, Consent, Evaluated
from jointrisk_node.signals.desk import SignalDesk
from listing_sample import STAMP_SECRET, label_of
from oprf_sample import SharedKey

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = NOW.date()
OWN = "east-bank"


def resident(number: int) -> Identifier:
    """Return a resident's number of its own for each number."""
    digits = f"11010119900101{number:03d}"
    check = sum(int(one) * 2 ** (17 - place) for place, one in enumerate(digits))
    return canonicalise("resident_id", "CN", digits + "10X98765432"[check % 11])


def phone(number: int) -> Identifier:
    """Return a phone number of its own for each number."""
    return canonicalise("phone", "CN", f"138{number:08d}")


class KeysOf(Protocol):
    """Where the keys of identifiers come from."""

    def keys_of(self, identifier: Identifier, epoch: int) -> ListingKeys:
        """Return one identifier's."""


@dataclass(frozen=True)
class Entry:
    """What a lookup finds."""

    record: Record
    held: bool = False


@dataclass(frozen=True)
class State:
    """How the listings of an epoch stand."""

    size: int
    head_hash: bytes = bytes(range(32))
    signed_at: datetime | None = NOW - timedelta(seconds=40)
    age: timedelta | None = timedelta(seconds=40)


@dataclass
class Listed:
    """The listings of all epochs; each lender's as its node would publish them."""

    keys: "KeysOf"
    by_tag: dict[tuple[int, bytes], list[Entry]] = field(default_factory=dict)
    served: list[int] = field(default_factory=lambda: [1])
    too_old: bool = False
    _numbers: "count[int]" = field(default_factory=count)

    def epochs(self) -> list[int]:
        """Return the epochs that there is a copy of."""
        return self.served

    def lookup(self, epoch: int, tag: bytes) -> list[Entry]:
        """Return what is live under a tag."""
        if self.too_old:
            raise UnavailableError("the copy is older than an hour")
        return self.by_tag.get((epoch, tag), [])

    def state(self, epoch: int) -> State:
        """Return how they stand."""
        return State(sum(len(found) for (one, _), found in self.by_tag.items() if one == epoch))

    def publish(
        self, lister: str, identifiers: Sequence[Identifier], *, epoch: int = 1, held: bool = False, **fields: Any
    ) -> None:
        """List a person as a lender does: an entry under each identifier, the first is the primary one."""
        label = label_of(**{"pseudonym": pseudonym(lister, identifiers[0]), **fields})
        for one in identifiers:
            self.put(self.keys.keys_of(one, epoch), label, lister, held=held)

    def put(self, keys: ListingKeys, label: Label, lister: str, *, held: bool = False) -> None:
        """Put one entry under one tag."""
        sealed = seal(label, keys, new_entry_id(fixed_randomness(f"entry {next(self._numbers)}")))
        entry = Entry(Record(sealed, lister_stamp(STAMP_SECRET, lister, keys.tag)), held)
        self.by_tag.setdefault((keys.epoch, keys.tag), []).append(entry)


def pseudonym(lister: str, primary: Identifier) -> bytes:
    """Return a lender's pseudonym for a person."""
    return lister_pseudonym(fixed_randomness(f"secret of {lister}")(32), primary)


@dataclass
class Keys:
    """Evaluates with the shares of two of three holders; every epoch has a key of its own."""

    known: list[int] = field(default_factory=lambda: [1])
    down: bool = False
    asked: list[tuple[int, int, bool]] = field(default_factory=list)
    terms: list[tuple[Purpose, str]] = field(default_factory=list)
    question_ids: list[str] = field(default_factory=list)

    def epochs(self) -> list[int]:
        """Return the epochs of the keys."""
        return self.known

    async def evaluate(
        self,
        identifiers: Sequence[Identifier],
        purpose: Purpose,
        consent: Consent,
        *,
        epoch: int,
        bulk: bool = False,
        question_id: str = "",
    ) -> Evaluated:
        """Evaluate; note what was asked for."""
        self.question_ids.append(question_id)
        self.asked.append((epoch, len(identifiers), bulk))
        self.terms.append((purpose, consent.reference))
        if self.down:
            raise UnavailableError("2 holders are needed, 1 can be had; missing: west-bank (down)")
        keys = self.all_keys(identifiers, epoch)
        requests = tuple(bytes([epoch, place]) * 8 for place in range(0, len(identifiers), 4096))
        return Evaluated(epoch, 7, ("east-bank", "west-bank"), keys, requests, 1, (Blame("far-bank", "false proof"),))

    def keys_of(self, identifier: Identifier, epoch: int) -> ListingKeys:
        """Return one identifier's."""
        return self.all_keys([identifier], epoch)[0]

    def all_keys(self, identifiers: Sequence[Identifier], epoch: int) -> list[ListingKeys]:
        """Return what two holders' answers open to."""
        shared = SharedKey(2, 3, f"epoch {epoch}")
        batch = blind([one.oprf_input(epoch) for one in identifiers], fixed_randomness("blinds"))
        outputs = shared.quorum((1, 3)).combine(batch, shared.answers((1, 3), batch))
        return [derive(output, epoch) for output in outputs]


@dataclass
class Records:
    """Audit records; refuses what an audit log refuses."""

    written: list[tuple[str, dict[str, FieldValue]]] = field(default_factory=list)

    async def append(self, event: str, /, **fields: FieldValue) -> None:
        """Keep one."""
        check_entry(AuditEntry(1, "2026-11-23T12:00:00.000000Z", event, fields))
        self.written.append((event, fields))


@dataclass
class Lender:
    """East bank's node: what it asks with, and what it writes down."""

    keys: Keys = field(default_factory=Keys)
    records: Records = field(default_factory=Records)

    def __post_init__(self) -> None:
        self.listed = Listed(self.keys)
        self.desk = SignalDesk(
            self.keys, self.listed, self.records, own_pseudonym=lambda one: pseudonym(OWN, one), clock=lambda: NOW
        )
