"""Signals over real sockets: the lender's own systems over TLS, and the commands at the operator socket."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pyarrow.parquet as pq
import pytest
from grpc import aio

from command_in_process import jointrisk
from jointrisk.errors import JointriskError, RefusedError, TooLargeError, UnauthenticatedError, UnavailableError
from jointrisk.federation import certificates as pki
from jointrisk.federation.names import member_server_name
from jointrisk.listing.label import Category, Severity
from jointrisk.operator_socket import operator_socket
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind_unix, check_protocol, new_server
from jointrisk.rpc.v1 import evaluation_pb2
from jointrisk.rpc.v1 import signal_pb2 as pb
from jointrisk.rpc.v1.signal_access_pb2_grpc import add_NodeAccessOperatorServicer_to_server
from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub, add_SignalServiceServicer_to_server
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_node.settings import TEMPLATE
from jointrisk_node.signals import SignalSettings
from jointrisk_node.signals.access import AccessDesk
from jointrisk_node.signals.book import result_columns
from jointrisk_node.signals.ledger import AccessLedger
from jointrisk_node.signals.listening import SignalPort
from jointrisk_node.signals.service import AccessServicer, SignalServicer, at_the_socket
from jointrisk_node.store.tables import load_tables
from signal_sample import Lender, phone, resident
from terminal import Terminal

DAY = timedelta(days=1)
LOAN = {"category": Category.ACTIVE_LOAN, "severity": Severity.NONE}
PERSON = pb.Person(identifiers=[pb.PersonIdentifier(kind="phone", country="CN", value="138 0000 0001")])
QUERY = pb.QueryRequest(persons=[PERSON], purpose=evaluation_pb2.ADMISSION, consent_reference="app-1")


class Pki:
    """A CA and its certificates."""

    def __init__(self, name: str = "test") -> None:
        self.key = pki.new_transport_key()
        self.name = name
        self.now = datetime.now(UTC)
        self.authority = pki.issue_authority(name, self.key, now=self.now, lifetime=DAY)
        self.ca = pki.certificate_to_pem(self.authority)

    def pair(self, name: str) -> pki.KeyPair:
        """Return a key and its certificate."""
        key, issuer = pki.new_transport_key(), pki.Issuer(self.authority, self.key)
        leaf = pki.issue_leaf(
            issuer, key.public_key(), federation=self.name, member_id=name, now=self.now, lifetime=DAY
        )
        return pki.KeyPair(pki.key_to_pem(key), pki.certificate_to_pem(leaf))


class Node:
    """What of a daemon serves signals."""

    def __init__(self, root: Path) -> None:
        engine = make_engine(f"sqlite:///{root / 'node.db'}")
        load_tables().create_all(engine)
        store = Store(engine)
        self.lender = Lender()
        self.access = AccessDesk(AccessLedger(store, AuditLog(store)), os.urandom)
        self.pki = Pki()
        self.pair = self.pki.pair("east-bank")

    @asynccontextmanager
    async def port(self, client_ca: str = "") -> AsyncIterator[int]:
        """Serve the lender's own systems; yield the port."""
        settings = SignalSettings(listen="127.0.0.1:0", client_ca=client_ca)
        port = SignalPort(
            self.lender.desk,
            self.access,
            self.lender.records,
            settings,
            transport=lambda: self.pair,
            ca=self.pki.ca,
        )
        await port.start()
        try:
            yield port.port
        finally:
            await port.stop(0)

    def client(self, port: int, pair: pki.KeyPair | None = None) -> aio.Channel:
        """Return a system's channel, made of what gRPC alone has: it trusts the CA and expects the member's name."""
        shown = (pair.key, pair.chain) if pair else ()
        credentials = grpc.ssl_channel_credentials(self.pki.ca, *shown)
        options = [("grpc.ssl_target_name_override", member_server_name("east-bank"))]
        return aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options)


def bearer(token: str) -> tuple[tuple[str, str]]:
    """Return a call's metadata."""
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """East bank's node; west bank has listed somebody."""
    served = Node(tmp_path)
    served.lender.listed.publish("west-bank", (resident(1), phone(1)), **LOAN)  # type: ignore[arg-type] # of a label
    return served


