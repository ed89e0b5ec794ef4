"""Joining over real sockets: who stands at the join address, and what it may answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from coordinator_served import ServedCoordinator, served
from joining_steps import changed, found
from jointrisk.errors import (
    CorruptError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
    UnavailableError,
)
from jointrisk.federation.certificates import (
    Issuer,
    KeyPair,
    certificate_from_der,
    certificate_to_der,
    issue_authority,
    issue_leaf,
    new_transport_key,
)
from jointrisk.federation.roster import Removed, sign_roster
from jointrisk.rpc.documents import to_message
from jointrisk.rpc.guard import Context, Guard
from jointrisk.rpc.server import bind, new_server
from jointrisk.rpc.tls import open_server_credentials
from jointrisk.rpc.v1 import join_pb2 as pb
from jointrisk.rpc.v1.join_pb2_grpc import JoinServiceServicer, add_JoinServiceServicer_to_server
from jointrisk_coordinator.membership.service import JoinServicer
from node_at_test import NodeAtTest


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
async def serving(servicer: JoinServiceServicer, pair: KeyPair) -> AsyncIterator[str]:
    """Serve a join port with some key pair; yields its address."""
    server = new_server(Guard())
    add_JoinServiceServicer_to_server(servicer, server)
    port = bind(server, "127.0.0.1:0", open_server_credentials(lambda: pair, pair.chain))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


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
        servicer = Impostor(real_ca)
        async with serving(servicer, other.certificate()) as address:
            token = changed(coordinator.invitation("ant"), address=address)
            with pytest.raises(UnauthenticatedError, match="its certificate is not of the CA"):
                await NodeAtTest(tmp_path / "ant").join(token)
        assert servicer.secrets == []


async def test_a_member_cannot_pose_as_the_coordinator(tmp_path: Path) -> None:
    """A certificate of the right CA that names a member does not open the channel."""
    async with served(tmp_path / "c") as coordinator:
        nodes = await found(coordinator, tmp_path)
        pair = nodes["bee"].membership().transport()
        servicer = Impostor(coordinator.authority.certificate_der)
        async with serving(servicer, pair) as address:
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


class Liar(JoinServicer):
    """The invited coordinator itself, which changes its answer before it goes out."""

    def __init__(
        self, coordinator: ServedCoordinator, lie: Callable[[ServedCoordinator, pb.JoinResponse], None]
    ) -> None:
        super().__init__(coordinator.office, f"127.0.0.1:{coordinator.port}")
        self._coordinator = coordinator
        self._lie = lie

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:  # noqa: N802
        """Answer with a lie."""
        response = await super().Join(request, context)
        self._lie(self._coordinator, response)
        return response


def _another_name(coordinator: ServedCoordinator, response: pb.JoinResponse) -> None:
    key = certificate_from_der(response.certificate).public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    response.certificate = _leaf(coordinator, "bee", key)


def _another_key(coordinator: ServedCoordinator, response: pb.JoinResponse) -> None:
    response.certificate = _leaf(coordinator, "ant", new_transport_key().public_key())


def _another_ca(coordinator: ServedCoordinator, response: pb.JoinResponse) -> None:
    key = certificate_from_der(response.certificate).public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    now, own = coordinator.clock(), new_transport_key()
    issuer = Issuer(issue_authority("testing", own, now=now, lifetime=timedelta(days=1)), own)
    leaf = issue_leaf(issuer, key, federation="testing", member_id="ant", now=now, lifetime=timedelta(days=1))
    response.certificate = certificate_to_der(leaf)


def _leaf(coordinator: ServedCoordinator, name: str, key: EllipticCurvePublicKey) -> bytes:
    now = coordinator.clock()
    return certificate_to_der(coordinator.authority.issue(name, key, now=now, lifetime=timedelta(days=1)))


def _another_federation(coordinator: ServedCoordinator, response: pb.JoinResponse) -> None:
    roster = coordinator.office.roster
    terms = roster.terms.model_copy(update={"federation": "elsewhere"})
    changed = roster.model_copy(update={"terms": terms})
    response.roster.CopyFrom(to_message(sign_roster(changed, coordinator.authority.identity_key)))


def _without_the_node(coordinator: ServedCoordinator, response: pb.JoinResponse) -> None:
    changed = coordinator.office.roster.model_copy(update={"changes": ()})
    response.roster.CopyFrom(to_message(sign_roster(changed, coordinator.authority.identity_key)))


def _already_removed(coordinator: ServedCoordinator, response: pb.JoinResponse) -> None:
    roster = coordinator.office.roster
    removal = Removed(version=roster.version, at=roster.issued_at, member_id="ant")
    first = roster.changes[0].model_copy(update={"version": 1})
    changed = roster.model_copy(update={"changes": (first, removal)})
    response.roster.CopyFrom(to_message(sign_roster(changed, coordinator.authority.identity_key)))


def _short_key(_: ServedCoordinator, response: pb.JoinResponse) -> None:
    response.coordinator_key = b"short"


def _other_coordinator_key(_: ServedCoordinator, response: pb.JoinResponse) -> None:
    response.coordinator_key = bytes(32)


def _no_address(_: ServedCoordinator, response: pb.JoinResponse) -> None:
    response.coordinator_address = "nowhere"


def _no_certificate(_: ServedCoordinator, response: pb.JoinResponse) -> None:
    response.certificate = b"rubbish"


@pytest.mark.parametrize(
    "lie",
    [
        _another_name,
        _another_key,
        _another_ca,
        _another_federation,
        _without_the_node,
        _already_removed,
        _short_key,
        _other_coordinator_key,
        _no_address,
        _no_certificate,
    ],
)
async def test_an_answer_that_does_not_fit_makes_no_member(
    tmp_path: Path, lie: Callable[[ServedCoordinator, pb.JoinResponse], None]
) -> None:
    """Certificate, key, address and roster are verified before anything is stored; an honest answer then works."""
    async with served(tmp_path / "c") as coordinator:
        node, honest = NodeAtTest(tmp_path / "ant"), coordinator.invitation("ant")
        async with serving(Liar(coordinator, lie), coordinator.certificate()) as address:
            with pytest.raises((CorruptError, RefusedError, InvalidInputError)):
                await node.join(changed(honest, address=address))
        with pytest.raises(NotFoundError):
            node.membership()
        assert not node.state.path("keys/transport.sealed").exists()
        assert list((await node.join(honest)).trusted()) == ["ant"]
