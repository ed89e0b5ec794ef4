"""Signals with everything real: holders over mutual TLS, the coordinator's log, the replica, the journal, the port."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from evaluation_federation import DealtKey, EvaluationFederation, EvaluationNode, persons, with_whole_key
from fixed_randomness import fixed_randomness
from jointrisk.clock import utc_now
from jointrisk.errors import UnavailableError
from jointrisk.federation.names import member_server_name
from jointrisk.identifiers import Identifier
from jointrisk.listing.label import Category, Severity
from jointrisk.listing.packed import Offered
from jointrisk.listing.record import new_entry_id, seal
from jointrisk.rpc.channel import channel
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import evaluation_pb2
from jointrisk.rpc.v1 import signal_pb2 as pb
from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub
from jointrisk_node.replica.coordinator_source import CoordinatorSource
from jointrisk_node.replica.desk import ReplicaDesk
from jointrisk_node.signals import SignalSettings
from jointrisk_node.signals.access import AccessDesk
from jointrisk_node.signals.desk import SignalDesk
from jointrisk_node.signals.ledger import AccessLedger
from jointrisk_node.signals.listening import SignalPort
from listing_coordinator import COORDINATOR_KEY, FEDERATION, ListingCoordinator
from listing_sample import label_of
from signal_sample import pseudonym

TODAY = utc_now().date()
LOAN = {"category": Category.ACTIVE_LOAN, "severity": Severity.NONE}
NAMES = ("ant", "bee", "cat")


class Whole:
    """Ant's node, the holders bee and cat, and the coordinator's log."""

    def __init__(self, root: Path, stack: AsyncExitStack) -> None:
        self.root, self.stack = root, stack
        self.federation = EvaluationFederation(root / "members", *NAMES)
        self.coordinator = ListingCoordinator(root / "coordinator", clock=utc_now)
        self.dealt = DealtKey(1, 2, NAMES)
        self.ant = self.node("ant")
        self.serving: dict[str, AsyncExitStack] = {}

    def node(self, name: str) -> EvaluationNode:
        """Return a member's node with its share."""
        made = self.federation.node(name)
        made.keep(self.dealt)
        self.stack.push_async_callback(made.close)
        return made

    async def hold(self, name: str) -> None:
        """Let a member answer."""
        own = self.serving[name] = AsyncExitStack()
        await own.enter_async_context(self.node(name).serving())
        self.stack.push_async_callback(own.aclose)

    def publish(self, lister: str, identifiers: Sequence[Identifier], **fields: Any) -> None:
        """List somebody in the coordinator's log."""
        said = {"listed_on": TODAY, "expires_on": TODAY + timedelta(days=90), **fields}
        label = label_of(pseudonym=pseudonym(lister, identifiers[0]), **said)
        for keys in with_whole_key(identifiers):
            entry = new_entry_id(fixed_randomness(f"{lister} {keys.tag.hex()}"))
            assert self.coordinator.append(lister, Offered(seal(label, keys, entry), keys.witness)) == []
        self.coordinator.log.release()

    async def ask(self, *identifiers: Identifier) -> pb.QueryResponse:
        """Ask about one person, as a system of ant's."""
        given = [pb.PersonIdentifier(kind=one.kind, country="CN", value=one.canonical) for one in identifiers]
        request = pb.QueryRequest(
            persons=[pb.Person(identifiers=given)], purpose=evaluation_pb2.ADMISSION, consent_reference="app-1"
        )
        return await self.stub.Query(request, metadata=(("authorization", f"Bearer {self.token}"),))

    async def serve(self) -> None:
        """Let ant's systems ask."""
        calls = await self.stack.enter_async_context(self.coordinator.channel("ant"))
        self.replica = ReplicaDesk(
            self.root / "replica", FEDERATION, COORDINATOR_KEY, CoordinatorSource(calls), self.ant.node.audit
        )
        desk = SignalDesk(
            self.ant.asker, self.replica, self.ant.journal, own_pseudonym=lambda one: pseudonym("ant", one)
        )
        access = AccessDesk(AccessLedger(self.ant.node.store, self.ant.node.audit), os.urandom)
        _, self.token = access.add("loan-desk", ["query"])
        membership = self.ant.membership
        settings = SignalSettings(listen="127.0.0.1:0")
        port = SignalPort(
            desk, access, self.ant.journal, settings, transport=membership.transport, ca=membership.ca_pem
        )
        await port.start()
        self.stack.push_async_callback(port.stop, 0)
        opened = channel(
            f"127.0.0.1:{port.port}", ca=membership.ca_pem, pair=None, server_name=member_server_name("ant")
        )
        self.stub = SignalServiceStub(await self.stack.enter_async_context(opened))


@asynccontextmanager
async def whole(root: Path) -> AsyncIterator[Whole]:
    """Start ant's node and the log; nobody holds yet but ant."""
    async with AsyncExitStack() as stack:
        made = Whole(root, stack)
        await stack.enter_async_context(made.coordinator.running())
        await made.serve()
        yield made


async def test_a_hit_an_exposure_and_a_miss_with_everything_real(tmp_path: Path) -> None:
    """What two lenders put into the log is found under either identifier, counted, and fresh; others are not found."""
    phones = persons(4)
    async with whole(tmp_path) as made:
        await made.hold("bee")
        made.publish("bee", phones[:2], **LOAN)
        made.publish("cat", phones[:1], **LOAN)
        made.publish("ant", phones[:2], **LOAN)
        await made.replica.refresh()
        hit, half, miss = [await made.ask(*some) for some in (phones[:2], phones[1:2], phones[2:3])]
        assert (hit.signals[0].exposure.active_loan_lenders, hit.signals[0].exposure.active_loans) == (3, 3)
        assert hit.signals[0].exposure_elsewhere.active_loan_lenders == 2
        assert half.signals[0].exposure.active_loan_lenders == 2
        assert (len(miss.signals[0].listings), miss.signals[0].lenders) == (0, 0)
        (asked,) = hit.epochs
        assert (asked.epoch, asked.generation, list(asked.quorum)) == (1, 1, ["ant", "bee"])
        assert (asked.proofs_verified, asked.replica_size, asked.head_age_seconds < 60) == (1, 5, True)
        questions = made.ant.records("signals.asked")
        evaluations = {one["request_id"]: one.get("question_id") for one in made.ant.records("evaluation.asked")}
    assert [one["system"] for one in questions] == ["loan-desk"] * 3
    used = [evaluations[i] for one in (hit, half, miss) for i in one.epochs[0].request_ids]
    assert used == [one["question_id"] for one in questions]


async def test_without_holders_or_a_copy_nothing_is_said(tmp_path: Path) -> None:
    """Before the first synchronisation, and with ant's share alone, there are errors that say what is missing."""
    async with whole(tmp_path) as made:
        for said in ("listings of epoch 1", "bee"):
            with pytest.raises(aio.AioRpcError) as failed:
                await made.ask(*persons(1))
            error = from_rpc(failed.value, peer="the node")
            assert isinstance(error, UnavailableError)
            assert said in error.message
            await made.replica.refresh()
        assert [one["code"] for one in made.ant.records("signals.not_answered")] == ["unavailable"] * 2
