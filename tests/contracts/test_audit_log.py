"""What the audit log promises, on every database."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase

from jointrisk import audit
from jointrisk.audit import AuditEntry, AuditRecord
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.store import AuditLog, Store
from jointrisk.store.audit_log import _TABLES, _row_of

TESTS = Path(__file__).parents[1]
NOON = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RECORDS, HEADS = _TABLES


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """Return the time that was set."""
        return self.now


@pytest.fixture
def clock() -> SetClock:
    """A clock at noon of 2026-03-01."""
    return SetClock()


@pytest.fixture
def log(store: Store, clock: SetClock) -> AuditLog:
    """An empty log that signs its heads."""
    return AuditLog(store, KEY, clock)


@pytest.fixture
def three_days(log: AuditLog, clock: SetClock) -> AuditLog:
    """A log with three records on each of three days, so with heads for the first two: after records 3 and 6."""
    for day in range(3):
        clock.now = NOON + day * DAY
        for turn in range(3):
            log.append("test.happened", day=day, turn=turn)
    return log


def tamper(store: Store, *statements: UpdateBase) -> None:
    """Change the tables behind the log's back."""
    with store.transaction() as session:
        for statement in statements:
            session.execute(statement)


def append_and_fail(log: AuditLog, session: Session) -> None:
    """Append within a change that then fails."""
    log.append_in(session, "test.undone")
    raise ZeroDivisionError


def flaw_of(log: AuditLog) -> tuple[int, str]:
    """Return the flaw that verification finds."""
    flaw = log.verify().flaw
    assert flaw is not None
    return flaw.seq, flaw.reason


def test_records_come_back_in_order(log: AuditLog) -> None:
    """Places count from 1, times are UTC to the microsecond, fields are as given."""
    log.append("member.joined", member_id="bank", serial=2**62)
    log.append("member.left", reason="信用\x00")
    assert list(log.entries()) == [
        AuditEntry(1, "2026-03-01T12:00:00.000005Z", "member.joined", {"member_id": "bank", "serial": 2**62}),
        AuditEntry(2, "2026-03-01T12:00:00.000005Z", "member.left", {"reason": "信用\x00"}),
    ]


def test_an_empty_log_is_sound(log: AuditLog) -> None:
    """Nothing happened yet, and that verifies."""
    report = log.verify()
    assert (report.records, report.heads, report.last_hash, report.flaw) == (0, 0, bytes(32), None)


def test_a_sound_log_verifies(three_days: AuditLog) -> None:
    """All records and heads are counted, and the last hash is the last record's."""
    last = three_days.append("test.last")
    report = three_days.verify()
    report.require_sound()
    assert (report.records, report.heads, report.last_hash, report.flaw) == (10, 2, last.hash, None)


def test_entries_can_be_chosen(log: AuditLog) -> None:
    """By place, by event, by the beginning of the event, by number."""
    for event in ("run.started", "run.ended", "runway.cleared", "member.joined"):
        log.append(event)
    assert [entry.seq for entry in log.entries(after=2)] == [3, 4]
    assert [entry.seq for entry in log.entries(event="run.ended")] == [2]
    assert [entry.seq for entry in log.entries(event="run.")] == [1, 2]
    assert [entry.seq for entry in log.entries(limit=3)] == [1, 2, 3]
    assert [entry.seq for entry in log.newest(3)] == [2, 3, 4]
    assert [entry.seq for entry in log.newest(1, event="run.")] == [2]


def test_a_record_commits_with_the_change_it_tells_of(store: Store, log: AuditLog) -> None:
    """A change that is rolled back leaves no record and no gap."""
    with store.transaction() as session:
        log.append_in(session, "test.one")
        log.append_in(session, "test.two")
    with pytest.raises(ZeroDivisionError), store.transaction() as session:
        append_and_fail(log, session)
    log.append("test.three")
    assert [entry.event for entry in log.entries()] == ["test.one", "test.two", "test.three"]
    assert log.verify().records == 3


def test_threads_and_processes_make_one_chain(store: Store, log: AuditLog) -> None:
    """Appends from four threads and another process at once are gapless and sound."""
    url = store.url.render_as_string(hide_password=False)
    other = subprocess.Popen([sys.executable, "-m", "store_sample.writer", "audit", url, "25"], cwd=TESTS)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda turn: log.append("test.happened", turn=turn), range(60)))
    assert other.wait(timeout=60) == 0
    assert len({record.entry.seq for record in made}) == 60
    report = log.verify([KEY.public_key()])
    assert (report.records, report.flaw) == (85, None)