async def failure(call: object) -> JointriskError:
    """Return the error that a call ends with."""
    with pytest.raises(aio.AioRpcError) as failed:
        await call  # type: ignore[misc] # an aio call
    return from_rpc(failed.value, peer="the node")


def test_a_system_asks_with_its_token(node: Node) -> None:
    """An ordinary gRPC client with the CA and a token gets the answer; the audit log names the system."""
    _, token = node.access.add("loan-desk", ["query"])

    async def whole() -> pb.QueryResponse:
        async with node.port() as port, node.client(port) as channel:
            return await SignalServiceStub(channel).Query(QUERY, metadata=bearer(token))

    answer = asyncio.run(whole())
    assert [one.category for one in answer.signals[0].listings] == ["active_loan"]
    assert answer.signals[0].exposure.active_loan_lenders == 1
    assert [one.replica_size for one in answer.epochs] == [2]
    assert [fields["system"] for _, fields in node.lender.records.written] == ["loan-desk"]


def test_who_may_not_ask_is_refused_and_recorded_a_bounded_number_of_times(node: Node) -> None:
    """No token, a wrong one, no role: errors of their own, records without what was shown, at most 30 a minute."""
    _, token = node.access.add("loan-desk", ["query"])

    async def whole() -> list[JointriskError]:
        async with node.port() as port, node.client(port) as channel:
            stub = SignalServiceStub(channel)
            calls = [stub.Query(QUERY), stub.Query(QUERY, metadata=bearer("jrt_wrong"))]
            errors = [await failure(call) for call in calls]
            screening = stub.Screen(iter([pb.ScreenRequest()]), metadata=bearer(token))
            errors.append(await failure(screening.read()))
            for _ in range(40):
                await failure(stub.Query(QUERY))
            return errors

    errors = asyncio.run(whole())
    assert [type(one) for one in errors] == [UnauthenticatedError, UnauthenticatedError, RefusedError]
    written = node.lender.records.written
    assert [event for event, _ in written] == ["signals.refused"] * 30
    assert "jrt_" not in repr(written)
    assert node.lender.keys.asked == []


def test_a_system_asks_with_its_certificate(node: Node, tmp_path: Path) -> None:
    """A pinned certificate of the systems' own CA is let in.

    Another certificate of that CA is not; who shows none gets no connection.
    """
    own = Pki("own-systems")
    (tmp_path / "own.pem").write_bytes(own.ca)
    crm, stranger = own.pair("crm"), own.pair("stranger")
    node.access.add("crm", ["query"], certificate=crm.chain)

    async def ask(port: int, pair: pki.KeyPair | None) -> pb.QueryResponse:
        async with node.client(port, pair) as channel:
            return await SignalServiceStub(channel).Query(QUERY, timeout=10)

    async def whole() -> tuple[pb.QueryResponse, JointriskError, JointriskError]:
        async with node.port(str(tmp_path / "own.pem")) as port:
            return await ask(port, crm), await failure(ask(port, stranger)), await failure(ask(port, None))

    answer, strange, bare = asyncio.run(whole())
    assert len(answer.signals[0].listings) == 1
    assert (type(strange), type(bare)) == (UnauthenticatedError, UnavailableError)
    assert node.lender.records.written[0][1]["system"] == "crm"


def test_revoking_ends_a_screening_that_goes_on(node: Node) -> None:
    """Parts after the revocation are not answered."""
    _, token = node.access.add("risk-desk", ["screen"])
    terms = pb.ScreenTerms(purpose=evaluation_pb2.PORTFOLIO, consent_reference="book-1")

    async def whole() -> JointriskError:
        async with node.port() as port, node.client(port) as channel:
            call = SignalServiceStub(channel).Screen(metadata=bearer(token))
            await call.write(pb.ScreenRequest(terms=terms))
            await call.write(pb.ScreenRequest(persons=pb.ScreenPersons(persons=[_person(1)])))
            node.access.revoke("risk-desk")
            await call.done_writing()
            return await failure(call.read())

    assert isinstance(asyncio.run(whole()), UnauthenticatedError)


