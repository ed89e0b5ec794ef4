"""What members bring to the logs: appends, marks, renewals. What is taken is durable, and waits for its release.

A member is known by its certificate alone, and only ever touches entries of its own. One batch is one transaction; an
item that breaks a rule is refused, and the others are taken.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jointrisk.clock import Clock
from jointrisk.errors import (
    ConflictError,
    InvalidInputError,
    JointriskError,
    NotFoundError,
)
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import unpack_appends, unpack_ids
from jointrisk.store import AuditLog, Session, Store
from jointrisk_coordinator.listings import ledger
from jointrisk_coordinator.listings.appending import Offer, id_key
from jointrisk_coordinator.listings.changes import Changes, Known
from jointrisk_coordinator.listings.heads import Heads
from jointrisk_coordinator.listings.marking import Marking
from jointrisk_coordinator.listings.settings import ListingSettings

MARKS: Final = frozenset({EntryKind.TOMBSTONE, EntryKind.HOLD, EntryKind.RELEASE})
"""The marks that members make."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item of a batch that was not taken.

    Attributes:
        index: its place in the batch, from 0.
        error: why.
    """

    index: int
    error: JointriskError


@dataclass(frozen=True, slots=True)
class State:
    """How an entry stands.

    Attributes:
        state: "unknown", or as readers see it: "pending", "live", "held", "withdrawn", "expired".
        position: in the log, once it is there.
        expires: seconds since 1970; None for what is unknown or has ended.
    """

    state: str = "unknown"
    position: int | None = None
    expires: int | None = None


class Intake:
    """Takes what members bring. Methods block on the database; they are safe from any thread.

    Args:
        store: the coordinator's database.
        heads: the logs.
        audit: the audit log in the same store.
        settings: how long an entry lives unless it is renewed, and how many a member has at most.
        clock: the time.

    Attributes:
        on_taken: called after every commit that left something to be released.
        on_deleted: called after every commit that deleted a record.
    """

    def __init__(self, store: Store, heads: Heads, audit: AuditLog, settings: ListingSettings, clock: Clock) -> None:
        self.on_taken: list[Callable[[], None]] = []
        self.on_deleted: list[Callable[[], None]] = []
        self._store = store
        self._heads = heads
        self._audit = audit
        self._settings = settings
        self._clock = clock

    def append(self, lister: str, epoch: int, entries: bytes) -> list[Refusal]:
        """Take sealed entries of a member.

        Args:
            lister: the member, from its certificate.
            epoch: the log.
            entries: of `jointrisk.listing.packed.packed_appends`.

        Returns:
            Those that were not taken. Refused: the witness doesn't fit, or what had the id was withdrawn. Conflict: the
            id is another entry's. Too large: there are eight entries of this member under the tag, or as many in the
            log as it may have.

        Raises:
            InvalidInputError: they are no entries, or too many.
            NotFoundError: no log is served for the epoch.
        """
        offered = unpack_appends(entries)
        with self._store.transaction() as session:
            log = self._heads.require(session, epoch)
            most = self._settings.entries_per_member
            batch = Offer(session, log, lister, self._heads.stamp_secret(log), offered, most)
            refused, new = list(_refusals(batch.judge())), batch.taken
            ledger.take(session, log, lister, new, self._expiry())
            self._record(session, "listing.appended", lister, epoch, len(new), len(refused))
        self._tell(self.on_taken if new else ())
        return refused

    def mark(
        self, lister: str, epoch: int, kind: EntryKind, entry_ids: bytes, replaced_by: bytes = b""
    ) -> list[Refusal]:
        """Withdraw entries of a member, or begin or end disputes about them. Again is no error.

        Args:
            lister: the member, from its certificate.
            epoch: the log.
            kind: tombstone, hold or release.
            entry_ids: 16 bytes each.
            replaced_by: of tombstones that correct: for each of them the id of the entry that replaces it.

        Returns:
            Those that were not taken. Not found: it is no entry of this member. Conflict: it has ended, so that
            nothing can be held; or what should replace it has ended.

        Raises:
            InvalidInputError: they are no entry ids, too many, or another mark.
            NotFoundError: no log is served for the epoch.
        """
        ids = unpack_ids(entry_ids)
        others = unpack_ids(replaced_by) if replaced_by else []
        if kind not in MARKS or (others and (kind is not EntryKind.TOMBSTONE or len(others) != len(ids))):
            raise InvalidInputError(
                "expected a tombstone, hold or release, and as many replacements as tombstones or none"
            )
        with self._store.transaction() as session:
            log = self._heads.require(session, epoch)
            known = ledger.by_id(session, epoch, {id_key(one) for one in (*ids, *others)})
            own = {key: entry for key, entry in known.items() if entry.lister == lister}
            marking = Marking(session, log, own.values())
            refused = list(_refusals(_marked(marking, own, kind, ids, others)))
            marking.store()
            self._record(session, f"listing.{kind.name.lower()}", lister, epoch, marking.changed, len(refused))
        self._tell(self.on_taken if marking.added else ())
        self._tell(self.on_deleted if marking.removed else ())
        return refused

    def renew(self, lister: str, epoch: int, entry_ids: bytes) -> list[Refusal]:
        """Put off the expiry of entries of a member by the horizon, counted from now.

        Returns:
            Those that were not taken. Not found: it is no entry of this member. Conflict: it has ended.

        Raises:
            InvalidInputError: they are no entry ids, or too many.
            NotFoundError: no log is served for the epoch.
        """
        ids, until = unpack_ids(entry_ids), self._expiry()
        with self._store.transaction() as session:
            self._heads.require(session, epoch)
            known = ledger.by_id(session, epoch, {id_key(one) for one in ids})
            changes = Changes()
            errors = [_renewed(changes, _own(known, lister, one), until) for one in ids]
            ledger.store(session, epoch, changes)
            refused = list(_refusals(errors))
            self._record(session, "listing.renewed", lister, epoch, len(changes.entries), len(refused))
        return refused

    def states(self, lister: str, epoch: int, entry_ids: bytes) -> list[State]:
        """Return how entries of a member stand, in the order of their ids; others' entries are unknown.

        Raises:
            InvalidInputError: they are no entry ids, or too many.
            NotFoundError: no log is served for the epoch.
        """
        ids = unpack_ids(entry_ids)
        with self._store.reading() as session:
            self._heads.require(session, epoch)
            known = ledger.by_id(session, epoch, {id_key(one) for one in ids})
        own = (_own(known, lister, one) for one in ids)
        return [State(one.state, one.position, one.expires) if one else State() for one in own]

    def withdraw_all(self, lister: str, at_once: int = 4096) -> int:
        """Withdraw everything that a member has in the logs; return how many entries that were."""
        with self._store.reading() as session:
            epochs = [row.epoch for row in self._heads.served(session)]
        number = sum(self._withdraw_all(lister, epoch, at_once) for epoch in epochs)
        self._tell((*self.on_taken, *self.on_deleted) if number else ())
        return number

    def _withdraw_all(self, lister: str, epoch: int, at_once: int) -> int:
        after, number = -1, 0
        while True:
            with self._store.transaction() as session:
                log = self._heads.require(session, epoch)
                found = ledger.of_lister(session, epoch, lister, after, at_once)
                marking = Marking(session, log, found.values())
                for entry in found.values():
                    marking.tombstone(entry)
                marking.store()
                self._record(session, "listing.member_withdrawn", lister, epoch, marking.changed, 0)
            if not found:
                return number
            after, number = max(found), number + marking.changed

    def _expiry(self) -> int:
        return int((self._clock() + self._settings.horizon).timestamp())

    def _record(self, session: Session, event: str, lister: str, epoch: int, taken: int, refused: int) -> None:
        if taken or refused:
            self._audit.append_in(session, event, member=lister, epoch=epoch, taken=taken, refused=refused)

    @staticmethod
    def _tell(listeners: Iterable[Callable[[], None]]) -> None:
        for tell in listeners:
            tell()


def _own(known: Mapping[bytes, Known], lister: str, entry_id: bytes) -> Known | None:
    entry = known.get(id_key(entry_id))
    return entry if entry is not None and entry.lister == lister else None


def _marked(
    marking: Marking, own: Mapping[bytes, Known], kind: EntryKind, ids: Sequence[bytes], others: Sequence[bytes]
) -> Iterable[JointriskError | None]:
    for place, entry_id in enumerate(ids):
        entry = own.get(id_key(entry_id))
        if entry is None:
            yield _unknown()
        elif kind is not EntryKind.TOMBSTONE:
            yield marking.dispute(entry, kind)
        elif not others:
            marking.tombstone(entry)
            yield None
        else:
            other = own.get(id_key(others[place]))
            yield _unknown() if other is None else marking.replace(entry, other)


def _renewed(changes: Changes, entry: Known | None, until: int) -> JointriskError | None:
    if entry is None:
        return _unknown()
    if entry.expires is None:
        return ConflictError("this entry has ended", remedy="Publish a new one.")
    entry.expires = max(entry.expires, until)
    changes.entries[entry.number] = entry
    return None


def _unknown() -> NotFoundError:
    return NotFoundError("this member has no entry of this id")


def _refusals(errors: Iterable[JointriskError | None]) -> Iterable[Refusal]:
    return (Refusal(index, error) for index, error in enumerate(errors) if error is not None)