@pytest.mark.parametrize(
    "change",
    [
        {"event": "test.changed"},
        {"time": "2026-03-02T12:00:00.000006Z"},
        {"fields": '{"day":1,"turn":7}'},
        {"fields": '{"day": 1, "turn": 1}'},
        {"fields": "[]"},
        {"fields": "{"},
        {"fields": '{"day":1,"turn":NaN}'},
        {"hash": bytes(32)},
        {"previous": bytes(32)},
    ],
)
def test_a_changed_record_is_named(store: Store, three_days: AuditLog, change: dict[str, object]) -> None:
    """Whatever of a record is changed, verification names that record and counts the sound ones before it."""
    tamper(store, update(RECORDS).where(RECORDS.c.seq == 5).values(change))
    assert flaw_of(three_days)[0] == 5
    report = three_days.verify()
    assert report.records == 4
    with pytest.raises(CorruptError, match="record 5"):
        report.require_sound()


def test_a_record_with_its_hash_made_again_is_named_by_the_next(store: Store, three_days: AuditLog) -> None:
    """Whoever can compute hashes, but not sign, is found at the next record."""
    forged = AuditRecord(AuditEntry(5, "2026-03-02T12:00:00.000005Z", "test.forged", {}), _hash(store, 4), b"")
    digest = audit.link(forged.previous, forged.entry)
    tamper(store, update(RECORDS).where(RECORDS.c.seq == 5).values(event="test.forged", fields="{}", hash=digest))
    assert flaw_of(three_days) == (6, "record 6 does not follow the record before it")


def _hash(store: Store, seq: int) -> bytes:
    with store.reading() as session:
        return bytes(session.scalars(select(RECORDS.c.hash).where(RECORDS.c.seq == seq)).one())


def test_a_rewritten_chain_is_told_by_its_heads(store: Store, three_days: AuditLog) -> None:
    """A thief who writes the whole chain anew, hashes and all, cannot sign the heads."""
    entries = list(three_days.entries())
    entries[1] = AuditEntry(2, entries[1].time, "test.rewritten", {})
    tamper(store, delete(RECORDS), *(insert(RECORDS).values(_row_of(one)) for one in chain(entries)))
    assert flaw_of(three_days) == (3, "record 3 is not the one that the head of 2026-03-01 signs")


def chain(entries: list[AuditEntry]) -> Iterator[AuditRecord]:
    """Link entries, as a thief would."""
    previous = audit.GENESIS
    for entry in entries:
        digest = audit.link(previous, entry)
        yield AuditRecord(entry, previous, digest)
        previous = digest


def test_a_rewritten_chain_with_heads_of_another_key_is_told(
    store: Store, three_days: AuditLog, clock: SetClock
) -> None:
    """Heads count only when a trusted key signed them."""
    tamper(store, delete(RECORDS), delete(HEADS))
    thief = AuditLog(store, Ed25519PrivateKey.generate(), clock)
    for day in range(2):
        clock.now = NOON + day * DAY
        thief.append("test.forged")
    assert thief.verify().flaw is None
    flaw = AuditLog(store).verify([KEY.public_key()]).flaw
    assert flaw is not None
    assert (flaw.seq, "not signed by a trusted key" in flaw.reason) == (1, True)


@pytest.mark.parametrize("column", ["signature", "hash", "day", "signer"])
def test_a_changed_head_is_told(store: Store, three_days: AuditLog, column: str) -> None:
    """A head of which anything was changed does not pass."""
    value: object = "2026-03-09" if column == "day" else bytes(64 if column == "signature" else 32)
    tamper(store, update(HEADS).where(HEADS.c.seq == 6).values({column: value}))
    assert flaw_of(three_days)[0] == 6


@pytest.mark.parametrize(("kept", "named"), [(5, 6), (4, 5), (0, 1)])
def test_a_tail_cut_below_a_head_is_told(store: Store, three_days: AuditLog, kept: int, named: int) -> None:
    """Records that a head signs cannot be dropped from the end."""
    tamper(store, delete(RECORDS).where(RECORDS.c.seq > kept), delete(HEADS).where(HEADS.c.seq < kept))
    seq, reason = flaw_of(three_days)
    assert seq == named
    assert "missing" in reason


def test_a_dropped_record_is_told(store: Store, three_days: AuditLog) -> None:
    """A gap is named by the place that is missing."""
    tamper(store, delete(RECORDS).where(RECORDS.c.seq == 2))
    assert flaw_of(three_days) == (2, "record 2 is missing, 3 follows")


def test_swapped_records_are_told(store: Store, three_days: AuditLog) -> None:
    """Records in another order are not what was written."""
    place = [update(RECORDS).where(RECORDS.c.seq == old).values(seq=new) for old, new in ((4, 99), (5, 4), (99, 5))]
    tamper(store, *place)
    assert flaw_of(three_days)[0] == 4


def test_a_head_is_signed_when_a_new_day_begins(log: AuditLog, clock: SetClock) -> None:
    """No head while the day lasts; then one for the day's last record, once."""
    log.append("test.one")
    second = log.append("test.two")
    assert log.heads() == []
    clock.now = datetime(2026, 3, 2, tzinfo=UTC)
    log.append("test.three")
    log.append("test.four")
    (head,) = log.heads()
    assert (head.day, head.seq, head.hash) == ("2026-03-01", 2, second.hash)
    assert head.signer == KEY.public_key().public_bytes_raw()


