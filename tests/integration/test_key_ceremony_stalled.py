"""Key ceremonies that stall after agreement, or whose end a member misses: nothing is lost, and nobody is held up."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations

import pytest

from ceremonies_held import QUICK, CeremonyFederation, Status, key_of, parsed
from key_course import MEMBERS
from local_federation import wait_until

pytestmark = [pytest.mark.federation, pytest.mark.slow]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeremonyFederation]:
    """Four members; ash, birch and cedar hold a key."""
    root = tmp_path_factory.mktemp("ceremony-stalled")
    with CeremonyFederation(root / "federation", founding_members=len(MEMBERS)) as made:
        made.populate(MEMBERS, QUICK)
        assert made.hold("start", "--threshold", 2, "--holders", "ash,birch,cedar")["state"] == "done"
        yield made


@contextmanager
def paused(federation: CeremonyFederation, name: str) -> Iterator[None]:
    """Have a node stand still for the time of the block."""
    os.kill(federation.nodes[name].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(federation.nodes[name].pid, signal.SIGCONT)


@contextmanager
def agreed_but_cedar(federation: CeremonyFederation) -> Iterator[Status]:
    """Refresh as far as ash and birch have agreed and cedar has not seen what they dealt; in the block it pauses."""
    federation.given(2, "ash,birch,cedar")
    ceremony = federation.propose("refresh", "--dealers", "ash,birch")
    federation.approve_by(("ash", "birch"), ceremony)
    with ExitStack() as pauses:
        with paused(federation, "birch"):  # nobody deals before it has said where to seal its shares to
            federation.approve_by(("cedar",), ceremony)
            federation.wait_for_messages(ceremony, 2)
            pauses.enter_context(paused(federation, "cedar"))
        assert sorted(federation.wait_for_messages(ceremony, 7)) == ["deal"] * 2 + ["echo"] * 2 + ["keys"] * 3
        yield ceremony


def test_a_ceremony_that_stalls_after_agreement_holds_nobody_up(federation: CeremonyFederation) -> None:
    """What was agreed to cannot be taken back by an order, yet another ceremony overtakes it, and it is forgotten."""
    with agreed_but_cedar(federation) as stalled:
        assert parsed(federation.ask("abort", "--json"))["state"] == "running"
        done = federation.propose("rotate", "--threshold", 2, "--holders", "ash,birch,dill")
        federation.approve_by(("ash", "birch", "dill"), done)
        assert federation.ended(done)["state"] == "done"
    listed = federation.settled(done)
    assert all(stalled["generation"] not in {one["generation"] for one in listed[name]} for name in MEMBERS)
    wait_until(
        lambda: not any(federation.ceremonies_of(name) for name in MEMBERS), "the stalled one to be forgotten", 15
    )
    assert federation.hold("refresh")["state"] == "done"


def test_of_two_ceremonies_from_one_generation_one_is_made(federation: CeremonyFederation) -> None:
    """The one that was to be given up ends well after all: what was proposed instead of it is over, in words."""
    with agreed_but_cedar(federation) as first:
        federation.ask("abort")
        second = federation.propose("rotate", "--threshold", 2, "--holders", "ash,birch,dill")
        federation.approve_by(("ash", "birch"), second)
    over = federation.ended(second)
    assert (over["state"], over["detail"]) == ("aborted", f"overtaken by generation {first['generation']}")
    federation.approve("dill", second).require_refusal(4, "the ceremony is over")
    listed = federation.settled(first)
    assert {listed[name][-1]["generation"] for name in MEMBERS} == {first["generation"]}
    done = federation.hold("rotate")
    assert (done["state"], done["generation"]) == ("done", second["generation"] + 1)
    assert over["group_key"] == ""


def test_who_misses_the_end_gets_its_share_later(federation: CeremonyFederation) -> None:
    """Killed after it agreed, back only after another ceremony: its share is there, and the older ones go."""
    with agreed_but_cedar(federation) as missed:
        federation.nodes["birch"].kill()
    wait_until(lambda: federation.status()["state"] == "done", "the refresh to be done without birch")
    later = federation.propose("rotate", "--threshold", 2, "--holders", "ash,cedar,dill")
    federation.approve_by(("ash", "cedar", "dill"), later)
    assert federation.ended(later)["state"] == "done"
    federation.start_again()

    def kept(name: str) -> dict[int, str]:
        return {one["generation"]: one["ours"] for one in federation.generations(name)}

    number, holders = missed["generation"], ("ash", "birch", "cedar")
    wait_until(lambda: kept("birch").get(number) == "holds a share", "birch to have its share", 15)
    replaced = max(one for one in kept("ash") if one < number)
    wait_until(lambda: all(kept(name)[replaced] == "its share is deleted" for name in holders), "no older shares", 15)
    shares = {index: federation.held(name)[number] for index, name in enumerate(holders, 1)}
    public = next(one["group_key"] for one in federation.generations("dill") if one["generation"] == number)
    for chosen in combinations(shares, 2):
        assert key_of({index: shares[index] for index in chosen}).hex() == public
    federation.require_sound_audits()
