"""Ports over real sockets: TLS 1.3 alone, members alone, one protocol, typed errors."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from jointrisk import protocol
from jointrisk.errors import JointriskError, NotFoundError, RefusedError, UnavailableError, VersionMismatchError
from jointrisk.federation import certificates as pki
from jointrisk.federation.names import COORDINATOR, COORDINATOR_SERVER_NAME
from jointrisk.rpc import tls
from jointrisk.rpc.channel import channel
from jointrisk.rpc.errors import CODE_KEY, from_rpc
from jointrisk.rpc.guard import Check, Context, Guard
from jointrisk.rpc.server import add_health_and_reflection, bind, check_protocol, new_server
from jointrisk.rpc.v1 import contract_pb2 as pb
from jointrisk.rpc.v1 import contract_pb2_grpc as pb_grpc

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Pki:
    """A federation's certificates."""

    def __init__(self, federation: str = "test") -> None:
        key = pki.new_transport_key()
        certificate = pki.issue_authority(federation, key, now=NOW, lifetime=DAY)
        self.issuer = pki.Issuer(certificate, key)
        self.ca = pki.certificate_to_pem(certificate)
        self.federation = federation

    def pair(self, name: str) -> pki.KeyPair:
        """Return a fresh key pair for a member."""
        key = pki.new_transport_key()
        leaf = pki.issue_leaf(
            self.issuer, key.public_key(), federation=self.federation, member_id=name, now=NOW, lifetime=DAY
        )
        return pki.KeyPair(pki.key_to_pem(key), pki.certificate_to_pem(leaf))


class Contracts(pb_grpc.ContractServiceServicer):
    """Fails as asked by the version: 1 with our error, 2 with an unforeseen one."""

    async def GetContract(self, request: pb.GetContractRequest, context: Context) -> pb.GetContractResponse:  # noqa: ARG002, N802
        """Answer."""
        if request.version == 1:
            raise NotFoundError("no contract of version 1", remedy="Publish one.")
        if request.version == 2:
            raise ZeroDivisionError("secret text of an unforeseen error")
        return pb.GetContractResponse()


@dataclass
class Served:
    """A running server."""

    authority: Pki
    port: int
    refused: list[tuple[str, JointriskError]]

    def channel(self, pair: pki.KeyPair | None, *, ca: bytes | None = None) -> aio.Channel:
        """Return a client channel."""
        return channel(
            f"127.0.0.1:{self.port}", ca=ca or self.authority.ca, pair=pair, server_name=COORDINATOR_SERVER_NAME
        )


@asynccontextmanager
async def served(*checks: Check) -> AsyncIterator[Served]:
    """Serve the contract service with these checks."""
    authority = Pki()
    refused: list[tuple[str, JointriskError]] = []

    async def on_refused(context: Context, method: str, error: JointriskError) -> None:
        refused.append((method, error))

    server = new_server(Guard([check_protocol, *checks], on_refused))
    pb_grpc.add_ContractServiceServicer_to_server(Contracts(), server)
    add_health_and_reflection(server, [pb.DESCRIPTOR.services_by_name["ContractService"]])
    pair = authority.pair(COORDINATOR)
    port = bind(server, "127.0.0.1:0", tls.server_credentials(lambda: pair, authority.ca))
    await server.start()
    try:
        yield Served(authority, port, refused)
    finally:
        await server.stop(None)


async def call(opened: aio.Channel, version: int = 0) -> pb.GetContractResponse:
    """Call once, with typed errors."""
    async with opened:
        try:
            return await pb_grpc.ContractServiceStub(opened).GetContract(
                pb.GetContractRequest(version=version), timeout=10
            )
        except grpc.RpcError as failure:
            raise from_rpc(failure, peer="the server") from failure


def handshake(port: int, version: ssl.TLSVersion) -> str | None:
    """Offer exactly one TLS version and return what was agreed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as secure:
        return secure.version()


async def test_tls_1_2_is_refused_and_1_3_is_taken() -> None:
    """A client that offers TLS 1.2 gets no handshake; 1.3 does."""
    async with served() as server:
        assert await asyncio.to_thread(handshake, server.port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(handshake, server.port, ssl.TLSVersion.TLSv1_2)


async def test_a_member_is_served_and_named_by_its_certificate() -> None:
    """The identity that a check sees is the SAN's."""
    seen: list[str] = []

    async def remember(context: Context, method: str) -> None:
        seen.append(tls.peer(context).member_id)

    async with served(remember) as server:
        await call(server.channel(server.authority.pair("bank")))
    assert seen == ["bank"]


async def test_without_a_certificate_nothing_is_served() -> None:
    """The handshake asks for a client certificate."""
    async with served() as server:
        with pytest.raises(UnavailableError):
            await call(server.channel(None))


async def test_a_certificate_of_another_ca_is_refused() -> None:
    """A foreign CA's member of the same name does not get in, nor does it take our server for its own."""
    foreign = Pki()
    async with served() as server:
        with pytest.raises(UnavailableError):
            await call(server.channel(foreign.pair("bank")))
        with pytest.raises(UnavailableError):
            await call(server.channel(server.authority.pair("bank"), ca=foreign.ca))


