"""What becomes of the entries of one append."""

import hmac
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from jointrisk.errors import ConflictError, JointriskError, RefusedError, TooLargeError
from jointrisk.listing.derive import fits
from jointrisk.listing.log import record_hash
from jointrisk.listing.packed import Offered
from jointrisk.listing.record import Record
from jointrisk.listing.stamp import MOST_ENTRIES, lister_stamp
from jointrisk.store import Session
from jointrisk_coordinator.listings import ledger
from jointrisk_coordinator.listings.changes import Known
from jointrisk_coordinator.listings.ledger import NewEntry
from jointrisk_coordinator.listings.tables import LogRow

_ID_DOMAIN: Final = b"jointrisk/v1/listing-entry-id"
_TAG_DOMAIN: Final = b"jointrisk/v1/listing-tag-key"
_KEY_LENGTH: Final = 16


class Offer:
    """Entries of one append, judged one after another.

    Args:
        session: of the store.
        log: the log.
        lister: the member, from its certificate.
        secret: of the log's stamps.
        offered: the entries.
        most: pending and live entries of the member in the log, at most.
    """

    def __init__(
        self, session: Session, log: LogRow, lister: str, secret: bytes, offered: Sequence[Offered], most: int
    ) -> None:
        self._offered = offered
        self._new = [_new_entry(one, secret, lister) if fits(one.witness, one.sealed.tag) else None for one in offered]
        fitting = [one for one in self._new if one is not None]
        self._known = ledger.by_id(session, log.epoch, {one.id_key for one in fitting})
        self._unended = ledger.unended(session, log.epoch, {one.tag_key for one in fitting})
        self._taken: dict[bytes, NewEntry] = {}
        self._room = most - ledger.count_of(session, log.epoch, lister)

    @property
    def taken(self) -> list[NewEntry]:
        """What is new, of those that were judged."""
        return list(self._taken.values())

    def judge(self) -> Iterator[JointriskError | None]:
        """Yield for each entry why it is refused, or None."""
        return map(self._judge, self._new)

    def _judge(self, new: NewEntry | None) -> JointriskError | None:
        if new is None:
            return RefusedError("the witness does not fit the tag")
        before = self._known.get(new.id_key) or self._taken.get(new.id_key)
        if before is not None:
            return _again(before, new)
        number = self._unended.get(new.tag_key, 0)
        if number >= MOST_ENTRIES:
            return TooLargeError(
                f"there are {number} entries of this member under the tag", remedy="Withdraw one before."
            )
        if len(self._taken) >= self._room:
            return TooLargeError(
                "this member has as many entries as the coordinator takes",
                remedy="Withdraw others, or ask the coordinator's operator for more.",
            )
        self._unended[new.tag_key] = number + 1
        self._taken[new.id_key] = new
        return None


def _again(before: Known | NewEntry, new: NewEntry) -> JointriskError | None:
    if before.digest != new.digest:
        return ConflictError("another entry has this id", remedy="Draw an id for each entry.")
    if isinstance(before, Known) and before.has_ended:
        return RefusedError("this entry has ended", remedy="Publish a new one.")
    return None


def _new_entry(offered: Offered, secret: bytes, lister: str) -> NewEntry:
    sealed = offered.sealed
    record = Record(sealed, lister_stamp(secret, lister, sealed.tag)).to_bytes()
    name = lister.encode("ascii")
    tag_key = hmac.digest(secret, _TAG_DOMAIN + bytes([len(name)]) + name + sealed.tag, "sha256")[:_KEY_LENGTH]
    return NewEntry(id_key(sealed.entry_id), tag_key, record_hash(record), record)


def id_key(entry_id: bytes) -> bytes:
    """Return the hash under which the database knows an entry."""
    return sha256(_ID_DOMAIN + entry_id).digest()[:_KEY_LENGTH]