def test_too_many_persons_at_once_are_refused(node: Node) -> None:
    """Books go through Screen."""
    _, token = node.access.add("loan-desk", ["query"])
    request = pb.QueryRequest(
        persons=[PERSON] * 101, purpose=evaluation_pb2.ADMISSION, consent_reference="app-1"
    )  # fmt: skip

    async def whole() -> JointriskError:
        async with node.port() as port, node.client(port) as channel:
            return await failure(SignalServiceStub(channel).Query(request, metadata=bearer(token)))

    assert isinstance(asyncio.run(whole()), TooLargeError)


def _person(number: int) -> pb.ScreenPerson:
    value = phone(number).canonical
    return pb.ScreenPerson(row=number, identifiers=[pb.PersonIdentifier(kind="phone", country="CN", value=value)])


# -- commands ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(node: Node, tmp_path: Path) -> Iterator[Path]:
    """The state directory of a daemon that serves signals at its operator socket."""
    root = tmp_path / "home"
    StateDir.create(root)
    (root / "node.toml").write_text(TEMPLATE.format(source=""))
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        server = new_server(Guard([check_protocol]))
        add_SignalServiceServicer_to_server(SignalServicer(node.lender.desk, at_the_socket), server)
        add_NodeAccessOperatorServicer_to_server(AccessServicer(node.access), server)
        bind_unix(server, operator_socket(root))
        await server.start()
        started.set()
        await asyncio.to_thread(stop.wait)
        await server.stop(0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(20)
    yield root
    stop.set()
    thread.join()


ASK = ("--purpose", "admission", "--consent", "app-2026-001")


def test_query_shows_listings_exposure_and_how_it_was_asked(home: Path) -> None:
    """A person's identifiers come on standard input; people read a table, and never an identifier."""
    ended = jointrisk("node", "--home", home, "signals", "query", *ASK, given="phone CN 138 0000 0001\n")
    assert ended.code == 0, ended
    for said in ("1 listing of 1 lender", "active loan", "1 at 1 lender", "1 proof verified", "2 log entries",
                 "far-bank answered falsely", "request "):  # fmt: skip
        assert said in ended.out
    assert "13800000001" not in ended.out.replace(" ", "")


def test_query_of_somebody_unlisted_says_so(home: Path) -> None:
    """JSON on standard input as well; JSON comes out with --json, the wire contract's names in it."""
    given = json.dumps([{"kind": "phone", "country": "CN", "value": "13800000002"}])
    ended = jointrisk("node", "--home", home, "signals", "query", *ASK, given=given)
    assert "Nothing is listed." in ended.out
    plain = json.loads(jointrisk("node", "--home", home, "signals", "query", *ASK, "--json", given=given).out)
    assert plain["signals"][0]["listings"] == []
    assert plain["epochs"][0]["quorum"] == ["east-bank", "west-bank"]


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("13800000001",), "", "no identifier on the command line"),
        ((), "", "expected identifiers on standard input"),
        ((), "phone 13800000001\n", "line 1: expected kind, country and value"),
        ((), '[{"kind": "phone"}]', "expected JSON such as"),
        ((), "phone CN 12\n", "phone: "),
        ((), "telegram CN 13800000001\n", "kind: "),
    ],
)
def test_query_refuses_what_it_cannot_ask_and_never_repeats_it(
    home: Path, arguments: tuple[str, ...], given: str, said: str
) -> None:
    """Identifiers as arguments, none at all, broken ones: an error, never "nothing is listed"."""
    ended = jointrisk("node", "--home", home, "signals", "query", *ASK, *arguments, given=given)
    ended.require_refusal(2, said)
    assert "138000" not in ended.err


def test_consent_and_purpose_are_required(home: Path) -> None:
    """Without a purpose or a consent reference nothing is asked; an identifier is no reference."""
    lines = "phone CN 13800000001\n"
    for without in (ASK[:2], ASK[2:]):
        assert jointrisk("node", "--home", home, "signals", "query", *without, given=lines).code == 2
    words = ("--purpose", "admission", "--consent", phone(1).canonical.lstrip("+"))
    jointrisk("node", "--home", home, "signals", "query", *words, given=lines).require_refusal(2, "consent reference")


