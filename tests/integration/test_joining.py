"""Joining over real sockets: founding, bad tokens, approvals, replaced keys."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_served import served
from joining_steps import FOUNDERS, approve, changed, found, wait_for_candidate
from jointrisk.errors import (
    ConflictError,
    DeadlineError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
)
from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.signing import public_bytes
from node_at_test import NodeAtTest

# -- founding ----------------------------------------------------------------------------------------------------------


async def test_founders_join_and_compare_the_same_string(tmp_path: Path) -> None:
    """Over real sockets, with the members' keys pinned and the same at everybody."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        memberships = [node.membership() for node in nodes.values()]
    assert {tuple(membership.trusted()) for membership in memberships} == {FOUNDERS}
    assert len({membership.fingerprints().federation for membership in memberships}) == 1
    assert memberships[0].fingerprints().coordinator == fingerprint(coordinator.authority.public_key)
    assert memberships[0].coordinator_address == f"127.0.0.1:{coordinator.port}"
    assert not any(node.state.path("keys/joining.sealed").exists() for node in nodes.values())


async def test_the_same_token_again_is_no_second_member(tmp_path: Path) -> None:
    """A person who gives the command twice changes nothing."""
    async with served(tmp_path / "c") as coordinator:
        node, token = NodeAtTest(tmp_path / "ant"), coordinator.invitation("ant")
        first = await node.join(token)
        again = await node.join(token)
        assert (again.fingerprints(), again.transport()) == (first.fingerprints(), first.transport())
        assert coordinator.refusals() == []
        assert len(coordinator.office.history.members) == 1


async def test_a_member_is_not_taken_into_another_federation(tmp_path: Path) -> None:
    """A token of another coordinator, or for another name, is refused before anything is sent."""
    async with served(tmp_path / "c") as coordinator, served(tmp_path / "d") as other:
        node = NodeAtTest(tmp_path / "ant")
        await node.join(coordinator.invitation("ant"))
        for token in (other.invitation("ant"), coordinator.invitation("bee")):
            with pytest.raises(ConflictError, match="is ant of testing"):
                await node.join(token)
        assert other.refusals() == []


# -- tokens that are not good ------------------------------------------------------------------------------------------


async def test_bad_tokens_are_refused_over_the_wire(tmp_path: Path) -> None:
    """Wrong secret, unknown invitation, expired, used: each with its class of error, and on record at both."""
    async with served(tmp_path / "c") as coordinator:
        node = NodeAtTest(tmp_path / "ant")
        token = coordinator.invitation("ant")
        for wrong in (changed(token, secret=bytes(32)), changed(token, invitation_id="f" * 32)):
            with pytest.raises(UnauthenticatedError, match="not known here, or its secret is wrong"):
                await node.join(wrong)
        coordinator.clock.move(days=3)
        with pytest.raises(RefusedError, match="expired"):
            await node.join(token)
        used = coordinator.invitation("bee")
        await NodeAtTest(tmp_path / "bee").join(used)
        with pytest.raises(RefusedError, match="used before"):
            await NodeAtTest(tmp_path / "thief").join(used)
        assert coordinator.refusals() == ["wrong secret", "unknown", "expired", "reused"]
        assert node.events() == ["membership.join_failed"] * 3


async def test_a_mistyped_token_sends_nothing(tmp_path: Path) -> None:
    """It is told before the network is touched."""
    async with served(tmp_path / "c") as coordinator:
        token = coordinator.invitation("ant")
        with pytest.raises(InvalidInputError, match="mistyped"):
            await NodeAtTest(tmp_path / "ant").join(token[:40] + "x" + token[40:])
        assert coordinator.refusals() == []


# -- approvals ---------------------------------------------------------------------------------------------------------


