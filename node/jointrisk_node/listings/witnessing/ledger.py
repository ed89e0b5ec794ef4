"""Own entries as they must be in the log, and the alarms about them, in the database."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update

from jointrisk.federation.signing import Signed
from jointrisk.store import AuditLog, Store
from jointrisk_node.listings.tables import ListingAlarm, OwnEntry
from jointrisk_node.listings.witnessing.checks import Check, OwnState, Verdict

_POSITIONS_KEPT = 20
_PAGE = 2000


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that the log shows about own entries and that should not be.

    Attributes:
        what: which check failed.
        epoch: of the log.
        count: how many entries.
        positions: of entries that are there, at most 20.
        log_size: of the log at the head at which it showed.
        signed_at: when that head was signed.
    """

    what: str
    epoch: int
    count: int
    positions: tuple[int, ...]
    log_size: int
    signed_at: datetime


class WitnessLedger:
    """Keeps what the log must show.

    Methods block on the database; they are safe from any thread.

    Args:
        store: the node's database.
        audit: the audit log in the same store.
    """

    def __init__(self, store: Store, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    def page(self, epoch: int, after: bytes, *, told_before: datetime, unverified: bool) -> list[list[OwnState]]:
        """Return entries whose last change the log must show by now, together by tag.

        Args:
            epoch: of the log.
            after: tags up to this one are left out; empty for none.
            told_before: the acknowledgement is not later than this.
            unverified: only entries that were never found as they should be since their last change, and those that
                share a tag with them.
        """
        due = [
            OwnEntry.epoch == epoch,
            OwnEntry.state.in_(("live", "ended")),
            OwnEntry.told_at <= told_before,
            OwnEntry.todo == "",
        ]
        tags = select(OwnEntry.tag).where(*due, OwnEntry.tag > after)
        if unverified:
            tags = tags.where(OwnEntry.verified_size == 0)
        columns = OwnEntry.entry_id, OwnEntry.tag, OwnEntry.ciphertext, OwnEntry.state, OwnEntry.held
        with self._store.reading() as session:
            chosen = session.scalars(tags.distinct().order_by(OwnEntry.tag).limit(_PAGE)).all()
            rows = session.execute(select(*columns).where(*due, OwnEntry.tag.in_(chosen)).order_by(OwnEntry.tag)).all()
        groups: dict[bytes, list[OwnState]] = {tag: [] for tag in chosen}
        for entry_id, tag, ciphertext, state, held in rows:
            groups[tag].append(OwnState(entry_id, tag, ciphertext, state == "ended", held))
        return list(groups.values())

    def unchanged(self, own: Sequence[OwnState], told_before: datetime) -> set[bytes]:
        """Return the ids of those entries that stand as they did, and that nothing is on its way for.

        What was withdrawn while it was being checked is no alarm.
        """
        columns = OwnEntry.entry_id, OwnEntry.state, OwnEntry.held
        chosen = select(*columns).where(
            OwnEntry.entry_id.in_([one.entry_id for one in own]), OwnEntry.todo == "", OwnEntry.told_at <= told_before
        )
        with self._store.reading() as session:
            now = {entry_id: (state == "ended", held) for entry_id, state, held in session.execute(chosen)}
        return {one.entry_id for one in own if now.get(one.entry_id) == (one.ended, one.held)}

    def in_doubt(self, entry_ids: Collection[bytes]) -> None:
        """Have entries looked at again at every head, until they stand as they should."""
        with self._store.transaction() as session:
            session.execute(update(OwnEntry).where(OwnEntry.entry_id.in_(entry_ids)).values(verified_size=0))

    def verified(self, entry_ids: Collection[bytes], size: int) -> None:
        """Note that entries stand in the log as they should."""
        with self._store.transaction() as session:
            chosen = OwnEntry.entry_id.in_(entry_ids), OwnEntry.verified_size == 0
            session.execute(update(OwnEntry).where(*chosen).values(verified_size=max(size, 1)))

    def conclude(
        self, epoch: int, found: Mapping[Check, Sequence[Verdict]], head: Signed | None, size: int, signed_at: datetime
    ) -> None:
        """Keep the alarms of a check of all entries; those that have ended are taken back. Both are audited."""
        with self._store.transaction() as session:
            before = {row.what: row for row in session.scalars(select(ListingAlarm).where(ListingAlarm.epoch == epoch))}
            session.execute(delete(ListingAlarm).where(ListingAlarm.epoch == epoch))
            for check, verdicts in found.items():
                positions = [one.position for one in verdicts if one.position is not None][:_POSITIONS_KEPT]
                row = ListingAlarm(
                    what=check.value,
                    epoch=epoch,
                    count=len(verdicts),
                    positions=json.dumps(positions),
                    log_size=size,
                    signed_at=signed_at,
                    evidence=_evidence(head),
                )
                session.add(row)
                known = before.pop(check.value, None)
                if known is None or known.count != len(verdicts):
                    self._audit.append_in(
                        session,
                        f"listings.{check.value}",
                        epoch=epoch,
                        entries=len(verdicts),
                        log_size=size,
                        positions=row.positions,
                    )
            for what in before:
                self._audit.append_in(session, "listings.alarm_ended", epoch=epoch, what=what)

    def alarms(self) -> list[Alarm]:
        """Return what is wrong now."""
        with self._store.reading() as session:
            rows = session.scalars(select(ListingAlarm).order_by(ListingAlarm.epoch, ListingAlarm.what)).all()
        return [
            Alarm(row.what, row.epoch, row.count, tuple(json.loads(row.positions)), row.log_size, row.signed_at)
            for row in rows
        ]


def _evidence(head: Signed | None) -> bytes:
    return b"" if head is None else json.dumps([head.payload.hex(), head.signature.hex()]).encode()
