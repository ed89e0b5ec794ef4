"""The audit log in the store: records that commit with the change they tell of, heads signed once a day."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Row, Select, String, Table, Text, insert, select
from sqlalchemy.orm import Session

from jointrisk import audit
from jointrisk.audit import AuditEntry, AuditFlaw, AuditHead, AuditRecord, FieldValue
from jointrisk.canonical import canonical_json
from jointrisk.clock import Clock, utc_now
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.store.engine import Store

_PAGE = 500


class AuditTables(NamedTuple):
    """The two tables of a log."""

    records: Table
    heads: Table


def audit_table(metadata: MetaData) -> AuditTables:
    """Define the audit log's tables in a package's metadata, so that its migrations make them."""
    records = Table(
        "audit_record",
        metadata,
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("time", String(27), nullable=False),
        Column("event", String(100), nullable=False, index=True),
        Column("fields", Text, nullable=False),
        Column("previous", LargeBinary, nullable=False),
        Column("hash", LargeBinary, nullable=False),
    )
    heads = Table(
        "audit_head",
        metadata,
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("day", String(10), nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("signer", LargeBinary, nullable=False),
        Column("signature", LargeBinary, nullable=False),
    )
    return AuditTables(records, heads)


# Statements name tables only, so that one definition of our own serves both packages.
_TABLES: Final = audit_table(MetaData())


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What `AuditLog.verify` found.

    Attributes:
        records: how many records are sound, from the first.
        heads: how many signed heads are sound.
        last_hash: the hash of the last sound record: whoever notes it elsewhere can prove later that the log
            went on from there.
        flaw: the first bad record and what is wrong with it, or None.
    """

    records: int
    heads: int
    last_hash: bytes
    flaw: AuditFlaw | None

    def require_sound(self) -> None:
        """Raise when the log is not sound.

        Raises:
            CorruptError: names the first bad record.
        """
        if self.flaw is not None:
            raise CorruptError(
                f"the audit log is not what was written: {self.flaw.reason}",
                remedy=f"From record {self.flaw.seq} on it proves nothing; find out who wrote to it.",
            )


class AuditLog:
    """The log of one daemon.

    Args:
        store: a store with the tables of `audit_table`.
        signer: the identity key that signs the head of a day when the next day's first record comes. Without
            it no heads are made.
        clock: the time that records carry.
    """

    def __init__(self, store: Store, signer: Ed25519PrivateKey | None = None, clock: Clock = utc_now) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock

    def append(self, event: str, /, **fields: FieldValue) -> AuditRecord:
        """Write a record in a transaction of its own; when this returns it is on the disk.

        Args:
            event: dotted name, such as ``membership.member_removed``.
            fields: text and integers by name; never an identifier, label, score, key or secret. Text that is
                too long is cut, so that what a peer sent cannot keep the record from being written.

        Raises:
            InvalidInputError: the event or a field breaks the form.
        """
        with self._store.transaction() as session:
            return self.append_in(session, event, **fields)

    def append_in(self, session: Session, event: str, /, **fields: FieldValue) -> AuditRecord:
        """Write a record that commits with what else ``session``, of `Store.transaction`, changes.

        Raises:
            InvalidInputError: the event or a field breaks the form.
        """
        (record,) = self.append_all_in(session, [(event, fields)])
        return record

    def append_all_in(
        self, session: Session, records: Iterable[tuple[str, Mapping[str, FieldValue]]]
    ) -> list[AuditRecord]:
        """Write several records, events and their fields, in order; otherwise as `append_in`, and much cheaper each.

        Raises:
            InvalidInputError: an event or a field breaks the form.
        """
        written: list[AuditRecord] = []
        last = _last(session)
        for event, fields in records:
            last = self._next(session, last, event, fields)
            written.append(last)
        if written:
            session.execute(insert(_TABLES.records), [_row_of(record) for record in written])
        return written

    def _next(
        self, session: Session, last: AuditRecord | None, event: str, fields: Mapping[str, FieldValue]
    ) -> AuditRecord:
        entry = AuditEntry(last.entry.seq + 1 if last else 1, _written(self._clock()), event, storable(fields))
        audit.check_entry(entry)
        if last is not None:
            self._sign_ended_day(session, last, entry)
        previous = last.hash if last else audit.GENESIS
        return AuditRecord(entry, previous, audit.link(previous, entry))

    def entries(self, *, after: int = 0, event: str | None = None, limit: int | None = None) -> Iterator[AuditEntry]:
        """Yield entries in order, of one snapshot, without loading them all.

        Args:
            after: only entries with a greater ``seq``.
            event: only this event, or, when it ends in a dot, events that start so.
            limit: at most so many.
        """
        query = _chosen(event).where(_TABLES.records.c.seq > after).order_by(_TABLES.records.c.seq).limit(limit)
        with self._store.reading() as session:
            for row in session.execute(query, execution_options={"yield_per": _PAGE}):
                yield _record_of(row).entry

    def newest(self, number: int, *, event: str | None = None) -> list[AuditEntry]:
        """Return the newest entries, oldest of them first.

        Args:
            number: at most so many.
            event: as in `entries`.
        """
        query = _chosen(event).order_by(_TABLES.records.c.seq.desc()).limit(number)
        with self._store.reading() as session:
            return [_record_of(row).entry for row in session.execute(query)][::-1]

    def heads(self) -> list[AuditHead]:
        """Return all signed heads, oldest first."""
        with self._store.reading() as session:
            return list(_stream_heads(session))

    def verify(self, trusted: Collection[Ed25519PublicKey] = ()) -> AuditReport:
        """Compute the whole chain again and check every signed head, in constant memory.

        Args:
            trusted: the public keys whose heads count, beside the signer's own: the present identity key and
                earlier ones.

        Raises:
            InvalidInputError: there are heads, but no key to check them with.
        """
        keys = [*trusted, *([self._signer.public_key()] if self._signer else [])]
        verifier = audit.ChainVerifier([key.public_bytes_raw() for key in keys])
        with self._store.reading() as session:
            if not keys and session.execute(select(_TABLES.heads.c.seq).limit(1)).first():
                raise InvalidInputError("expected the public key that signed the heads of the log, got none")
            flaw = _run(verifier, session)
        return AuditReport(verifier.records, verifier.heads, verifier.last_hash, flaw)

    def _sign_ended_day(self, session: Session, last: AuditRecord, entry: AuditEntry) -> None:
        """Sign the log's end when ``entry`` is the first of another day."""
        if self._signer is None or audit.day_of(last.entry.time) == audit.day_of(entry.time):
            return
        head = audit.sign_head(last, self._signer)
        row = {
            "seq": head.seq,
            "day": head.day,
            "hash": head.hash,
            "signer": head.signer,
            "signature": head.signature,
        }
        session.execute(insert(_TABLES.heads), row)


