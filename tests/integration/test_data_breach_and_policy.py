"""Who does not train, and what people on both sides are told: a broken book, a policy that says no."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lender_books import Row, add_lender, publish_sample, run_settings, sound_rows, write_book
from local_federation import CommandFailedError, LocalFederation, wait_until

pytestmark = pytest.mark.federation

SECRET = "Zhang-110101199003070011"
BROKEN: list[Row] = [
    {"income": SECRET, "purpose": "car", "branch": "b", "has_phone": 1, "bad": 0},
    {"income": 7654321.25, "purpose": SECRET, "branch": "b", "has_phone": 1, "bad": 1},
    {"income": 7654322.25, "purpose": "car", "branch": "b", "has_phone": "", "bad": 0},
]
EXPECTED = {
    ("income", "not a number", 1, 41),
    ("income", "out of range", 2, 42),
    ("purpose", "category not allowed", 1, 42),
    ("has_phone", "missing value", 1, 43),
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """Three lenders: one with whatever book the test gives it, one that wants three parties, one for probes only."""
    root = tmp_path_factory.mktemp("breach")
    with LocalFederation(root / "f", approvals_required=1) as made:
        made.init_coordinator()
        made.coordinator.start()
        publish_sample(made)
        add_lender(made, "bank", book=root / "bank.csv")
        add_lender(made, "careful", book=write_book(root / "careful.csv", sound_rows()), minimum_parties=3)
        add_lender(made, "reserved", book=write_book(root / "reserved.csv", sound_rows()), tasks=["probe"])
        made.wait_online()
        for node in made.nodes.values():
            wait_until(lambda node=node: node.json("status")["contract_version"] == 1, "the contract")  # type: ignore[misc]
        yield made


@pytest.fixture
def book(federation: LocalFederation) -> Path:
    """The bank's book, which each test writes anew."""
    return federation.root.parent / "bank.csv"


def said(run: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what every member said to a run's offer, and why."""
    return {one["member_id"]: (one["state"], one["reason"]) for one in run["participants"]}


def test_data_check_says_what_is_wrong_where_and_how_often(federation: LocalFederation, book: Path) -> None:
    """Column, rule, number of rows, first row; never a value; exit code 9."""
    write_book(book, [*sound_rows(), *BROKEN])
    bank = federation.nodes["bank"]
    with pytest.raises(CommandFailedError) as caught:
        bank.command("data", "check")
    assert caught.value.code == 9
    report = bank.json("data", "check", check=False)
    assert report["rows"] == 43
    assert {(b["column"], b["rule"], b["count"], b["row"]) for b in report["breaches"]} == EXPECTED
    told = bank.command("data", "check", check=False) + caught.value.stderr + str(report)
    assert not any(value in told for value in (SECRET, "7654321", "7654322"))


def test_a_broken_book_does_not_train_and_the_coordinator_is_told_why(federation: LocalFederation, book: Path) -> None:
    """Nobody is left, so the run fails, and `runs show` has every member's reason; no value of a row is in it."""
    write_book(book, [*sound_rows(), *BROKEN])
    run = federation.run(run_settings(members=1))
    assert (run["state"], run["rounds_done"]) == ("failed", 0)
    answers = said(run)
    assert {state for state, _ in answers.values()} == {"refused"}
    for column, rule, count, row in EXPECTED:
        rows = f"in {count} row{'s' if count > 1 else ''}, first row {row}"
        assert any(
            part.startswith(f"{column}: {rule} (") and part.endswith(rows) for part in _parts(answers["bank"][1])
        )
    assert answers["bank"][1].startswith("data_breach: the data breaks the feature contract version 1")
    shown = federation.coordinator.command("runs", "show", run["run_id"])
    listed = federation.coordinator.command("runs", "list")
    assert run["detail"].startswith("0 of at least 1 members accepted. bank: data_breach: ")
    for text in (shown, listed, run["detail"]):
        assert "income: not a number" in " ".join(text.split())
        assert not any(value in text for value in (SECRET, "7654321", "7654322"))


def _parts(reason: str) -> list[str]:
    return [part.strip() for part in reason.split(";")]


def test_refusals_of_policies_reach_runs_show(federation: LocalFederation, book: Path) -> None:
    """Each names its rule, what it allows and what was offered; the run goes on with those who accept."""
    write_book(book, sound_rows())
    run = federation.run(run_settings(members=1, rounds=1))
    assert (run["state"], run["rounds_done"]) == ("done", 1)
    answers = said(run)
    assert answers["bank"] == ("accepted", "")
    assert answers["careful"][0] == answers["reserved"][0] == "refused"
    assert 'policy rule "minimum_parties": at least 3 members in each aggregate; offered are 1' in answers["careful"][1]
    assert 'policy rule "tasks": allowed are probe; offered is "default_model"' in answers["reserved"][1]
    assert run["history"][0]["members"] == ["bank"]
    shown = " ".join(federation.coordinator.command("runs", "show", run["run_id"]).split())
    assert 'offered is "default_model"' in shown


def test_a_run_that_too_few_accept_ends_with_the_reasons(federation: LocalFederation, book: Path) -> None:
    """The minimum is three, one refuses: nobody trains, and the detail says who refused and why."""
    write_book(book, sound_rows())
    run = federation.run(run_settings(members=3))
    assert (run["state"], run["rounds_done"], run["history"]) == ("failed", 0, [])
    assert {member: state for member, (state, _) in said(run).items()} == {
        "bank": "accepted", "careful": "accepted", "reserved": "refused",
    }  # fmt: skip
    assert run["detail"].startswith("2 of at least 3 members accepted. reserved: refused: policy rule")
    entries = federation.coordinator.json("audit", "list", "--event", "run.ended", "--last", "1")
    assert (entries[0]["fields"]["run_id"], entries[0]["fields"]["state"]) == (run["run_id"], "failed")


def test_a_run_that_keeps_every_policy_has_everybody(federation: LocalFederation) -> None:
    """The refusals above were about the offers, not about the members."""
    run = federation.run(run_settings("probe", members=3, rounds=2))
    assert (run["state"], run["rounds_done"]) == ("done", 2)
    assert set(said(run).values()) == {("accepted", "")}


def test_a_book_that_is_gone_is_told_without_a_run_that_hangs(federation: LocalFederation, book: Path) -> None:
    """The node refuses at once; its own people see what is missing, the coordinator's learn no path of the lender's."""
    book.unlink(missing_ok=True)
    run = federation.run(run_settings(members=1))
    assert run["state"] == "failed"
    assert said(run)["bank"][1] == "not_found: the loan book cannot be read; the node's log says why"
    assert str(book) in federation.nodes["bank"].log_tail()
    assert str(book) not in federation.coordinator.log_tail(100)
    with pytest.raises(CommandFailedError, match="expected the loan book") as caught:
        federation.nodes["bank"].command("data", "check")
    assert caught.value.code == 3
