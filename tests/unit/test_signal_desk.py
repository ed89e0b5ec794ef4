"""Asking: every identifier in every epoch or an error, and an audit record of each question."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, TypeVar

import pytest

from jointrisk.errors import InvalidInputError, UnavailableError
from jointrisk.evaluation import Purpose
from jointrisk.listing.label import Category, Severity
from jointrisk_node.asking.outcome import Consent
from jointrisk_node.signals.answer import NOTHING
from jointrisk_node.signals.desk import Answers, Terms
from jointrisk_node.signals.person import MOST_IDENTIFIERS, Given, Person, person_of
from jointrisk_node.signals.screening import Row, Screened, screened
from signal_sample import Lender, phone, resident

T = TypeVar("T")
TERMS = Terms(Purpose.ADMISSION, Consent("app-2026-001"), "loan-desk")
LISTED, OTHER = (resident(1), phone(1)), (resident(2), phone(2))
LOAN: dict[str, Any] = {"category": Category.ACTIVE_LOAN, "severity": Severity.NONE}


def run(act: Awaitable[T]) -> T:
    """Run to the end."""

    async def whole() -> T:
        return await act

    return asyncio.run(whole())


def ask(lender: Lender, *persons: Person, bulk: bool = False) -> Answers:
    """Ask about persons."""
    return run(lender.desk.ask(persons, TERMS, bulk=bulk))


@pytest.fixture
def lender() -> Lender:
    """East bank, before anything is listed."""
    return Lender()


def test_a_hit_an_exposure_and_a_miss(lender: Lender) -> None:
    """What is listed under an evaluated identifier is found by it, and by no other."""
    lender.listed.publish("west-bank", LISTED)
    lender.listed.publish("far-bank", LISTED, **LOAN)
    hit, miss = ask(lender, Person(LISTED[1:]), Person(OTHER)).signals
    assert {one.category for one in hit.listings} == {Category.CONFIRMED_DEFAULT, Category.ACTIVE_LOAN}
    assert (hit.lenders, hit.exposure.loan_lenders) == (2, 1)
    assert miss == NOTHING


def test_all_identifiers_go_into_one_request_each_once(lender: Lender) -> None:
    """Persons that share a phone cost its evaluation once, and both are told of what is listed under it."""
    lender.listed.publish("west-bank", (phone(1),))
    answers = ask(lender, Person(LISTED), Person((resident(2), phone(1))))
    assert lender.keys.asked == [(1, 3, False)]
    assert [len(one.listings) for one in answers.signals] == [1, 1]


def test_every_epoch_that_is_served_is_asked(lender: Lender) -> None:
    """In a rotation listings of both epochs are found, and merged by their pseudonyms."""
    lender.keys.known = lender.listed.served = [1, 2]
    lender.listed.publish("west-bank", LISTED, epoch=1, **LOAN)
    lender.listed.publish("west-bank", LISTED, epoch=2, **LOAN)
    lender.listed.publish("far-bank", LISTED, epoch=1, **LOAN)
    answers = ask(lender, Person(LISTED))
    assert [one.epoch for one in answers.epochs] == [1, 2]
    assert [one.epochs for one in answers.signals[0].listings] in ([(1, 2), (1,)], [(1,), (1, 2)])
    assert answers.signals[0].exposure.loan_lenders == 2


def test_an_epoch_that_is_not_served_any_more_is_not_asked(lender: Lender) -> None:
    """An old key stays known; without a log there is nothing to ask it for."""
    lender.keys.known, lender.listed.served = [1, 2], [2]
    assert [one.epoch for one in ask(lender, Person(LISTED)).epochs] == [2]


@pytest.mark.parametrize(
    ("known", "served", "too_old", "said"),
    [
        ([], [], False, "group key to ask with"),
        ([1], [], False, "listings of epoch 1"),
        ([1, 2], [1], False, "listings of epoch 2"),
        ([2], [1, 2], False, "group key of epoch 1"),
        ([1], [1], True, "older than"),
    ],
)
def test_what_cannot_be_looked_up_is_an_error_before_anything_is_asked(
    lender: Lender, known: list[int], served: list[int], too_old: bool, said: str
) -> None:
    """A key or a copy that is missing, or a copy that is too old, is never "nothing is listed", and costs no quota."""
    lender.keys.known, lender.listed.served, lender.listed.too_old = known, served, too_old
    with pytest.raises(UnavailableError, match=said):
        ask(lender, Person(LISTED))
    assert lender.keys.asked == []


def test_a_copy_that_becomes_too_old_meanwhile_is_an_error(lender: Lender) -> None:
    """The lookup after the evaluation refuses as well."""
    evaluate = lender.keys.all_keys

    def slowly(*identifiers: object) -> object:
        lender.listed.too_old = True
        return evaluate(*identifiers)  # type: ignore[arg-type] # as they came

    lender.keys.all_keys = slowly  # type: ignore[method-assign,assignment] # time passes while holders answer
    with pytest.raises(UnavailableError, match="older than"):
        ask(lender, Person(LISTED))


def test_missing_holders_are_an_error_that_is_recorded(lender: Lender) -> None:
    """Fewer holders than are needed: the error names them, nothing is said, and the audit log says who asked."""
    lender.keys.down = True
    with pytest.raises(UnavailableError, match="west-bank"):
        ask(lender, Person(LISTED))
    (asked, _), (event, fields) = lender.records.written
    assert (asked, event) == ("signals.asked", "signals.not_answered")
    assert (fields["code"], fields["system"]) == ("unavailable", "loan-desk")


def test_questions_are_recorded_and_answers_are_not(lender: Lender) -> None:
    """Who, why and how many: the same record for a hit as for a miss, but for its id, and no identifier in it."""
    lender.listed.publish("west-bank", LISTED)
    for person in (LISTED, OTHER):
        ask(lender, Person(person))
    (event, hit), (_, miss) = lender.records.written
    assert event == "signals.asked"
    assert lender.keys.question_ids == [hit.pop("question_id"), miss.pop("question_id")]
    assert len(set(lender.keys.question_ids)) == 2
    assert hit == miss == {
        "system": "loan-desk",
        "purpose": "admission",
        "consent": "app-2026-001",
        "persons": 1,
        "identifier_count": 2,
    }  # fmt: skip
    assert lender.keys.terms == [(Purpose.ADMISSION, "app-2026-001")] * 2


def test_an_answer_that_cannot_be_recorded_is_not_given(lender: Lender) -> None:
    """The record is on the disk before the answer: a full disk ends the question."""

    async def full(event: str, /, **fields: object) -> None:
        raise UnavailableError("the audit journal cannot be written")

    lender.records.append = full  # type: ignore[method-assign] # the disk is full
    with pytest.raises(UnavailableError, match="journal"):
        ask(lender, Person(OTHER))


def test_how_each_epoch_was_asked_is_told(lender: Lender) -> None:
    """Generation, quorum, proofs, who lied, and how fresh the copy is."""
    lender.listed.publish("west-bank", LISTED)
    (asked,) = ask(lender, Person(LISTED)).epochs
    assert (asked.generation, asked.quorum, asked.proofs_verified) == (7, ("east-bank", "west-bank"), 1)
    assert [(one.member, one.why) for one in asked.blamed] == [("far-bank", "false proof")]
    assert (asked.replica.size, asked.replica.age is not None) == (2, True)


def test_publishing_is_no_purpose_of_questions() -> None:
    """Evaluations for publishing are reconciled with appends; questions are not among them."""
    with pytest.raises(InvalidInputError, match="admission, portfolio, investigation"):
        Terms(Purpose.PUBLISHING, Consent("app-1"), "loan-desk")


def test_identifiers_are_canonical_once_and_few() -> None:
    """Two spellings of one phone are one identifier; a broken one is refused by its rule, without its value."""
    spelt = [Given("phone", "CN", "138 0000 0001"), Given("phone", "CN", "+86-13800000001")]
    assert person_of(spelt).identifiers == (phone(1),)
    with pytest.raises(InvalidInputError, match="resident_id") as refused:
        person_of([Given("resident_id", "CN", "110105194912310021")])
    assert "110105194912310021" not in str(refused.value)
    many = [Given("phone", "CN", f"1380000{number:04d}") for number in range(MOST_IDENTIFIERS + 1)]
    for wrong in ([], many):
        with pytest.raises(InvalidInputError, match="1 to 16"):
            person_of(wrong)


# -- books ------------------------------------------------------------------------------------------------------------


async def _rows(rows: Sequence[Row], at_once: int) -> AsyncIterator[Sequence[Row]]:
    for start in range(0, len(rows), at_once):
        yield rows[start : start + at_once]


def _screen(lender: Lender, rows: Sequence[Row], *, at_once: int = 10, part: int = 40) -> list[Screened]:
    async def whole() -> list[Screened]:
        return [one async for one in screened(lender.desk, TERMS, _rows(rows, at_once), part=part)]

    return run(whole())


def _row(number: int, value: str = "") -> Row:
    return Row(number, (Given("phone", "CN", value or phone(number).canonical),))


def test_a_book_is_asked_about_in_parts_and_hits_keep_their_rows(lender: Lender) -> None:
    """100 persons in parts of at least 40 identifiers: listed ones are found under their rows."""
    for number in (3, 50, 99):
        lender.listed.publish("west-bank", (phone(number),))
    parts = _screen(lender, [_row(number) for number in range(100)])
    assert [row for part in parts for row, _ in part.found] == [3, 50, 99]
    assert sum(part.persons for part in parts) == 100
    assert [(count, bulk) for _, count, bulk in lender.keys.asked] == [(40, True), (40, True), (20, True)]


def test_rows_that_break_a_rule_are_told_and_not_asked_about(lender: Lender) -> None:
    """A broken phone is no "nothing is listed": its row comes back with the rule, the others are asked about."""
    rows = [_row(1), _row(2, "12"), Row(3, ())]
    (part,) = _screen(lender, rows)
    assert [row for row, _ in part.refused] == [2, 3]
    assert "phone: " in part.refused[0][1]
    assert part.persons == 3
    assert lender.keys.asked == [(1, 1, True)]


def test_a_book_of_broken_rows_asks_nothing(lender: Lender) -> None:
    """Nothing is evaluated where nothing is sound."""
    (part,) = _screen(lender, [_row(1, "12")])
    assert (part.persons, part.found, part.epochs, lender.keys.asked) == (1, [], (), [])


def test_broken_rows_fill_parts_as_well(lender: Lender) -> None:
    """*A stream of rows that are never asked about*: what is kept for them is bounded."""
    parts = _screen(lender, [_row(number, "12") for number in range(100)], part=40)
    assert [part.persons for part in parts] == [40, 40, 20]


def test_an_empty_book_has_no_parts(lender: Lender) -> None:
    """There is nothing to tell."""
    assert _screen(lender, []) == []


def test_a_book_ends_where_holders_go_away(lender: Lender) -> None:
    """Parts before are answered, then there is an error, and no part says that nothing is listed."""
    parts: list[Screened] = []

    async def whole() -> None:
        async for part in screened(lender.desk, TERMS, _rows([_row(one) for one in range(100)], 10), part=40):
            parts.append(part)
            lender.keys.down = True

    with pytest.raises(UnavailableError):
        run(whole())
    assert sum(part.persons for part in parts) == 40
