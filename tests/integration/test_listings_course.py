"""Listings among real processes: published, asked about, changed, brought into another epoch, without some members."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

import listings_course as steps
from ceremonies_held import parsed
from listing_federation import MEMBERS, Answer, ListingFederation, categories, row
from listings_compared import require_counted, require_replicas
from listings_course import LATE, LATE_OLDEST, Course
from local_federation import wait_until
from postgres import private_postgres

pytestmark = [pytest.mark.federation, pytest.mark.timeout(400)]

_NOT_NOW, _BAD_INPUT = 7, 2
_SHORT_OF_HOLDERS = 20.0
"""Seconds after a key ceremony in which questions can fail, because not everybody has learnt of the key."""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListingFederation]:
    """Three members that hold a key, 2 of 3."""
    with ListingFederation(tmp_path_factory.mktemp("listings-course") / "federation") as made:
        made.begin()
        yield made


@pytest.fixture(scope="module")
def course(federation: ListingFederation) -> Course:
    """The course, once for all tests."""
    return steps.live(federation)


def said(answer: Answer, *names: str) -> list[tuple[Any, ...]]:
    """Return fields of the listings of an answer."""
    return sorted(tuple(one[name] for name in names) for one in answer["listings"])


def require_refusal_by_all(text: str, *names: str) -> None:
    """An error names who is missing and why, and cannot be taken for an answer."""
    for name in names:
        assert name in text.split("missing:", 1)[1]
    assert "Nothing was looked up" in text
    assert "not found" not in text.lower()


def test_a_file_with_broken_rows_is_refused_whole(course: Course) -> None:
    """Nothing of it is sent; each broken row is named by number, column and rule, never by what it holds."""
    ended = course.ended["refused file"]
    report = json.loads(ended.out)
    assert (ended.code, report["refused"], report["listed"]) == (_BAD_INPUT, 3, 0)
    assert [(one["row"], one["column"]) for one in report["refusals"]] == [
        (7, "resident_id"),
        (8, "category"),
        (9, "listed_on"),
    ]
    assert course.logs["refused file"][1]["size"] == 0
    assert "gossip" not in ended.out + ended.err


def test_the_other_rows_are_listed_once(course: Course) -> None:
    """With the option sound rows of CSV and Parquet are listed; the same file again lists nothing."""
    reports = course.reports
    told = [(reports[one]["listed"], reports[one]["entries"], reports[one]["refused"]) for one in ("csv", "parquet")]
    assert told == [(6, 12, 3), (2, 4, 0)]
    assert (reports["again"]["listed"], reports["again"]["already"]) == (0, 6)


@pytest.mark.parametrize("name", [*MEMBERS, "the late member"])
def test_a_hit_and_a_miss_at_every_member(course: Course, name: str) -> None:
    """Everybody finds what ash lists, ash as its own; about a stranger nothing is listed. Proofs are verified."""
    hit, miss = course.answers[f"hit at {name}"], course.answers[f"miss at {name}"]
    assert said(hit, "category", "severity", "own") == [("confirmed_default", "high", name == "ash")]
    assert (hit["lenders"], hit["other_lenders"], hit["unopened"]) == (1, int(name != "ash"), [])
    assert (miss["listings"], miss["lenders"], miss["unopened"]) == ([], 0, [])
    others = 1 if name in MEMBERS else 2
    assert all((one["proofs_verified"], one["blamed"]) == (others, []) for one in hit["epochs"] + miss["epochs"])


def test_loans_at_several_lenders_show(course: Course) -> None:
    """Distinct lenders are counted, and what is a loan is told apart from a default."""
    exposed, twice = course.answers["exposed"], course.answers["lent twice"]
    assert categories(exposed) == ["active_loan", "confirmed_default"]
    assert (exposed["lenders"], exposed["exposure"]["active_loan_lenders"]) == (2, 1)
    assert (twice["lenders"], twice["exposure"]["active_loan_lenders"], twice["exposure"]["active_loans"]) == (2, 2, 2)


def test_changes_are_seen_with_the_next_synchronisation(course: Course) -> None:
    """A correction replaces, a dispute shows until it ends, and what is withdrawn is gone."""
    answers, reports = course.answers, course.reports
    assert said(answers["corrected"], "severity", "disputed") == [("low", False)]
    assert said(answers["disputed"], "severity", "disputed") == [("high", True)]
    assert said(answers["dispute ended"], "severity", "disputed") == [("high", False)]
    assert answers["withdrawn"]["listings"] == []
    assert (reports["corrected"]["listed"], reports["corrected"]["refusals"][0]["row"]) == (1, 2)
    assert (reports["disputed"]["taken"], reports["disputed"]["unknown"]) == (1, [2])
    assert (reports["renewed"]["taken"], reports["renewed"]["waiting"]) == (10, 0)


def test_a_rotation_brings_everything_along(course: Course) -> None:
    """The listers publish again by themselves; one listing is told once, and ends in both epochs."""
    logs = course.logs["rotated"]
    assert (logs[1]["live"], logs[2]["live"]) == (16, 16)
    assert "served_until" in logs[1]
    after = course.answers["after the rotation"]
    assert said(after, "category", "epochs") == [("confirmed_default", [1, 2])]
    assert ([one["epoch"] for one in after["epochs"]], after["lenders"]) == ([1, 2], 1)
    gone = course.answers["withdrawn after the rotation"]
    assert (gone["listings"], len(gone["epochs"])) == ([], 2)


def test_no_question_is_answered_wrongly_while_the_key_is_rotated(course: Course) -> None:
    """Each has the listing in it or is an error; errors end soon after the ceremony."""
    for ended, _ in course.watched:
        assert ended.code in {0, _NOT_NOW}, ended
        if ended.code == 0:
            assert categories(parsed(ended)["signals"][0]) == ["confirmed_default"]
    failed = [at for ended, at in course.watched if ended.code != 0]
    assert not failed or failed[-1] - failed[0] < _SHORT_OF_HOLDERS


def test_a_holder_that_is_down_is_not_needed(course: Course) -> None:
    """The other two answer, in both epochs."""
    answer = course.answers["one holder down"]
    assert categories(answer) == ["confirmed_default"]
    assert [one["quorum"] for one in answer["epochs"]] == [["ash", "cedar"]] * 2


def test_too_few_holders_are_an_error_that_names_them(course: Course) -> None:
    """Never an answer, neither about who is listed nor about who is not."""
    for what in ("two holders down", "a miss with two holders down"):
        ended = course.ended[what]
        ended.require_refusal(_NOT_NOW, "2 holders are needed, 1 can be had")
        require_refusal_by_all(ended.err, "ash", "birch")


def test_an_old_copy_is_an_error(course: Course) -> None:
    """Without the coordinator a node answers until its copy is as old as its limit, and again when it is back."""
    assert 0 < course.seconds <= LATE_OLDEST + 1
    course.ended["an old copy"].require_refusal(_NOT_NOW, "listings of epoch 1 that are at most 10 s old")
    assert categories(course.answers["a copy that is not too old"]) == ["confirmed_default"], "its limit is an hour"
    assert categories(course.answers["a copy that is current again"]) == ["confirmed_default"]


def test_a_removed_member_neither_asks_nor_lists(course: Course) -> None:
    """Holders refuse it; what it has listed stays until the operator ends it, in every epoch."""
    asked, listed = course.ended["asked by a removed member"], course.ended["listed by a removed member"]
    for ended in (asked, listed):
        assert ended.code == _NOT_NOW, ended
        require_refusal_by_all(ended.err, "ash", "cedar")
    assert categories(course.answers["listed before the removal"]) == ["active_loan", "confirmed_default"]
    assert course.reports["entries of a removed member"]["entries"] == 8
    assert categories(course.answers["removed with its member"]) == ["confirmed_default"]


def test_a_book_is_screened_as_single_persons_are(federation: ListingFederation, course: Course) -> None:
    """The late member finds the same about a file; the number of persons without anything is told, not who they are."""
    assert course.answers
    numbers = [steps.HIT, steps.NOBODY, steps.WITHDRAWN, steps.CORRECTED]
    fields = ("resident_id", "phone")
    book = federation.file("book.csv", [{name: row("ash", n)[name] for name in fields} for n in numbers])
    out = federation.root / "found.csv"
    words = ("--purpose", "portfolio", "--consent", "book/1", "--out", out, "--json")
    told = parsed(federation.at(LATE, "signals", "screen", book, *words))
    assert (told["persons"], told["listed"], told["unopened"], told["refused"]) == (4, 2, 0, 0)
    with Path(out).open(encoding="utf-8", newline="") as file:
        assert sorted(int(one["row"]) for one in csv.DictReader(file)) == [1, 4]


def test_both_sides_audited_the_same(federation: ListingFederation, course: Course) -> None:
    """By request id; and every audit log is sound."""
    assert course.answers
    require_counted(federation)
    federation.require_sound_audits()


@pytest.mark.slow
def test_listings_live_in_postgresql(tmp_path: Path) -> None:
    """The coordinator's log and a lister's rows: published, corrected, disputed, withdrawn, across a kill of both."""
    with private_postgres() as server, ListingFederation(tmp_path / "federation") as made:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("CREATE DATABASE coordinator")
            connection.execute("CREATE DATABASE ash")
        made.begin(stores={name: store(server, name) for name in ("coordinator", "ash")})
        made.publish("ash", made.file("some.csv", [row("ash", number) for number in range(6)]))
        made.wait_live(12)
        parsed(made.listings("ash", "correct", made.file("one.csv", [row("ash", 1, severity="low")]), "--json"))
        made.change("ash", "dispute", ["ash/2"])
        made.change("ash", "withdraw", ["ash/3"])
        for daemon in (made.coordinator, made.nodes["ash"]):
            daemon.kill()
        made.start_again()
        made.wait_live(10)
        wait_until(lambda: made.query("ash", 0).code == 0, "an answer after the restart", 60)
        require_replicas(made, 1)
        told = [said(made.answer("cedar", number), "severity", "disputed") for number in range(4)]
        assert told == [[("high", False)], [("low", False)], [("high", True)], []]


def store(server: str, database: str) -> str:
    """Return the table of settings that puts a daemon's state there."""
    url = make_url(server).set(drivername="postgresql+psycopg", database=database)
    return f'[store]\nurl = "{url.render_as_string(hide_password=False)}"\n'
