"""A holder over mutual TLS: what it answers, and everything that it refuses."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import lmdb
import pytest

from command_in_process import jointrisk
from coordinator_at_test import MovableClock
from evaluation_federation import DealtKey, EvaluationFederation, EvaluationNode
from jointrisk.clock import utc_now
from jointrisk.errors import (
    ConflictError,
    InvalidInputError,
    JointriskError,
    QuotaError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from jointrisk.evaluation import EvaluationAnswer, EvaluationRequest, Purpose, sign_request, verify_answer
from jointrisk.federation.certificates import member_of
from jointrisk.federation.names import member_server_name
from jointrisk.federation.roster import Removed, Roster, sign_roster
from jointrisk.federation.signing import Signed
from jointrisk.oprf.dleq import Proof
from jointrisk.oprf.group import Element
from jointrisk.oprf.holder import Evaluation
from jointrisk.oprf.requester import Batch, blind
from jointrisk.oprf.threshold import Quorum
from jointrisk.rpc.channel import channel
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.evaluations import request_to_message
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind_unix, check_protocol, new_server
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk.rpc.v1 import holder_operator_pb2_grpc
from jointrisk.rpc.v1.evaluation_pb2_grpc import EvaluationServiceStub
from jointrisk.serving import prepare_socket
from jointrisk_node.evaluations.charges import ChargeBook
from jointrisk_node.evaluations.charging import ChargeWriter
from jointrisk_node.evaluations.computing import Evaluator, Places
from jointrisk_node.evaluations.desk import EvaluationDesk
from jointrisk_node.evaluations.operator_service import HolderOperatorService
from jointrisk_node.evaluations.reconciling import Reconciliation
from jointrisk_node.evaluations.retiring import Retirement
from jointrisk_node.evaluations.settings import HolderSettings
from roster_forge import key_of, public_of

DEALT = DealtKey(1, 2, ("ant", "bee"))
SETTINGS = HolderSettings.model_validate(
    {"quota": {"admission": 5000, "portfolio": 20_000, "publishing": 50, "epoch_ceiling": 30_000}}
)


class Served:
    """One node that serves, and what asks it.

    Args:
        federation: whose certificates are used.
        node: the node.
    """

    def __init__(self, federation: EvaluationFederation, node: EvaluationNode) -> None:
        self.federation = federation
        self.node = node
        # Made now: TLS compares them with the machine's clock, whatever the test's says.
        self.pairs = {name: federation.pair(name) for name in ("bee", "cat", "coordinator", "eve")}

    @asynccontextmanager
    async def called_by(self, caller: str) -> AsyncIterator[Any]:
        """Open a channel with a member's certificate."""
        opened = channel(
            self.node.membership.trusted()[self.node.name].address,
            ca=self.node.membership.ca_pem,
            pair=self.pairs[caller],
            server_name=member_server_name(self.node.name),
        )
        async with opened:
            yield EvaluationServiceStub(opened)

    async def ask(self, request: EvaluationRequest, *, signer: str = "cat", caller: str = "cat") -> pb.EvaluateResponse:
        """Ask once.

        Raises:
            JointriskError: what the refusal stands for.
        """
        message = request_to_message(request, sign_request(request, key_of(signer)))
        return await self.send(message, caller)

    async def send(self, message: pb.EvaluateRequest, caller: str = "cat") -> pb.EvaluateResponse:
        """Send a request as it is. Raises as `ask`."""
        async with self.called_by(caller) as stub:
            try:
                answer: pb.EvaluateResponse = await stub.Evaluate(message, timeout=20)
            except grpc.RpcError as failure:
                raise from_rpc(failure, peer=self.node.name) from None
        return answer


@pytest.fixture
def clock() -> MovableClock:
    """Return a clock that starts now: TLS looks at the machine's own."""
    return MovableClock(utc_now())


@pytest.fixture
async def served(tmp_path: Path, clock: MovableClock) -> AsyncIterator[Served]:
    """Return ``ant``, which serves and holds the first of two shares; ``cat`` asks."""
    async with serving(tmp_path, clock) as made:
        yield made