def test_a_person_at_a_terminal_is_asked_and_nothing_is_echoed(home: Path) -> None:
    """Kind and country are shown, the identifier is not."""
    command = Terminal("-m", "jointrisk.cli", "node", "--home", home, "signals", "query", *ASK)
    try:
        for question, answer in (("Kind", "phone"), ("Country", "CN"), ("not shown", "13800000001"), ("another", "")):
            command.expect(question)
            command.type(answer)
        assert command.end() == 0, command.shown
    finally:
        command.abandon()
    assert "1 listing of 1 lender" in command.shown
    assert "13800000001" not in command.shown


def test_screen_writes_hits_and_refused_rows(home: Path, tmp_path: Path) -> None:
    """A book of 1,201 persons: the listed one and the broken one, with the customer's id, in a file for its owner."""
    book = tmp_path / "book.csv"
    lines = [f"c{number},{phone(number).canonical}" for number in range(1200)]
    book.write_text("\n".join(["Customer,phone", *lines, "broken,12"]) + "\n")
    out = tmp_path / "hits.parquet"
    ended = jointrisk(
        "node", "--home", home, "signals", "screen", book, *ASK, "--keep", "Customer", "--out", out, "--json"
    )  # fmt: skip
    assert ended.code == 0, ended
    report = json.loads(ended.out)
    counts = {"persons": 1201, "listed": 1, "unopened": 0, "refused": 1}
    assert {name: report[name] for name in counts} == counts
    assert report["epochs"][0]["generation"] == 7
    hit, broken = pq.read_table(out).to_pylist()
    assert (hit["row"], hit["Customer"], hit["outcome"], hit["lenders"], hit["loan_lenders"]) == (
        2,
        "c1",
        "listed",
        1,
        1,
    )
    assert hit["listings"].startswith("active_loan none 2026-01-31 to 2031-01-31")
    assert (broken["row"], broken["Customer"], broken["outcome"]) == (1201, "broken", "refused")
    assert broken["reason"].startswith("phone: ")
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_book_without_hits_is_a_header(home: Path, tmp_path: Path) -> None:
    """A result without rows says which columns it has; people are told on standard error how many are listed."""
    book, out = tmp_path / "book.csv", tmp_path / "hits.csv"
    book.write_text("phone\n13800000007\n")
    ended = jointrisk("node", "--home", home, "signals", "screen", book, *ASK, "--out", out)
    assert ended.code == 0, ended
    assert out.read_text().splitlines() == [",".join(f'"{name}"' for name in result_columns())]
    assert "0 of 1 persons are listed" in ended.err


def test_a_book_that_holders_do_not_answer_for_writes_nothing(home: Path, node: Node, tmp_path: Path) -> None:
    """Half a result would look like a whole one."""
    book, out = tmp_path / "book.csv", tmp_path / "hits.csv"
    book.write_text("phone\n13800000001\n")
    node.lender.keys.down = True
    ended = jointrisk("node", "--home", home, "signals", "screen", book, *ASK, "--out", out)
    ended.require_refusal(7, "west-bank")
    assert not list(tmp_path.glob("*hits*"))


def test_a_book_without_identifiers_is_refused(home: Path, node: Node, tmp_path: Path) -> None:
    """A misspelt column is no book of unlisted persons."""
    book = tmp_path / "book.csv"
    book.write_text("fone\n13800000001\n")
    ended = jointrisk("node", "--home", home, "signals", "screen", book, *ASK, "--out", tmp_path / "hits.csv")
    ended.require_refusal(2, "column of identifiers")
    assert node.lender.keys.asked == []


def test_access_is_given_listed_and_taken_away(home: Path) -> None:
    """A token is shown once; the list says who has access, and never a token."""
    added = jointrisk("node", "--home", home, "access", "add", "loan-desk", "--role", "query", "--expires", "90d")
    assert added.code == 0, added
    token = added.out.strip()
    assert token.startswith("jrt_")
    listed = jointrisk("node", "--home", home, "access", "list").out
    assert "loan-desk" in listed
    assert "query" in listed
    assert token not in listed
    assert jointrisk("node", "--home", home, "access", "revoke", "loan-desk").out == "revoked\n"
    assert "No system may ask" in jointrisk("node", "--home", home, "access", "list").out
