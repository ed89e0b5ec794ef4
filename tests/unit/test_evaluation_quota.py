"""Quotas: what a member is granted, what it has used, and that no order of events gives more than was charged."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jointrisk.errors import ConflictError, QuotaError
from jointrisk.evaluation import EvaluationRequest, Purpose
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.audit_journal import AuditJournal, JournalLedger
from jointrisk_node.evaluations.charges import REMEMBERED, Charge, ChargeBook, Outcome
from jointrisk_node.evaluations.charging import ChargeWriter
from jointrisk_node.evaluations.quota import PERIODS, Account, Allowance
from jointrisk_node.evaluations.settings import HolderSettings, QuotaSettings
from jointrisk_node.store.tables import load_tables

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = 86_400_000_000
SMALL = Allowance(dict.fromkeys(Purpose, 10), 25)


class BookAtTest:
    """A book in a folder; made again over the same folder it is the book after a restart."""

    def __init__(self, root: Path, allowance: Allowance = SMALL) -> None:
        engine = make_engine(f"sqlite:///{root / 'state.db'}")
        load_tables().create_all(engine)
        self.store = Store(engine)
        self.audit = AuditLog(self.store)
        self.journal = AuditJournal(root / "journal", JournalLedger(self.store, self.audit))
        self.book = ChargeBook(self.journal, lambda _: allowance)

    def charge(self, charge: Charge, now: datetime = NOW, *, dies: bool = False) -> Outcome:
        """Charge; when it dies, right before the commit."""
        with self.book.environment.begin(write=True) as transaction:
            outcome = self.book.charge_in(transaction, charge, now)
            if dies:
                transaction.abort()
        return outcome

    def close(self) -> None:
        """Let go of the files."""
        self.journal.environment.close()
        self.store.close()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[BookAtTest]:
    """Return a new book."""
    book = BookAtTest(tmp_path)
    yield book
    book.close()


def charge_of(
    number: int = 4,
    *,
    ident: int = 1,
    elements: int = 1,
    quorum: tuple[str, ...] = ("ant", "bee"),
    purpose: Purpose = Purpose.ADMISSION,
    asker: str = "cat",
    epoch: int = 1,
    generation: int = 1,
) -> Charge:
    """Return a request for so many elements, to be charged."""
    request = EvaluationRequest(
        "testing",
        asker,
        epoch,
        generation,
        ident.to_bytes(16, "big"),
        purpose,
        quorum,
        bytes(32),
        bytes([elements]) * 32 * number,
        None,
    )
    return Charge(request, request.digest(), number)


def test_capacities_follow_from_what_is_declared() -> None:
    """The formula of docs/protocol.md, section 5.4, with overrides, and a floor for small lenders."""
    derived = Allowance.of(QuotaSettings(customers=10_000, originations=36_500, identifiers_each=2))
    assert derived.capacities == {
        Purpose.ADMISSION: 600,
        Purpose.PORTFOLIO: 20_000,
        Purpose.INVESTIGATION: 200,
        Purpose.PUBLISHING: 26_083,
    }
    assert derived.epoch_ceiling == 4 * 20_000 + 2 * 73_000
    small = Allowance.of(QuotaSettings(customers=10, originations=10, portfolio=7, epoch_ceiling=9))
    assert [small.capacities[p] for p in Purpose] == [100, 7, 100, 21]
    assert small.epoch_ceiling == 9


def test_a_members_own_table_says_only_what_differs() -> None:
    """What it leaves out is as for every member."""
    holder = HolderSettings.model_validate({"quota": {"customers": 5}, "quotas": {"ant": {"originations": 7}}})
    assert (holder.granted("ant").customers, holder.granted("ant").originations) == (5, 7)
    assert holder.granted("bee") == holder.quota


def test_a_bucket_fills_with_time_and_not_beyond() -> None:
    """After half of the period half of it is back; a clock that goes back gives nothing."""
    used = Account().charge(SMALL, Purpose.ADMISSION, 10, DAY)
    assert used.left(SMALL, Purpose.ADMISSION, DAY) == 0
    assert used.left(SMALL, Purpose.ADMISSION, DAY // 2) == 0
    assert used.left(SMALL, Purpose.ADMISSION, DAY + DAY // 2) == 5
    assert used.left(SMALL, Purpose.ADMISSION, 9 * DAY) == 10
    assert used.left(SMALL, Purpose.PORTFOLIO, DAY) == 10
    with pytest.raises(QuotaError, match="at most 0 evaluations for admission now, got 1; 10 are granted in 1 d"):
        used.charge(SMALL, Purpose.ADMISSION, 1, DAY)


def test_publishing_counts_against_the_ceiling_until_listings_are_seen() -> None:
    """Evaluations that became no listings count as questions; credit is never more than was published."""
    account, moment = Account(), 0
    for _ in range(2):
        account = account.charge(SMALL, Purpose.PUBLISHING, 10, moment)
        moment += 40 * DAY
    assert (account.counted, account.epoch_left(SMALL)) == (20, 5)
    with pytest.raises(QuotaError, match="at most 5 evaluations, what is left of this epoch, got 6"):
        account.charge(SMALL, Purpose.ADMISSION, 6, moment)
    assert account.credit(12).epoch_left(SMALL) == 17
    assert account.credit(12).credit(3).tags == 12
    assert account.credit(10**30).counted == 0
    assert Account().charge(SMALL, Purpose.ADMISSION, 6, 0).credit(100).counted == 6


@given(
    st.lists(st.tuples(st.sampled_from(Purpose), st.integers(1, 12), st.integers(-DAY, 20 * DAY)), max_size=30),
)
def test_a_bucket_gives_at_most_what_was_in_it_and_what_flowed_in(
    asked: list[tuple[Purpose, int, int]],
) -> None:
    """Charged of a purpose is never more than a full bucket and what flowed in; of all never more than the ceiling."""
    account, moment, latest = Account(), 10**15, 10**15
    given_out = dict.fromkeys(Purpose, 0)
    for purpose, number, passed in asked:
        moment += passed
        latest = max(latest, moment)
        try:
            account = Account.decode(account.charge(SMALL, purpose, number, moment).encode())
        except QuotaError:
            continue
        given_out[purpose] += number
        period = PERIODS[purpose] // timedelta(microseconds=1)
        assert given_out[purpose] <= 10 + -(-(latest - 10**15) * 10 // period)
    assert account.counted <= 25
    assert account.charged == sum(given_out.values())


def test_a_request_is_charged_once(made: BookAtTest) -> None:
    """The identical request again is free, before and after a restart; its id with anything else is refused."""
    assert made.charge(charge_of()) is Outcome.CHARGED
    assert made.charge(charge_of()) is Outcome.REPEATED
    for other in (
        charge_of(3),
        charge_of(elements=2),
        charge_of(quorum=("ant", "dog")),
        charge_of(purpose=Purpose.PORTFOLIO),
        charge_of(epoch=2),
        charge_of(generation=2),
    ):
        with pytest.raises(ConflictError, match="new request id"):
            made.charge(other)
    assert made.charge(charge_of(asker="dog")) is Outcome.CHARGED
    assert made.book.account("cat", 1).charged == 4


def test_elements_are_free_once_under_another_quorum(made: BookAtTest) -> None:
    """A holder failed: the same elements to others cost nothing, once; under the same quorum they are charged again."""
    assert made.charge(charge_of(ident=1)) is Outcome.CHARGED
    assert made.charge(charge_of(ident=2, quorum=("ant", "dog"))) is Outcome.FREE
    assert made.charge(charge_of(ident=2, quorum=("ant", "dog"))) is Outcome.REPEATED
    assert made.charge(charge_of(ident=3, quorum=("ant", "eel"))) is Outcome.CHARGED
    assert made.charge(charge_of(ident=4, elements=2, purpose=Purpose.PORTFOLIO)) is Outcome.CHARGED
    assert made.charge(charge_of(ident=5, elements=2, purpose=Purpose.PORTFOLIO)) is Outcome.CHARGED
    assert made.charge(charge_of(ident=6, elements=2, purpose=Purpose.INVESTIGATION, generation=2)) is Outcome.CHARGED
    assert made.book.account("cat", 1).charged == 20


async def test_requests_that_come_together_are_charged_one_after_the_other(made: BookAtTest) -> None:
    """Written with one fsync: the same request is charged once, and together they get what is granted and no more."""
    writer = ChargeWriter(made.book, lambda: NOW)
    same = [writer.charge(charge_of(2, ident=1)) for _ in range(5)]
    others = [writer.charge(charge_of(3, ident=ident, elements=ident)) for ident in range(2, 8)]
    outcomes = await asyncio.gather(*same, *others, return_exceptions=True)
    assert outcomes[:5] == [Outcome.CHARGED] + [Outcome.REPEATED] * 4
    assert outcomes[5:7] == [Outcome.CHARGED] * 2
    assert all(isinstance(one, QuotaError) for one in outcomes[7:])
    assert made.book.account("cat", 1).charged == 8


async def test_work_begins_before_the_disk_and_only_on_what_may_be_charged(made: BookAtTest) -> None:
    """Whoever is refused costs no computing; for all others it is under way before anything is committed."""
    writer, began = ChargeWriter(made.book, lambda: NOW), list[tuple[str, int]]()

    def begins(what: str) -> Callable[[], None]:
        return lambda: began.append((what, made.book.account("cat", 1).charged))

    outcomes = await asyncio.gather(
        writer.charge(charge_of(8, ident=1), begins("charged")),
        writer.charge(charge_of(8, ident=1), begins("repeated")),
        writer.charge(charge_of(8, ident=2, elements=2), begins("refused")),
        return_exceptions=True,
    )
    assert [type(one) for one in outcomes] == [Outcome, Outcome, QuotaError]
    assert began == [("charged", 0), ("repeated", 0)]
    assert made.book.account("cat", 1).charged == 8


async def test_who_goes_away_while_it_is_charged_stays_charged(made: BookAtTest) -> None:
    """And the others that are written together with it are told."""
    writer = ChargeWriter(made.book, lambda: NOW)
    gone, stays = writer.charge(charge_of(2, ident=1)), writer.charge(charge_of(2, ident=2, elements=2))
    gone.cancel()
    assert await stays is Outcome.CHARGED
    assert made.book.account("cat", 1).charged == 4


def test_what_is_refused_leaves_no_trace(made: BookAtTest) -> None:
    """A request over the quota binds nothing: it can be asked again with the same id when there is more."""
    made.charge(charge_of(10, ident=1))
    with pytest.raises(QuotaError):
        made.charge(charge_of(5, ident=2, elements=2))
    assert made.charge(charge_of(5, ident=2, elements=2), NOW + timedelta(hours=12)) is Outcome.CHARGED
    assert made.journal.waiting() == 2


def test_ids_are_forgotten_after_a_day_and_charged_again(made: BookAtTest) -> None:
    """The book does not grow for ever, and what is forgotten is never free."""
    later = NOW
    for ident in range(1, 6):
        made.charge(charge_of(1, ident=ident, elements=ident), later)
    for ident in range(6, 12):
        later += REMEMBERED + timedelta(seconds=1)
        made.charge(charge_of(1, ident=ident, elements=ident), later)
    with made.book.environment.begin() as transaction:
        sizes = [
            transaction.stat(made.book.environment.open_db(name, txn=transaction))["entries"]
            for name in (b"evaluation-bindings", b"evaluation-batches", b"evaluation-ends")
        ]
    assert sizes == [1, 1, 1]
    assert made.charge(charge_of(1, ident=1, elements=1), later) is Outcome.CHARGED


def test_the_journal_tells_what_was_charged(made: BookAtTest) -> None:
    """One record for each request id, exactly once in the audit log, with nothing of the elements in it."""
    made.charge(charge_of(4, ident=1))
    made.charge(charge_of(4, ident=1))
    made.charge(charge_of(4, ident=2, quorum=("ant", "dog")))
    made.journal.drain()
    told = [dict(entry.fields) for entry in made.audit.entries(event="evaluation.")]
    assert [(one["request_id"], one["charged"], one["count"]) for one in told] == [
        ((1).to_bytes(16, "big").hex(), 4, 4),
        ((2).to_bytes(16, "big").hex(), 0, 4),
    ]
    assert told[0].keys() == {
        "asker", "request_id", "purpose", "count", "charged", "epoch", "generation", "consent", "at"
    }  # fmt: skip


STEP = st.tuples(
    st.integers(1, 6),  # request id
    st.integers(1, 4),  # elements
    st.integers(1, 5),  # how many
    st.sampled_from([("ant", "bee"), ("ant", "dog"), ("ant", "eel")]),
    st.sampled_from(["commits", "commits", "dies", "restarts"]),
    st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(hours=25), timedelta(hours=-2)]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=12))
def test_no_order_of_requests_crashes_and_repeats_gives_more_than_was_charged(
    steps: list[tuple[int, int, int, tuple[str, ...], str, timedelta]],
) -> None:
    """Whoever counts the different elements that were answered never counts more than the account says.

    An answer leaves after a commit only; a crash before it loses the charge and the answer together.
    """
    root = Path(tempfile.mkdtemp())
    made = BookAtTest(root)
    answered = dict[bytes, int]()
    now = NOW
    try:
        for ident, elements, number, quorum, end, passed in steps:
            now += passed
            if end == "restarts":
                made.close()
                made = BookAtTest(root)
            charge = charge_of(number, ident=ident, elements=elements, quorum=quorum)
            try:
                outcome = made.charge(charge, now, dies=end == "dies")
            except (ConflictError, QuotaError):
                continue
            if end == "dies":
                continue
            key = sha256(charge.request.elements).digest()
            assert outcome is Outcome.CHARGED or key in answered
            answered[key] = number
            assert sum(answered.values()) <= made.book.account("cat", 1).charged <= SMALL.epoch_ceiling
    finally:
        made.close()
        shutil.rmtree(root)


def test_what_was_acknowledged_is_charged_after_a_kill(tmp_path: Path) -> None:
    """A process that charges in a loop is killed in the middle: nothing that it said is missing."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        book = BookAtTest(tmp_path, Allowance(dict.fromkeys(Purpose, 10**9), 10**9))
        for ident in range(1, 100_000):
            book.charge(charge_of(3, ident=ident, elements=ident % 256))
            os.write(sending, ident.to_bytes(4, "big"))
    os.close(sending)
    said = b""
    while len(said) < 4 * 40:
        said += os.read(receiving, 4)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(receiving, 4096):
        said += more
    os.close(receiving)
    acknowledged = [int.from_bytes(said[at : at + 4], "big") for at in range(0, len(said), 4)]
    after = BookAtTest(tmp_path)
    assert all(after.charge(charge_of(3, ident=one, elements=one % 256)) is Outcome.REPEATED for one in acknowledged)
    assert after.book.account("cat", 1).charged >= 3 * len(acknowledged)
    assert after.journal.waiting() >= len(acknowledged)
    after.close()