@asynccontextmanager
async def serving(
    root: Path, clock: MovableClock, desk_class: type[EvaluationDesk] = EvaluationDesk
) -> AsyncIterator[Served]:
    """Serve for the time of the block."""
    federation = EvaluationFederation(root, "ant", "bee", "cat", clock=clock)
    node = federation.node("ant", holder=SETTINGS)
    node.keep(DEALT)
    async with node.serving(desk_class):
        yield Served(federation, node)
    await node.close()


def batch_of(number: int) -> Batch:
    """Blind so many inputs."""
    return blind([n.to_bytes(4, "big") for n in range(number)], os.urandom)


def request_of(batch: Batch | None = None, **changed: Any) -> EvaluationRequest:
    """Return a request of ``cat`` to ``ant`` and ``bee``."""
    asked = EvaluationRequest(
        "testing",
        "cat",
        1,
        1,
        os.urandom(16),
        Purpose.ADMISSION,
        ("ant", "bee"),
        bytes(32),
        b"".join((batch or batch_of(1)).elements),
        None,
    )
    return replace(asked, **changed)


def evaluation_of(answer: pb.EvaluateResponse) -> Evaluation:
    """Return an answer as the asker checks it."""
    elements = tuple(Element(answer.elements[at : at + 32]) for at in range(0, len(answer.elements), 32))
    return Evaluation(elements, Proof.from_bytes(answer.proof))


QUORUM = Quorum.of({1: DEALT.key.holders[0][1], 2: DEALT.key.holders[1][1]}, DEALT.key.public_key)


@pytest.mark.parametrize("number", [1, 5, 100])
async def test_an_answer_holds_and_is_signed_and_on_record(served: Served, number: int) -> None:
    """Inline, on the online thread, and as bulk: the proof holds, the signature is over request and answer."""
    batch = batch_of(number)
    request = request_of(batch, purpose=Purpose.PORTFOLIO)
    answer = await served.ask(request)
    QUORUM.check(1, batch, evaluation_of(answer))
    said = EvaluationAnswer(request.digest(), "ant", answer.elements, answer.proof)
    assert verify_answer(said, answer.signature, public_of("ant"))
    again = await served.ask(request)
    assert again.elements == answer.elements
    (record,) = served.node.records("evaluation.answered")
    assert (record["asker"], record["request_id"], record["count"], record["charged"]) == (
        "cat", request.request_id.hex(), number, number
    )  # fmt: skip
    async with served.called_by("cat") as stub:
        quota = await stub.GetQuota(pb.GetQuotaRequest(epoch=1))
    assert (quota.epoch_left, quota.epoch_ceiling) == (30_000 - number, 30_000)
    assert {one.purpose: (one.left, one.capacity, one.period_seconds) for one in quota.purposes}[pb.PORTFOLIO] == (
        20_000 - number,
        20_000,
        30 * 86_400,
    )


BROKEN: Mapping[str, tuple[Callable[[], dict[str, Any]], type[JointriskError]]] = {
    "quorum not sorted": (lambda: {"quorum": ("bee", "ant")}, InvalidInputError),
    "a holder twice": (lambda: {"quorum": ("ant", "ant")}, InvalidInputError),
    "too few holders": (lambda: {"quorum": ("ant",)}, InvalidInputError),
    "too many holders": (lambda: {"quorum": ("ant", "bee", "cat")}, InvalidInputError),
    "a member without a share": (lambda: {"quorum": ("ant", "cat")}, InvalidInputError),
    "others only": (lambda: {"quorum": ("bee", "cat")}, InvalidInputError),
    "another epoch": (lambda: {"epoch": 2}, ConflictError),
    "another generation": (lambda: {"generation": 2}, ConflictError),
    "no elements": (lambda: {"elements": b""}, InvalidInputError),
    "half an element": (lambda: {"elements": bytes(48)}, InvalidInputError),
    "too many elements": (lambda: {"elements": bytes(32 * 4097)}, TooLargeError),
    "the identity": (lambda: {"elements": bytes(32)}, InvalidInputError),
    "no canonical encoding": (lambda: {"elements": b"\xff" * 32}, InvalidInputError),
    "one bad element of many": (lambda: {"elements": batch_of(1).elements[0] * 99 + b"\xff" * 32}, InvalidInputError),
    "another document as head": (lambda: {"head": Signed("roster", b"{}", bytes(64), bytes(32))}, InvalidInputError),
}