async def test_a_later_member_joins_when_two_have_approved(tmp_path: Path) -> None:
    """The candidate waits, two people compare and approve, everybody then works with it."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        dog = NodeAtTest(tmp_path / "dog")
        joining = asyncio.create_task(dog.join(coordinator.invitation("dog")))
        compared = fingerprint(public_bytes(dog.keys.identity()))
        await wait_for_candidate(coordinator, "dog")
        answers = [await approve(nodes[name], "dog", compared) for name in ("ant", "bee")]
        assert answers == [(1, 2, False), (2, 2, True)]
        assert list((await joining).trusted()) == [*FOUNDERS, "dog"]
        async with nodes["cat"].link() as link:
            assert await link.refresh_roster()
            assert not await link.refresh_roster()
        assert "dog" in nodes["cat"].membership().trusted()


async def test_a_wrong_fingerprint_approves_nothing(tmp_path: Path) -> None:
    """The person compared something else: no signature leaves the node."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        coordinator.join("dog")
        async with nodes["ant"].link() as link:
            with pytest.raises(InvalidInputError, match="fingerprint"):
                await link.approve("dog", fingerprint(bytes(32)))
            with pytest.raises(NotFoundError, match="does not wait"):
                await link.approve("eel", fingerprint(bytes(32)))
        assert coordinator.office.admissions()[0].approved_by == ()


async def test_waiting_survives_a_coordinator_that_restarts(tmp_path: Path) -> None:
    """While it is away the candidate waits on; giving up names what to do, and the same token goes on."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        dog, token = NodeAtTest(tmp_path / "dog"), coordinator.invitation("dog")
        with pytest.raises(DeadlineError, match="not approved") as error:
            await dog.join(token, give_up_after=timedelta(seconds=0.3))
        assert "same command" in error.value.remedy
        joining = asyncio.create_task(dog.join(token))
        await asyncio.sleep(0.3)
        await coordinator.stop()
        await asyncio.sleep(0.3)
        await coordinator.start()
        compared = fingerprint(public_bytes(dog.keys.identity()))
        for name in ("ant", "cat"):
            await approve(nodes[name], "dog", compared)
        assert "dog" in (await joining).trusted()


async def test_a_lost_key_is_replaced_with_everybodys_consent(tmp_path: Path) -> None:
    """A member comes back with a new machine: others approve and accept, who has not accepted does not work with it."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        old = nodes["cat"]
        new = NodeAtTest(tmp_path / "cat-again")
        joining = asyncio.create_task(new.join(coordinator.invitation("cat", replace_key=True)))
        await wait_for_candidate(coordinator, "cat")
        compared = fingerprint(public_bytes(new.keys.identity()))
        async with nodes["ant"].link() as link:
            pinned, state = await link.accept("cat", compared)
            assert (pinned, state.admitted if state else None) == (False, False)
        await approve(nodes["bee"], "cat", compared)
        assert list((await joining).trusted()) == ["ant", "bee", "cat"]
        for name in ("ant", "bee"):
            async with nodes[name].link() as link:
                await link.refresh_roster()
        assert list(nodes["ant"].membership().trusted()) == ["ant", "bee", "cat"]
        assert list(nodes["bee"].membership().trusted()) == ["ant", "bee"]
        async with nodes["bee"].link() as link:
            assert await link.accept("cat", compared) == (True, None)
        strings = {node.membership().fingerprints().federation for node in (nodes["ant"], nodes["bee"], new)}
        assert len(strings) == 1
        async with old.link() as link:
            with pytest.raises(RefusedError):
                await link.refresh_roster()


async def test_a_node_whose_certificate_ran_out_comes_back(tmp_path: Path) -> None:
    """Same identity key, new invitation: no approvals, and its pins stay."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        before, pair = nodes["cat"].membership(), nodes["cat"].keys.transport()
        after = await nodes["cat"].join(coordinator.invitation("cat", replace_key=True))
        assert after.transport() != pair
        assert after.fingerprints() == before.fingerprints()
        async with nodes["cat"].link() as link:
            assert await link.candidates() == []
