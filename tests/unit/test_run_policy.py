"""A node's run policy: each rule, named in its refusal."""

from typing import Any

import pytest
from pydantic import ValidationError

from jointrisk.errors import RefusedError
from jointrisk.federation.policy import RunOffer, RunPolicy, decide

OFFER = RunOffer(
    run_id="run-1",
    task="probe",
    strategy="fedavg",
    rounds=3,
    run_seed=1,
    members=("alder", "birch", "cedar"),
    minimum_members=3,
    contract_version=0,
    code_version="0.1.0+abc",
)


def judge(policy: RunPolicy, **changed: Any) -> None:
    """Decide about a changed offer, at birch."""
    known = changed.pop("known", OFFER.members)
    offer = OFFER.model_copy(update=changed)
    decide(policy, offer, member_id="birch", known_members=known, code_version="0.1.0+abc")


def test_default_policy_lets_an_ordinary_run_through() -> None:
    """What `init` writes works with what `runs start` sends."""
    judge(RunPolicy())


def test_task_outside_the_list_is_refused() -> None:
    """The refusal names the rule, what is allowed and what was offered."""
    with pytest.raises(RefusedError, match='"tasks": allowed are probe; offered is "default_model"'):
        judge(RunPolicy(tasks=("probe",)), task="default_model")


def test_too_few_parties_are_refused() -> None:
    """The guarantee counts, not how many happen to take part."""
    with pytest.raises(RefusedError, match='"minimum_parties": at least 3 members in each aggregate; offered are 2'):
        judge(RunPolicy(), minimum_members=2)


def test_strangers_do_not_count_as_parties() -> None:
    """Members that the roster does not know could all be the coordinator."""
    with pytest.raises(RefusedError, match="offered are 3, of whom this node's roster does not know cedar"):
        judge(RunPolicy(), known=("alder", "birch"))
    judge(RunPolicy(minimum_parties=2), known=("alder", "birch"))


@pytest.mark.parametrize(
    ("rule", "offered", "allowed"),
    [
        ("same", "0.1.0+abc", True),
        ("same", "0.1.0+other", False),
        ("any", "whatever", True),
        ("0.2.0+x", "0.2.0+x", True),
        (("0.2.0+x", "0.3.0+y"), "0.3.0+y", True),
        (("0.2.0+x", "0.3.0+y"), "0.1.0+abc", False),
    ],
)
def test_code_version(rule: str | tuple[str, ...], offered: str, allowed: bool) -> None:
    """The same code as installed here, any, or one of a list."""
    if allowed:
        judge(RunPolicy(code_version=rule), code_version=offered)
        return
    with pytest.raises(RefusedError, match='"code_version"'):
        judge(RunPolicy(code_version=rule), code_version=offered)


def test_offer_that_does_not_name_this_node_is_refused() -> None:
    """A node takes part only where it is counted."""
    with pytest.raises(RefusedError, match="does not name birch"):
        judge(RunPolicy(), members=("alder", "cedar", "dogwood"))


@pytest.mark.parametrize("members", [["b", "a"], ["a", "a"], ["a", "../b"]])
def test_offer_lists_members_in_order_once_each(members: list[str]) -> None:
    """A member's number is its place, so the places have to be unambiguous."""
    with pytest.raises(ValidationError):
        RunOffer.model_validate(OFFER.model_dump() | {"members": members})


def test_plain_runs_need_a_policy_that_says_so() -> None:
    """The coordinator would see this node's part."""
    with pytest.raises(RefusedError, match='policy rule "plain_aggregation"'):
        judge(RunPolicy(), aggregation="plain")
    judge(RunPolicy(plain_aggregation=True), aggregation="plain")


def test_secure_runs_provide_for_as_many_colluders_as_the_policy_says() -> None:
    """Where the run does not say, that follows from the members and is judged with the terms of each sum."""
    with pytest.raises(RefusedError, match='policy rule "colluders": secure sums have to provide for 2; offered are 1'):
        judge(RunPolicy(colluders=2), colluders=1)
    judge(RunPolicy(colluders=2), colluders=2)
    judge(RunPolicy(colluders=2))