async def test_requests_that_break_a_rule_are_refused_whole(served: Served) -> None:
    """Each with its own kind of error; the refusals are on record, nothing of the elements is."""
    for what, (change, kind) in BROKEN.items():
        with pytest.raises(kind) as refused:
            await served.ask(request_of(**change()))
        assert type(refused.value) is kind, what
    records = served.node.records("evaluation.refused")
    assert [one["code"] for one in records] == [kind.code for _, kind in BROKEN.values()]
    assert served.node.heads.brought == []


async def test_fields_of_other_lengths_are_refused(served: Served) -> None:
    """What the signed bytes have no form for."""
    good = request_to_message(request_of(), bytes(64))
    for field, value in (("request_id", bytes(15)), ("consent", bytes(31)), ("signature", bytes(63)), ("purpose", 0)):
        message = pb.EvaluateRequest.FromString(good.SerializeToString())
        setattr(message, field, value)
        with pytest.raises(InvalidInputError):
            await served.send(message)


async def test_only_the_asker_itself_can_ask(served: Served) -> None:
    """Another member's certificate, another's signature, or a changed field: a certificate alone authorises nothing."""
    request = request_of()
    with pytest.raises(UnauthenticatedError, match="not signed"):
        await served.ask(request, signer="bee")
    with pytest.raises(UnauthenticatedError, match="not signed"):
        await served.ask(request, caller="bee")
    changed = request_to_message(replace(request, purpose=Purpose.PUBLISHING), sign_request(request, key_of("cat")))
    with pytest.raises(UnauthenticatedError, match="not signed"):
        await served.send(changed)
    assert served.node.records("evaluation.answered") == []


async def test_nobody_else_comes_through_the_door(served: Served, clock: MovableClock) -> None:
    """A certificate of the CA for who is no member, a refused serial, a removed member, an expired roster."""
    message = request_to_message(request := request_of(), sign_request(request, key_of("cat")))
    for stranger in ("eve", "coordinator"):
        with pytest.raises(UnauthenticatedError, match="no member"):
            await served.send(message, stranger)
    believe_removal(served, "bee", refused=(member_of(served.pairs["cat"].chain).serial,))
    with pytest.raises(UnauthenticatedError, match="certificate is not accepted"):
        await served.send(message)
    believe_removal(served, "cat")
    with pytest.raises(UnauthenticatedError, match="cat is no member"):
        await served.send(message)
    clock.now += timedelta(days=400)
    with pytest.raises(UnavailableError, match="roster expired"):
        await served.send(message)
    assert len(served.node.records("rpc.refused")) == 5


def believe_removal(served: Served, member: str, refused: tuple[str, ...] = ()) -> None:
    """Have the node believe a roster without a member, which refuses certificates."""
    forge = served.federation.forge
    version = served.node.membership.roster.version + 1
    forge.changes.append(Removed(version=version, at=served.node.clock(), member_id=member))
    roster = Roster.parse(served.federation.signed().payload)
    roster = roster.model_copy(update={"version": version, "refused_serials": refused})
    served.node.membership.apply_roster(sign_roster(roster, key_of("coordinator key")))


async def test_a_request_id_stands_for_one_request(served: Served) -> None:
    """The same id with other elements is refused, whatever is left of the quota."""
    first = request_of()
    await served.ask(first)
    with pytest.raises(ConflictError, match="new request id"):
        await served.ask(request_of(request_id=first.request_id))


async def test_what_is_over_the_quota_is_refused(served: Served) -> None:
    """A batch is answered whole or not at all; the code crosses the wire."""
    await served.ask(request_of(batch_of(40), purpose=Purpose.PUBLISHING))
    with pytest.raises(QuotaError, match="at most 10 evaluations for publishing now, got 11; 50 are granted"):
        await served.ask(request_of(batch_of(11), purpose=Purpose.PUBLISHING))
    await served.ask(request_of(batch_of(10), purpose=Purpose.PUBLISHING))


async def test_heads_are_compared_and_brought(served: Served) -> None:
    """A signed request's head goes to the replica, and the holder's own comes back."""
    head, own = (Signed("listing-head", payload, bytes(64), bytes(32)) for payload in (b"{}", b"[]"))
    served.node.heads.own = own
    answer = await served.ask(request_of(head=head))
    assert served.node.heads.brought == [("cat", head)]
    assert answer.head.payload == b"[]"


