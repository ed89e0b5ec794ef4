"""Listings from end to end in one process: identifiers, three holders, a lister, a coordinator's log, another asker."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fixed_randomness import fixed_randomness
from jointrisk.federation.signing import public_bytes
from jointrisk.identifiers import Identifier, canonicalise
from jointrisk.listing.derive import ListingKeys, derive, fits
from jointrisk.listing.head import read_head, sign_head
from jointrisk.listing.label import Category, Label, Severity
from jointrisk.listing.log import Entry, EntryKind, Point, Stretch
from jointrisk.listing.pseudonym import lister_pseudonym
from jointrisk.listing.record import Opened, Record, Sealed, new_entry_id, open_all, seal
from jointrisk.listing.stamp import distinct_listers, distinct_listers_of_person, lister_stamp
from jointrisk.oprf.requester import blind
from listing_sample import EPOCH, STAMP_SECRET, label_of
from oprf_sample import SharedKey

RESIDENT = canonicalise("resident_id", "CN", "11010519491231002X")
PHONE = canonicalise("phone", "CN", "+86 138 0013 8000")
STRANGER = canonicalise("phone", "CN", "+86 139 0013 9000")
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def evaluated(key: SharedKey, quorum: Sequence[int], persons: Sequence[Identifier], epoch: int) -> list[ListingKeys]:
    """Ask a quorum, as a lender does, with blinds of its own."""
    batch = blind([person.oprf_input(epoch) for person in persons], fixed_randomness(f"blinds {quorum}"))
    outputs = key.quorum(quorum).combine(batch, key.answers(quorum, batch))
    return [derive(output, epoch) for output in outputs]


class Coordinator:
    """Keeps a log in memory: what is shown to it, and what it releases."""

    def __init__(self) -> None:
        self.entries: list[tuple[Entry, Record | None]] = []
        self.point = Point.start("test", EPOCH)

    def append(self, lister: str, witness: bytes, sealed: Sealed) -> int:
        """Check the witness, stamp, append; return the position."""
        assert fits(witness, sealed.tag)
        record = Record(sealed, lister_stamp(STAMP_SECRET, lister, sealed.tag))
        return self._add(Entry.append(record.to_bytes()), record)

    def withdraw(self, position: int) -> None:
        """End an entry, and delete its record."""
        self._add(Entry.mark(EntryKind.TOMBSTONE, position), None)
        gone = self.entries[position][0]
        self.entries[position] = (Entry.deleted(gone.content), None)

    def _add(self, entry: Entry, record: Record | None) -> int:
        self.entries.append((entry, record))
        self.point = self.point.then(entry)
        return self.point.size - 1


def replica(coordinator: Coordinator) -> dict[bytes, list[Record]]:
    """Fetch and verify the whole log as a new reader does; return the records by tag."""
    signed = sign_head("test", EPOCH, coordinator.point, datetime(2026, 3, 1, tzinfo=UTC), SIGNER)
    head = read_head(signed, public_bytes(SIGNER), "test", EPOCH)
    stretch = Stretch(Point.start("test", EPOCH), head.point)
    found: dict[bytes, list[Record]] = {}
    for entry, record in coordinator.entries:
        stretch.take(Entry.append(record.to_bytes()) if record else entry)
        if record:
            found.setdefault(record.sealed.tag, []).append(record)
    stretch.end()
    return found


def publish(coordinator: Coordinator, lister: str, keys: ListingKeys, label: Label, number: int) -> int:
    """Seal and append as a lister does."""
    sealed = seal(label, keys, new_entry_id(fixed_randomness(f"{lister}/{number}")))
    return coordinator.append(lister, keys.witness, sealed)


@pytest.fixture(name="key", scope="module")
def _key() -> SharedKey:
    """A group key, 2-of-3."""
    return SharedKey(2, 3)


def label_by(lister: str, category: Category, severity: Severity) -> Label:
    """Return a label with the lister's pseudonym for the person."""
    secret = fixed_randomness(lister)(32)
    return label_of(category=category, severity=severity, pseudonym=lister_pseudonym(secret, RESIDENT))


def test_another_lender_finds_what_was_listed(key: SharedKey) -> None:
    """Listed through holders 1 and 2, found through 2 and 3: both entries, two lenders; a miss for somebody else."""
    coordinator = Coordinator()
    by_id, by_phone = evaluated(key, (1, 2), [RESIDENT, PHONE], EPOCH)
    fraud = label_by("east-bank", Category.FRAUD, Severity.HIGH)
    loan = label_by("west-credit", Category.ACTIVE_LOAN, Severity.NONE)
    publish(coordinator, "east-bank", by_id, fraud, 1)
    publish(coordinator, "east-bank", by_phone, fraud, 2)
    publish(coordinator, "west-credit", by_phone, loan, 1)

    found = replica(coordinator)
    asked = evaluated(key, (2, 3), [RESIDENT, PHONE, STRANGER], EPOCH)
    answers = [open_all(found.get(keys.tag, []), keys) for keys in asked]
    assert [[label for _, label in answer.labels] for answer in answers] == [[fraud], [fraud, loan], []]
    assert [answer.failed for answer in answers] == [(), (), ()]
    opened = [row for answer in answers for row in answer.labels]
    assert distinct_listers(record for record, _ in opened) == {asked[0].tag: 1, asked[1].tag: 2}
    assert distinct_listers_of_person(opened) == 2
    assert not any(label.is_expired(date(2026, 3, 1)) for _, label in opened)


def test_another_epoch_finds_nothing(key: SharedKey) -> None:
    """The same person under the same key has another tag in the next epoch, and its keys open nothing of this one."""
    coordinator = Coordinator()
    (listed,) = evaluated(key, (1, 2), [RESIDENT], EPOCH)
    publish(coordinator, "east-bank", listed, label_of(), 1)
    found = replica(coordinator)
    (later,) = evaluated(key, (1, 2), [RESIDENT], EPOCH + 1)
    assert later.tag not in found
    assert open_all(found[listed.tag], later).labels == ()


def test_another_key_finds_nothing() -> None:
    """Two federations' tags for one person have nothing in common."""
    (one,), (other,) = (evaluated(SharedKey(2, 3, name), (1, 2), [RESIDENT], EPOCH) for name in ("a", "b"))
    assert one.tag != other.tag


def test_what_is_withdrawn_is_gone_from_a_new_replica(key: SharedKey) -> None:
    """Its record is deleted, the log is still verified from the start, and the answer is a miss."""
    coordinator = Coordinator()
    (keys,) = evaluated(key, (1, 3), [RESIDENT], EPOCH)
    position = publish(coordinator, "east-bank", keys, label_of(), 1)
    coordinator.withdraw(position)
    assert open_all(replica(coordinator).get(keys.tag, []), keys) == Opened((), ())
