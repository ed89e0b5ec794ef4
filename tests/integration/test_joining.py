"""Joining over real sockets: what is checked before the secret leaves, bad tokens, approvals, kill -9."""

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_served import ServedCoordinator, served
from joining_process import STEPS
from jointrisk.errors import (
    ConflictError,
    DeadlineError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
    UnavailableError,
)
from jointrisk.federation.certificates import KeyPair
from jointrisk.federation.fingerprint import fingerprint
from jointrisk.federation.invitation import decode_token, encode_token
from jointrisk.federation.signing import public_bytes
from jointrisk.rpc.guard import Context, Guard
from jointrisk.rpc.server import bind, new_server
from jointrisk.rpc.tls import open_server_credentials
from jointrisk.rpc.v1 import join_pb2 as pb
from jointrisk.rpc.v1.join_pb2_grpc import JoinServiceServicer, add_JoinServiceServicer_to_server
from node_at_test import NodeAtTest

FOUNDERS = ("ant", "bee", "cat")
TESTS = Path(__file__).parent.parent


async def found(coordinator: ServedCoordinator, root: Path) -> dict[str, NodeAtTest]:
    """Let three founders join, and see each other."""
    nodes = {name: NodeAtTest(root / name) for name in FOUNDERS}
    for name, node in nodes.items():
        await node.join(coordinator.invitation(name))
    for node in nodes.values():
        async with node.link() as link:
            await link.refresh_roster()
    return nodes


async def process(root: Path, token: str, step: str = "never") -> asyncio.subprocess.Process:
    """Start a joining node in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "joining_process", str(root), token, step, env=environment
    )


def changed(token: str, **fields: object) -> str:
    """Return a token with other fields."""
    return encode_token(dataclasses.replace(decode_token(token), **fields))  # type: ignore[arg-type]


class Impostor(JoinServiceServicer):
    """Stands at a join address, with whatever certificates, and keeps what it is sent."""

    def __init__(self, ca_certificate: bytes) -> None:
        self.ca_certificate = ca_certificate
        self.secrets: list[bytes] = []

    async def GetAuthority(self, request: pb.GetAuthorityRequest, context: Context) -> pb.GetAuthorityResponse:  # noqa: ARG002, N802
        """Return some CA certificate."""
        return pb.GetAuthorityResponse(ca_certificate=self.ca_certificate)

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:  # noqa: ARG002, N802
        """Take the secret."""
        self.secrets.append(request.secret)
        return pb.JoinResponse()


@asynccontextmanager
async def impostor(ca_certificate: bytes, pair: KeyPair) -> AsyncIterator[tuple[Impostor, str]]:
    """Serve one; yields it and its address."""
    servicer = Impostor(ca_certificate)
    server = new_server(Guard())
    add_JoinServiceServicer_to_server(servicer, server)
    port = bind(server, "127.0.0.1:0", open_server_credentials(lambda: pair, pair.chain))
    await server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


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


# -- who answers at the join address -----------------------------------------------------------------------------------


async def test_a_foreign_ca_gets_no_secret(tmp_path: Path) -> None:
    """Another coordinator stands at the address: found by the fingerprint, on record at the node."""
    async with served(tmp_path / "c") as coordinator, served(tmp_path / "d") as other:
        token = changed(coordinator.invitation("ant"), address=other.join_address)
        node = NodeAtTest(tmp_path / "ant")
        with pytest.raises(UnauthenticatedError, match="its CA is not the one"):
            await node.join(token)
        assert node.events() == ["membership.join_failed"]
        assert other.events("membership.join") == []
        with pytest.raises(NotFoundError):
            node.membership()


async def test_somebody_in_between_gets_no_secret(tmp_path: Path) -> None:
    """The real CA certificate is public; whoever shows it must also have a certificate of that CA."""
    async with served(tmp_path / "c") as coordinator, served(tmp_path / "d") as other:
        real_ca = coordinator.authority.certificate_der
        async with impostor(real_ca, other.certificate()) as (servicer, address):
            token = changed(coordinator.invitation("ant"), address=address)
            with pytest.raises(UnauthenticatedError, match="its certificate is not of the CA"):
                await NodeAtTest(tmp_path / "ant").join(token)
        assert servicer.secrets == []


async def test_a_member_cannot_pose_as_the_coordinator(tmp_path: Path) -> None:
    """A certificate of the right CA that names a member does not open the channel."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        pair = nodes["bee"].membership().transport()
        async with impostor(coordinator.authority.certificate_der, pair) as (servicer, address):
            token = changed(coordinator.invitation("dog"), address=address)
            with pytest.raises(UnavailableError):
                await NodeAtTest(tmp_path / "dog").join(token)
        assert servicer.secrets == []