async def test_nothing_is_given_out_that_could_not_be_charged(
    tmp_path: Path, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: no answer, online or bulk, and the next request is answered again."""

    def full(*_: object) -> None:
        raise lmdb.MapFullError("full")

    async with serving(tmp_path, clock) as served:
        with monkeypatch.context() as patched:
            patched.setattr(ChargeBook, "charge_in", full)
            for number in (1, 100):
                with pytest.raises(UnavailableError, match="cannot be charged"):
                    await served.ask(request_of(batch_of(number)))
        await served.ask(request_of())
        assert len(served.node.records("evaluation.answered")) == 1


async def test_an_answer_that_is_computed_waits_for_its_charge(
    tmp_path: Path, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation begins before the commit; when that fails, it is not given out, and nobody is charged."""
    begun: list[object] = []
    plain = Evaluator.online

    def noted(self: Evaluator, *args: Any) -> Any:
        begun.append(plain(self, *args))
        return begun[-1]

    def fails(self: ChargeWriter, waiting: Any) -> Any:
        with self._book.environment.begin(write=True) as transaction:
            for one in waiting:
                self._tried(transaction, one.charge)
                one.meanwhile()
            transaction.abort()
            raise lmdb.DiskError("no space")

    monkeypatch.setattr(Evaluator, "online", noted)
    async with serving(tmp_path, clock) as served:
        with monkeypatch.context() as patched:
            patched.setattr(ChargeWriter, "_committed", fails)
            with pytest.raises(UnavailableError, match="cannot be charged"):
                await served.ask(request_of())
        assert len(begun) == 1
        assert served.node.records("evaluation.answered") == []


async def test_a_person_waits_behind_no_larger_online_request(served: Served) -> None:
    """Sixty-four elements are being computed; one element is answered meanwhile."""
    evaluator, ends = Evaluator(), threading.Event()
    (held,) = served.node.shares.all()
    try:
        larger = evaluator.online(held, [1, 2], batch_of(64).elements, lambda _: ends.wait(30))
        smaller = evaluator.online(held, [1, 2], batch_of(1).elements, lambda one: len(one.elements))
        assert await asyncio.wait_for(smaller.result(), 20) == 1
        ends.set()
        assert await asyncio.wait_for(larger.result(), 20)
    finally:
        ends.set()
        evaluator.close()


async def test_online_requests_overtake_bulk(served: Served) -> None:
    """Batches are being computed; a single question is answered before any of them."""
    batch = batch_of(4096)
    bulk = [asyncio.create_task(served.ask(request_of(batch, purpose=Purpose.PORTFOLIO))) for _ in range(2)]
    await asyncio.sleep(0.1)
    await served.ask(request_of())
    assert not any(task.done() for task in bulk)
    await asyncio.gather(*bulk)


async def test_a_batch_that_nobody_waits_for_is_not_computed_to_its_end(served: Served) -> None:
    """The asker's deadline passes, or it goes away: the one bulk thread is free long before the batch would be done."""
    batch = batch_of(4096)
    message = request_to_message(
        request := request_of(batch, purpose=Purpose.PORTFOLIO), sign_request(request, key_of("cat"))
    )
    loop = asyncio.get_running_loop()
    async with served.called_by("cat") as stub:
        began = loop.time()
        await stub.Evaluate(message, timeout=20)
        whole = loop.time() - began
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as late:
                await stub.Evaluate(message, timeout=whole / 20)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        began = loop.time()
        await stub.Evaluate(message, timeout=20)
        assert loop.time() - began < 4 * whole


def test_places_are_bounded_for_all_and_for_each() -> None:
    """Who sends on and on is refused, in words; others still find a place, and places come back."""
    places = Places(4, 2)
    with ExitStack() as taken:
        for asker in ("cat", "cat", "bee"):
            taken.enter_context(places.place(asker))
        with pytest.raises(UnavailableError, match="3 places are taken, 2 of them yours"), places.place("cat"):
            pytest.fail("there is no place")
        taken.enter_context(places.place("dog"))
        with pytest.raises(UnavailableError, match="4 places are taken, 0 of them yours"), places.place("eel"):
            pytest.fail("there is no place")
    assert places.taken == 0


async def test_who_finds_no_place_is_refused_before_it_is_charged(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Online and bulk."""
    monkeypatch.setattr(Places, "taken", 1 << 20)
    for number in (1, 100):
        with pytest.raises(UnavailableError, match="busy"):
            await served.ask(request_of(batch_of(number)))
    assert served.node.records("evaluation.answered") == []


async def test_publishing_is_reconciled_with_the_tags_that_followed(served: Served) -> None:
    """Credit comes from the coordinator's count; the operator sees both, and what is left."""
    await served.ask(request_of(batch_of(40), purpose=Purpose.PUBLISHING))
    book = ChargeBook(served.node.journal, lambda _: pytest.fail("no allowance is looked at"))
    asked = []

    async def count_tags(epoch: int) -> Mapping[str, int]:
        asked.append(epoch)
        return {"cat": 30, "bee": 7}

    await Reconciliation(book, count_tags).step()
    assert asked == [1]
    account = book.account("cat", 1)
    assert (account.counted, account.published, account.tags) == (10, 40, 30)
    assert [member for member, _, _ in book.accounts()] == ["cat"]
    book.credit("cat", 1, 40)
    await Reconciliation(book, count_tags).step()
    assert asked == [1]


async def test_shares_of_old_epochs_are_deleted_and_not_answered_with(served: Served, clock: MovableClock) -> None:
    """Both epochs are served for the time in the settings after the next key was made, then only the newer one."""
    node = served.node
    node.keep(DealtKey(2, 2, ("ant", "bee"), epoch=2))
    retirement = Retirement(node.node.store, node.generations, node.shares, node.node.audit, timedelta(hours=5), clock)
    assert retirement.step() == []
    await served.ask(request_of())
    await served.ask(request_of(epoch=2, generation=2))
    clock.now += timedelta(hours=5)
    assert retirement.step() == [1]
    assert [held.key.generation for held in node.shares.all()] == [2]
    with pytest.raises(ConflictError, match="no share of generation 1 of epoch 1"):
        await served.ask(request_of())
    assert retirement.step() == []
    assert [one["generation"] for one in node.records("key_share.deleted")] == [1]


async def test_the_operator_sees_shares_and_what_members_have_used(tmp_path: Path, clock: MovableClock) -> None:
    """``holder status`` over the operator socket: numbers of evaluations by member, never what was asked."""
    desks = list[EvaluationDesk]()

    class Noted(EvaluationDesk):
        def __init__(self, **parts: Any) -> None:
            super().__init__(**parts)
            desks.append(self)

    async with serving(tmp_path, clock, Noted) as served:
        await served.ask(request_of(batch_of(3)))
        async with operated(served, desks[0]):
            home = served.node.node.state.root
            told = await asyncio.to_thread(jointrisk, "node", "--home", home, "holder", "status", "--json")
            shown = await asyncio.to_thread(jointrisk, "node", "--home", home, "holder", "status")
    assert (told.code, shown.code) == (0, 0), (told, shown)
    status = json.loads(told.out)
    (use,) = status["members"]
    assert (use["member_id"], use["epoch"], use["charged"], use["epoch_left"]) == ("cat", 1, "3", "29997")
    assert [(one["generation"], one["holders"]) for one in status["generations"]] == [(1, ["ant", "bee"])]
    assert {one["purpose"]: one["left"] for one in use["purposes"]}["admission"] == "4997"
    assert "Listens at 127.0.0.1:7444" in shown.out
    assert "cat" in shown.out


@asynccontextmanager
async def operated(served: Served, desk: EvaluationDesk) -> AsyncIterator[None]:
    """Serve the operator socket of the node for the time of the block."""
    evaluator = Evaluator()
    server = new_server(Guard([check_protocol]))
    service = HolderOperatorService(desk, evaluator, "127.0.0.1:7444")
    holder_operator_pb2_grpc.add_NodeHolderOperatorServicer_to_server(service, server)
    bind_unix(server, prepare_socket(served.node.node.state.root))
    await server.start()
    yield
    await server.stop(0)
    evaluator.close()