async def test_another_protocol_version_gets_a_readable_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names both versions and who should upgrade, and the audit callback hears of it."""
    async with served() as server:
        monkeypatch.setattr("jointrisk.rpc.channel.user_agent", lambda: "jointrisk-protocol/7-9 jointrisk/4.0.0")
        with pytest.raises(VersionMismatchError, match=r"versions 7 to 9.*version 1") as caught:
            await call(server.channel(server.authority.pair("bank")))
        assert "Upgrade this side" in caught.value.remedy
        assert [type(error) for _, error in server.refused] == [VersionMismatchError]


async def test_a_caller_without_a_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary gRPC client cannot call our services by accident."""
    async with served() as server:
        monkeypatch.setattr("jointrisk.rpc.channel.user_agent", lambda: "somebody/1.0")
        with pytest.raises(VersionMismatchError, match="names no jointrisk protocol version"):
            await call(server.channel(server.authority.pair("bank")))


async def test_a_check_that_refuses_ends_the_call() -> None:
    """The handler is not reached."""

    async def refuse(context: Context, method: str) -> None:
        raise RefusedError("not you", remedy="Be somebody else.")

    async with served(refuse) as server:
        with pytest.raises(RefusedError, match="not you") as caught:
            await call(server.channel(server.authority.pair("bank")), version=1)
        assert caught.value.remedy == "Be somebody else."
        assert server.refused[0][0] == "/jointrisk.v1.ContractService/GetContract"


async def test_typed_errors_cross_the_wire_and_others_tell_nothing() -> None:
    """Class, message and remedy of ours arrive; an unforeseen error's text does not."""
    async with served() as server:
        with pytest.raises(NotFoundError, match="no contract of version 1") as ours:
            await call(server.channel(server.authority.pair("bank")), version=1)
        assert ours.value.remedy == "Publish one."
        with pytest.raises(JointriskError) as other:
            await call(server.channel(server.authority.pair("bank")), version=2)
        assert "secret text" not in other.value.message


async def test_health_and_reflection_answer_ordinary_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's probe needs no client of ours."""
    monkeypatch.setattr("jointrisk.rpc.channel.user_agent", lambda: "grpc-probe/1.0")
    async with served() as server, server.channel(server.authority.pair("bank")) as opened:
        asked = health_pb2.HealthCheckRequest(service="jointrisk.v1.ContractService")
        health = await health_pb2_grpc.HealthStub(opened).Check(asked, timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        listing = reflection_pb2_grpc.ServerReflectionStub(opened).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
        )
        async for answer in listing:
            names = {service.name for service in answer.list_services_response.service}
            assert "jointrisk.v1.ContractService" in names


async def test_a_renewed_certificate_is_served_without_a_restart() -> None:
    """The server asks for its key pair at each handshake."""
    authority = Pki()
    current = authority.pair(COORDINATOR)
    server = new_server(Guard())
    port = bind(server, "127.0.0.1:0", tls.open_server_credentials(lambda: current, authority.ca))
    await server.start()

    def presented() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    try:
        first = await asyncio.to_thread(presented)
        current = authority.pair(COORDINATOR)
        second = await asyncio.to_thread(presented)
    finally:
        await server.stop(None)
    assert first != second
    assert second.strip() == current.chain.decode().strip()


def test_versions_that_overlap_take_the_highest_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """N and N-1 work together, N and N-2 do not."""
    monkeypatch.setattr(protocol, "PROTOCOL_MIN", 4)
    monkeypatch.setattr(protocol, "PROTOCOL_MAX", 5)
    assert protocol.negotiate(3, 4, peer="p") == 4
    assert protocol.negotiate(5, 6, peer="p") == 5
    for low, high, who in ((2, 3, "the peer"), (6, 7, "this side")):
        with pytest.raises(VersionMismatchError) as caught:
            protocol.negotiate(low, high, peer="p")
        assert who in caught.value.remedy


def test_every_error_has_its_own_code_and_a_status() -> None:
    """The one table covers the whole tree, so that no error is told as an internal one by accident."""
    from jointrisk.errors import _tree
    from jointrisk.rpc.errors import STATUS, status_of

    class NarrowerError(RefusedError):
        """A narrower class of a capability's own."""

    assert status_of(NarrowerError("no")) is grpc.StatusCode.PERMISSION_DENIED
    tree = _tree(JointriskError)
    assert len({error.code for error in tree}) == len([e for e in tree if "code" in vars(e)])
    uncovered = [e for e in JointriskError.__subclasses__() if e not in STATUS]
    assert uncovered == []
    assert CODE_KEY.lower() == CODE_KEY


def test_the_cipher_setting_is_there_before_grpc_is_loaded() -> None:
    """Importing anything of jointrisk.rpc settles TLS first, in a fresh interpreter too."""
    import subprocess
    import sys

    program = (
        "import sys, os; assert 'grpc' not in sys.modules; import jointrisk.rpc; "
        "assert 'grpc' not in sys.modules; print(os.environ['GRPC_SSL_CIPHER_SUITES'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ECDHE-RSA-AES256-GCM-SHA384"