async def test_nobody_there_is_told_as_such(tmp_path: Path) -> None:
    """A closed port, and a port that speaks no TLS."""
    plain = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    async with served(tmp_path / "c") as coordinator, plain:
        token = coordinator.invitation("ant")
        await coordinator.stop()
        node = NodeAtTest(tmp_path / "ant")
        for address in (coordinator.join_address, f"127.0.0.1:{port}"):
            with pytest.raises(UnavailableError, match="no coordinator answers"):
                await node.join(changed(token, address=address))


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
        await _wait_for_candidate(coordinator, "dog")
        answers = [await _approve(nodes[name], "dog", compared) for name in ("ant", "bee")]
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
            await _approve(nodes[name], "dog", compared)
        assert "dog" in (await joining).trusted()


async def test_a_lost_key_is_replaced_with_everybodys_consent(tmp_path: Path) -> None:
    """A member comes back with a new machine: others approve and accept, who has not accepted does not work with it."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        old = nodes["cat"]
        new = NodeAtTest(tmp_path / "cat-again")
        joining = asyncio.create_task(new.join(coordinator.invitation("cat", replace_key=True)))
        await _wait_for_candidate(coordinator, "cat")
        compared = fingerprint(public_bytes(new.keys.identity()))
        async with nodes["ant"].link() as link:
            pinned, state = await link.accept("cat", compared)
            assert (pinned, state.admitted if state else None) == (False, False)
        await _approve(nodes["bee"], "cat", compared)
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


# -- kill -9 -----------------------------------------------------------------------------------------------------------


@pytest.mark.federation
@pytest.mark.parametrize("step", STEPS)
async def test_a_join_that_was_killed_goes_on_with_the_same_keys(tmp_path: Path, step: str) -> None:
    """Kill -9 after each step, then the same command: one member, one identity, and it works."""
    async with served(tmp_path / "c") as coordinator:
        token, root = coordinator.invitation("ant"), tmp_path / "ant"
        killed = await process(root, token, step)
        assert await killed.wait() == -signal.SIGKILL
        identity = public_bytes(NodeAtTest(root).keys.identity())
        assert await (await process(root, token)).wait() == 0
        node = NodeAtTest(root)
        assert coordinator.office.history.members["ant"].identity_key == identity
        assert list(coordinator.office.history.members) == ["ant"]
        assert not node.state.path("keys/joining.sealed").exists()
        async with node.link() as link:
            assert not await link.refresh_roster()


@pytest.mark.federation
async def test_a_candidate_killed_while_it_waits_goes_on(tmp_path: Path) -> None:
    """Killed from outside while approvals are missing; the approvals given meanwhile count."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        token, root = coordinator.invitation("dog"), tmp_path / "dog"
        waiting = await process(root, token)
        await _wait_for_candidate(coordinator, "dog")
        waiting.send_signal(signal.SIGKILL)
        await waiting.wait()
        dog = NodeAtTest(root)
        compared = fingerprint(public_bytes(dog.keys.identity()))
        for name in ("bee", "cat"):
            await _approve(nodes[name], "dog", compared)
        assert list((await dog.join(token)).trusted()) == [*FOUNDERS, "dog"]


async def _approve(node: NodeAtTest, name: str, compared: str) -> tuple[int, int, bool]:
    async with node.link() as link:
        answer = await link.approve(name, compared)
    return answer.approvals, answer.approvals_required, answer.admitted


async def _wait_for_candidate(coordinator: ServedCoordinator, name: str) -> None:
    async with asyncio.timeout(30):
        while name not in {one.member_id for one in coordinator.office.admissions()}:  # noqa: ASYNC110 - polls a table
            await asyncio.sleep(0.05)
