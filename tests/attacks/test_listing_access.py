"""Who else than the lender's own systems asks at the port of signals: over TLS, with everything that can be shown."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from grpc import aio

from coordinator_at_test import MovableClock
from jointrisk.clock import utc_now
from jointrisk.errors import JointriskError, RefusedError, UnauthenticatedError, UnavailableError
from jointrisk.federation import certificates as pki
from jointrisk.federation.names import member_server_name
from jointrisk.listing.label import Category, Severity
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import evaluation_pb2, signal_access_pb2
from jointrisk.rpc.v1 import signal_pb2 as pb
from jointrisk.rpc.v1.evaluation_pb2_grpc import EvaluationServiceStub
from jointrisk.rpc.v1.signal_access_pb2_grpc import NodeAccessOperatorStub
from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.signals import SignalSettings
from jointrisk_node.signals.access import AccessDesk, token_text
from jointrisk_node.signals.ledger import AccessLedger
from jointrisk_node.signals.listening import SignalPort
from jointrisk_node.store.tables import load_tables
from signal_sample import Lender, phone, resident

DAY = timedelta(days=1)
PERSON = pb.Person(identifiers=[pb.PersonIdentifier(kind="phone", country="CN", value="138 0000 0001")])
QUERY = pb.QueryRequest(persons=[PERSON], purpose=evaluation_pb2.ADMISSION, consent_reference="app-1")
TERMS = pb.ScreenRequest(terms=pb.ScreenTerms(purpose=evaluation_pb2.PORTFOLIO, consent_reference="book-1"))
LENDER = "east-bank"


class Authority:
    """A CA, and certificates of it in any name."""

    def __init__(self, name: str) -> None:
        self._key, self._name, self._now = pki.new_transport_key(), name, utc_now()
        self._certificate = pki.issue_authority(name, self._key, now=self._now, lifetime=DAY)
        self.pem = pki.certificate_to_pem(self._certificate)

    def pair(self, name: str) -> pki.KeyPair:
        """Return a key and its certificate."""
        key = pki.new_transport_key()
        leaf = pki.issue_leaf(
            pki.Issuer(self._certificate, self._key),
            key.public_key(),
            federation=self._name,
            member_id=name,
            now=self._now,
            lifetime=DAY,
        )
        return pki.KeyPair(pki.key_to_pem(key), pki.certificate_to_pem(leaf))


class House:
    """A lender's node with its port, and a customer who is listed elsewhere."""

    def __init__(self, root: Path) -> None:
        engine = make_engine(f"sqlite:///{root / 'node.db'}")
        load_tables().create_all(engine)
        store = Store(engine)
        self.root = root
        self.clock = MovableClock(utc_now())
        self.lender = Lender()
        loan = {"category": Category.ACTIVE_LOAN, "severity": Severity.NONE}
        self.lender.listed.publish("west-bank", (resident(1), phone(1)), **loan)  # type: ignore[arg-type] # of a label
        self.access = AccessDesk(AccessLedger(store, AuditLog(store)), os.urandom, self.clock)
        self.federation, self.own = Authority("federation"), Authority("own-systems")
        self._pair = self.federation.pair(LENDER)

    @asynccontextmanager
    async def port(self, client_ca: bytes = b"") -> AsyncIterator[int]:
        """Listen; with CAs of callers, every caller shows a certificate."""
        path = self.root / "callers.pem"
        path.write_bytes(client_ca)
        settings = SignalSettings(listen="127.0.0.1:0", client_ca=str(path) if client_ca else "")
        made = SignalPort(
            self.lender.desk,
            self.access,
            self.lender.records,
            settings,
            transport=lambda: self._pair,
            ca=self.federation.pem,
        )
        await made.start()
        yield made.port
        await made.stop(0)

    def line(self, port: int, pair: pki.KeyPair | None = None) -> aio.Channel:
        """Return a caller's channel."""
        credentials = grpc.ssl_channel_credentials(self.federation.pem, *((pair.key, pair.chain) if pair else ()))
        options = [("grpc.ssl_target_name_override", member_server_name(LENDER))]
        return aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options)

    async def refused(self, port: int, authorization: str = "", pair: pki.KeyPair | None = None) -> JointriskError:
        """Ask about the customer; return the error, the same for one person and for a book."""
        metadata = (("authorization", authorization),) if authorization else ()
        async with self.line(port, pair) as channel:
            with pytest.raises(aio.AioRpcError) as query:
                await SignalServiceStub(channel).Query(QUERY, metadata=metadata, timeout=10)
            with pytest.raises(aio.AioRpcError) as screen:
                await SignalServiceStub(channel).Screen(iter([TERMS]), metadata=metadata, timeout=10).read()
        errors = [from_rpc(one.value, peer="the node") for one in (query, screen)]
        assert len({(type(one), one.message) for one in errors}) == 1
        return errors[0]

    def nobody_was_asked_about(self) -> bool:
        """Tell whether nothing was evaluated for the callers, and nothing that they showed is on record."""
        written = repr(self.lender.records.written)
        return self.lender.keys.asked == [] and "jrt_" not in written and "13800000001" not in written


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house with nobody let in."""
    return House(tmp_path)


def shown_without_right(house: House) -> Mapping[str, str]:
    """Return what is shown by callers who have no access, or none any more."""
    _, revoked = house.access.add("revoked", ["query", "screen"])
    house.access.revoke("revoked")
    _, expired = house.access.add("expired", ["query", "screen"], expires_at=house.clock() + timedelta(hours=1))
    grant, valid = house.access.add("valid", ["query", "screen"])
    house.clock.now += timedelta(hours=1)
    return {
        "nothing": "",
        "another token": f"Bearer {token_text(os.urandom(32))}",
        "a token of zeros": f"Bearer {token_text(bytes(32))}",
        "a revoked token": f"Bearer {revoked}",
        "an expired token": f"Bearer {expired}",
        "half a token": f"Bearer {valid[: len(valid) // 2]}",
        "a token twice": f"Bearer {valid}{valid}",
        "a token without its form": valid,
        "basic": "Basic " + valid,
        "what the database holds": f"Bearer {token_text(grant.proof)}",
        "the hash in hex": f"Bearer {grant.proof.hex()}",
        "its name": "Bearer valid",
        "kilobytes": "Bearer " + "A" * 4000,
    }


async def test_nobody_without_access_is_answered(house: House) -> None:
    """No token, a wrong, revoked or expired one, or what somebody who reads the database has."""
    tries = shown_without_right(house)
    async with house.port() as port:
        for what, authorization in tries.items():
            assert isinstance(await house.refused(port, authorization), UnauthenticatedError), what
    assert house.nobody_was_asked_about()


async def test_a_role_is_for_its_method(house: House) -> None:
    """Who may ask about one person may not screen a book, and the other way round."""
    _, query = house.access.add("loan-desk", ["query"])
    _, screen = house.access.add("risk-desk", ["screen"])
    async with house.port() as port, house.line(port) as channel:
        stub = SignalServiceStub(channel)
        with pytest.raises(aio.AioRpcError) as asked:
            await stub.Query(QUERY, metadata=(("authorization", f"Bearer {screen}"),))
        with pytest.raises(aio.AioRpcError) as screened:
            await stub.Screen(iter([TERMS]), metadata=(("authorization", f"Bearer {query}"),)).read()
    assert {type(from_rpc(one.value, peer="the node")) for one in (asked, screened)} == {RefusedError}
    assert house.nobody_was_asked_about()


async def test_a_members_certificate_is_no_access(house: House) -> None:
    """Whoever else is in the federation, and the node itself: not where TLS asks for none, nor where it asks for one.

    Not even where somebody has set the federation's CA as that of the lender's own systems.
    """
    for client_ca in (b"", house.federation.pem):
        async with house.port(client_ca) as port:
            for name in ("west-bank", LENDER, "coordinator"):
                error = await house.refused(port, pair=house.federation.pair(name))
                assert isinstance(error, UnauthenticatedError)
    async with house.port(house.own.pem) as port:
        assert isinstance(await house.refused(port, pair=house.federation.pair("west-bank")), UnavailableError)
    assert house.nobody_was_asked_about()


async def test_certificates_of_others_are_no_access(house: House) -> None:
    """Of another CA of the same name, none at all, one of the own CA that is not pinned, and one that was revoked."""
    pinned = house.own.pair("crm")
    house.access.add("crm", ["query", "screen"], certificate=pinned.chain)
    async with house.port(house.own.pem) as port:
        async with house.line(port, pinned) as channel:
            assert len((await SignalServiceStub(channel).Query(QUERY)).signals[0].listings) == 1
        house.lender.keys.asked.clear()
        for stranger in (Authority("own-systems").pair("crm"), None):
            assert isinstance(await house.refused(port, pair=stranger), UnavailableError)
        assert isinstance(await house.refused(port, pair=house.own.pair("crm")), UnauthenticatedError)
        house.access.revoke("crm")
        assert isinstance(await house.refused(port, pair=pinned), UnauthenticatedError)
    assert house.nobody_was_asked_about()


async def test_a_token_opens_nothing_else(house: House) -> None:
    """What is for operators, and what is for other members, is not served at this port."""
    _, token = house.access.add("loan-desk", ["query", "screen"])
    metadata = (("authorization", f"Bearer {token}"),)
    async with house.port() as port, house.line(port) as channel:
        for call in (
            NodeAccessOperatorStub(channel).AddAccess(signal_access_pb2.AddAccessRequest(), metadata=metadata),
            NodeAccessOperatorStub(channel).ListAccess(signal_access_pb2.ListAccessRequest(), metadata=metadata),
            EvaluationServiceStub(channel).Evaluate(evaluation_pb2.EvaluateRequest(), metadata=metadata),
        ):
            with pytest.raises(aio.AioRpcError) as failed:
                await call
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