def _chosen(event: str | None) -> Select[tuple[object, ...]]:
    column = _TABLES.records.c.event
    query = select(_TABLES.records)
    if event is None:
        return query
    return query.where(column.startswith(event, autoescape=True) if event.endswith(".") else column == event)


def _run(verifier: audit.ChainVerifier, session: Session) -> AuditFlaw | None:
    try:
        return audit.run(verifier, _stream_records(session), _stream_heads(session))
    except CorruptError as error:
        return AuditFlaw(verifier.records + 1, error.message)


def _stream_records(session: Session) -> Iterator[AuditRecord]:
    query = select(_TABLES.records).order_by(_TABLES.records.c.seq)
    return map(_record_of, session.execute(query, execution_options={"yield_per": _PAGE}))


def _stream_heads(session: Session) -> Iterator[AuditHead]:
    query = select(_TABLES.heads).order_by(_TABLES.heads.c.seq)
    for row in session.execute(query, execution_options={"yield_per": _PAGE}):
        yield AuditHead(day=row.day, seq=row.seq, hash=row.hash, signer=row.signer, signature=row.signature)


def _last(session: Session) -> AuditRecord | None:
    row = session.execute(select(_TABLES.records).order_by(_TABLES.records.c.seq.desc()).limit(1)).first()
    return _record_of(row) if row else None


def _row_of(record: AuditRecord) -> dict[str, object]:
    entry = record.entry
    fields = canonical_json(dict(entry.fields)).decode("utf-8")
    return {
        "seq": entry.seq,
        "time": entry.time,
        "event": entry.event,
        "fields": fields,
        "previous": record.previous,
        "hash": record.hash,
    }


def _record_of(row: Row[tuple[object, ...]]) -> AuditRecord:
    """Read a row.

    Raises:
        CorruptError: its fields are not as we write them.
    """
    return AuditRecord(
        AuditEntry(row.seq, row.time, row.event, _fields_of(row.seq, row.fields)), row.previous, row.hash
    )


def _fields_of(seq: int, text: str) -> dict[str, FieldValue]:
    try:
        fields = json.loads(text)
        sound = isinstance(fields, dict) and canonical_json(fields) == text.encode("utf-8")
    except (ValueError, InvalidInputError):
        sound = False
    if not sound:
        raise CorruptError(f"record {seq} is not what was written")
    return dict(fields)


def storable(fields: Mapping[str, FieldValue]) -> dict[str, FieldValue]:
    """Return fields as they can be stored: text that is too long cut, what UTF-8 cannot carry replaced."""
    return {name: _storable(value) for name, value in fields.items()}


def _storable(value: FieldValue) -> FieldValue:
    """Cut text to what fits, and replace what UTF-8 cannot carry."""
    if not isinstance(value, str) or (value.isascii() and len(value) <= audit.LONGEST_TEXT):
        return value
    text = value.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= audit.LONGEST_TEXT else text[: audit.LONGEST_TEXT - 1] + "…"


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