def test_days_are_utc_days(log: AuditLog, clock: SetClock) -> None:
    """A clock in another zone changes neither times nor days."""
    log.append("test.one")
    clock.now = datetime.fromisoformat("2026-03-02T02:00:00+08:00")
    log.append("test.two")
    assert [entry.time for entry in log.entries()][1] == "2026-03-01T18:00:00.000000Z"
    assert log.heads() == []


def test_a_clock_set_back_keeps_the_log_sound(log: AuditLog, clock: SetClock) -> None:
    """Days that come twice have their heads, each for its own last record."""
    for moment in (NOON, NOON + DAY, NOON, NOON + DAY):
        clock.now = moment
        log.append("test.happened")
    assert [(head.day, head.seq) for head in log.heads()] == [("2026-03-01", 1), ("2026-03-02", 2), ("2026-03-01", 3)]
    assert log.verify().flaw is None


def test_a_head_rolls_back_with_its_record(store: Store, log: AuditLog, clock: SetClock) -> None:
    """A day's first record that is rolled back takes the head along; the next one makes it again."""
    log.append("test.one")
    clock.now += DAY
    with pytest.raises(ZeroDivisionError), store.transaction() as session:
        append_and_fail(log, session)
    assert log.heads() == []
    log.append("test.two")
    assert [head.seq for head in log.heads()] == [1]


def test_heads_by_an_earlier_key_count_when_it_is_trusted(store: Store, log: AuditLog, clock: SetClock) -> None:
    """After a change of the identity key, both keys' heads verify."""
    log.append("test.one")
    clock.now += DAY
    log.append("test.two")
    later = AuditLog(store, Ed25519PrivateKey.generate(), clock)
    clock.now += DAY
    later.append("test.three")
    assert later.verify().flaw is not None
    assert later.verify([KEY.public_key()]).heads == 2


def test_heads_are_not_taken_on_trust(store: Store, three_days: AuditLog) -> None:
    """Verification without any public key says so where there is something to check with it."""
    with pytest.raises(InvalidInputError, match="public key"):
        AuditLog(store).verify()


@pytest.mark.parametrize("name", ["token", "label", "scores", "identifier", "signing_key", "passphrase", "UPPER"])
def test_fields_that_must_not_be_kept_are_refused(log: AuditLog, name: str) -> None:
    """A record with such a field is not written."""
    with pytest.raises(InvalidInputError):
        log.append("test.happened", **{name: "x"})
    assert list(log.entries()) == []


@pytest.mark.parametrize("event", ["single", "Upper.case", "a.b ", "", "a..b"])
def test_an_event_is_a_dotted_name(log: AuditLog, event: str) -> None:
    """Other events are refused."""
    with pytest.raises(InvalidInputError, match="dotted"):
        log.append(event)


@pytest.mark.parametrize("value", [1.5, None, b"x", ["x"], 2**63])
def test_a_field_is_text_or_an_integer(log: AuditLog, value: object) -> None:
    """Other values are refused."""
    with pytest.raises(InvalidInputError, match="64-bit"):
        log.append("test.happened", field=value)  # type: ignore[arg-type]


def test_text_of_a_peer_cannot_keep_a_record_from_being_written(log: AuditLog) -> None:
    """Text that is too long is cut; what UTF-8 cannot carry is replaced."""
    log.append("rpc.refused", reason="x" * 5000, detail="\ud800 half a pair")
    (entry,) = log.entries()
    assert (entry.fields["reason"], entry.fields["detail"]) == ("x" * 999 + "…", "? half a pair")
    assert log.verify().flaw is None


def test_verification_takes_constant_memory(store: Store, log: AuditLog) -> None:
    """40 MB of records pass through a process that grows by far less, whatever holds them: Python or the driver."""
    _fill(store, 20_000)
    url = store.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "store_sample.writer", "verify", url, "1"]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, check=True, text=True)
    records, grown_mb = done.stdout.split()
    assert int(records) == 20_000
    assert float(grown_mb) < 15


def _fill(store: Store, number: int) -> None:
    """Append many records at once, far faster than one by one."""
    with store.transaction() as session:
        start = session.scalar(select(func.max(RECORDS.c.seq))) or 0
    previous = _hash(store, start) if start else audit.GENESIS
    rows = []
    for seq in range(start + 1, start + number + 1):
        entry = AuditEntry(seq, "2026-03-01T12:00:00.000005Z", "test.happened", {"one": "x" * 1000, "two": "y" * 1000})
        record = AuditRecord(entry, previous, audit.link(previous, entry))
        rows.append(_row_of(record))
        previous = record.hash
    with store.transaction() as session:
        session.execute(insert(RECORDS), rows)
