"""A node gets feature contracts from a coordinator over a real socket, and believes only the pinned key."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpc import aio

from contract_sample import sample_contract
from coordinator_at_test import CoordinatorAtTest, MovableClock
from jointrisk.errors import CorruptError, NotFoundError, RefusedError, UnauthenticatedError, VersionMismatchError
from jointrisk.federation.contract import FeatureContract, contract_to_toml
from jointrisk.federation.signing import Signed, new_identity_key, sign_document
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind_unix, new_server
from jointrisk.rpc.v1.contract_pb2 import GetContractRequest, GetContractResponse
from jointrisk.rpc.v1.contract_pb2_grpc import ContractServiceStub, add_ContractServiceServicer_to_server
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator import contracts
from jointrisk_coordinator.contracts.service import ContractServicer
from jointrisk_node.contracts import ContractDesk, ContractLedger
from jointrisk_node.store.tables import load_tables


class _Node:
    """A node's ledger over a real database, with the coordinator's key pinned."""

    def __init__(self, root: Path, coordinator_key: bytes) -> None:
        engine = make_engine(f"sqlite:///{root / 'node.db'}")
        load_tables().create_all(engine)
        store = Store(engine)
        self.audit = AuditLog(store, clock=MovableClock())
        self.ledger = ContractLedger(store, coordinator_key, self.audit, MovableClock())

    def events(self) -> list[str]:
        return [entry.event for entry in self.audit.entries()]


@pytest.fixture
def coordinator(tmp_path: Path) -> CoordinatorAtTest:
    """A coordinator with an empty database."""
    return CoordinatorAtTest(tmp_path / "coordinator")


@pytest.fixture
def node(tmp_path: Path, coordinator: CoordinatorAtTest) -> _Node:
    """A node that has pinned this coordinator."""
    return _Node(tmp_path, coordinator.authority.public_key)


def _publish(coordinator: CoordinatorAtTest, contract: FeatureContract) -> int:
    return contracts.publish(
        coordinator.store,
        contract_to_toml(contract),
        sign=lambda kind, payload: sign_document(kind, payload, coordinator.authority.identity_key),
        clock=coordinator.clock,
        audit=coordinator.audit,
    )


@asynccontextmanager
async def _asking(
    coordinator: CoordinatorAtTest, root: Path
) -> AsyncIterator[Callable[[GetContractRequest], Awaitable[GetContractResponse]]]:
    """Serve contracts on a socket; yield what a node asks with, which raises typed errors."""
    server = new_server(Guard())
    add_ContractServiceServicer_to_server(ContractServicer(coordinator.store), server)
    bind_unix(server, root / "c.sock")
    await server.start()
    try:
        async with aio.insecure_channel(f"unix:{root / 'c.sock'}") as channel:
            stub = ContractServiceStub(channel)

            async def ask(request: GetContractRequest) -> GetContractResponse:
                try:
                    return await stub.GetContract(request, timeout=20)
                except aio.AioRpcError as failure:
                    raise from_rpc(failure, peer="the coordinator") from failure

            yield ask
    finally:
        await server.stop(None)


async def test_a_node_follows_what_is_published(tmp_path: Path, coordinator: CoordinatorAtTest, node: _Node) -> None:
    """Nothing, then version 1, then 2; every version stays, and a version is fetched when a run asks for it."""
    async with _asking(coordinator, tmp_path) as ask:
        desk = ContractDesk(node.ledger, ask)
        assert await desk.refresh() is None
        assert node.ledger.current_version() == 0
        _publish(coordinator, sample_contract())
        assert await desk.refresh() == sample_contract(version=1)
        for version, title in ((2, "two"), (3, "three")):
            _publish(coordinator, sample_contract(title=title))
            assert contracts.get(coordinator.store, version).contract.title == title
        assert await desk.refresh() == sample_contract(version=3, title="three")
        assert node.ledger.get(1) == sample_contract(version=1)
        assert await desk.payload(2) == sample_contract(version=2, title="two").payload()
        for unknown in (9, 2**64 - 1):
            with pytest.raises(NotFoundError, match=f"version {unknown}"):
                await desk.payload(unknown)
    assert node.ledger.current() == sample_contract(version=3, title="three")
    assert node.events() == ["contract.received"] * 3


async def test_known_versions_need_no_coordinator(tmp_path: Path, coordinator: CoordinatorAtTest, node: _Node) -> None:
    """A version that was verified once is handed out while the coordinator is away, and after a restart."""
    _publish(coordinator, sample_contract())
    async with _asking(coordinator, tmp_path) as ask:
        await ContractDesk(node.ledger, ask).refresh()

    async def nobody(_: GetContractRequest) -> GetContractResponse:
        raise NotFoundError("the coordinator has lost its database")

    restarted = ContractDesk(_Node(tmp_path, coordinator.authority.public_key).ledger, nobody)
    assert await restarted.payload(1) == sample_contract(version=1).payload()
    assert await restarted.refresh() == sample_contract(version=1)


async def test_a_contract_of_another_key_is_refused(tmp_path: Path, coordinator: CoordinatorAtTest) -> None:
    """Whoever takes the coordinator's place, but has not its key, cannot give a node a contract."""
    _publish(coordinator, sample_contract())
    stranger = _Node(tmp_path, bytes(range(32)))
    async with _asking(coordinator, tmp_path) as ask:
        with pytest.raises(UnauthenticatedError, match="not signed with the key that is pinned"):
            await ContractDesk(stranger.ledger, ask).refresh()
    assert stranger.ledger.current() is None


def _signed(coordinator: CoordinatorAtTest, contract: FeatureContract) -> Signed:
    return sign_document("contract", contract.payload(), coordinator.authority.identity_key)


def test_an_older_newest_version_is_refused(coordinator: CoordinatorAtTest, node: _Node) -> None:
    """A coordinator cannot take a node back to terms that have been replaced."""
    node.ledger.accept(_signed(coordinator, sample_contract(version=2)), asked=0)
    with pytest.raises(RefusedError, match="newest contract is version 1, it was 2 before"):
        node.ledger.accept(_signed(coordinator, sample_contract(version=1)), asked=0)
    assert node.ledger.current_version() == 2
    assert node.events() == ["contract.received", "contract.refused"]


def test_two_contracts_of_one_version_are_refused(coordinator: CoordinatorAtTest, node: _Node) -> None:
    """A coordinator that shows members different terms under one number is found out, and the first ones stay."""
    node.ledger.accept(_signed(coordinator, sample_contract(version=1)), asked=0)
    with pytest.raises(RefusedError, match="two different contracts of version 1"):
        node.ledger.accept(_signed(coordinator, sample_contract(version=1, title="other")), asked=1)
    assert node.ledger.get(1) == sample_contract(version=1)
    assert node.events()[-1] == "contract.refused"


@pytest.mark.parametrize(("asked", "sent"), [(2, 1), (1, 2), (0, 0)])
def test_another_version_than_asked_is_refused(
    coordinator: CoordinatorAtTest, node: _Node, asked: int, sent: int
) -> None:
    """The answer is to the question, and a draft is never one."""
    with pytest.raises(RefusedError, match=f"asked the coordinator for contract version {asked}, got version {sent}"):
        node.ledger.accept(_signed(coordinator, sample_contract(version=sent)), asked=asked)
    assert node.ledger.current() is None


def test_the_same_document_again_changes_nothing(coordinator: CoordinatorAtTest, node: _Node) -> None:
    """Fetching is repeated after every reconnect."""
    for _ in range(3):
        node.ledger.accept(_signed(coordinator, sample_contract(version=1)), asked=0)
    assert node.events() == ["contract.received"]


def test_signed_documents_of_another_kind_or_layout_are_refused(coordinator: CoordinatorAtTest, node: _Node) -> None:
    """A roster is no contract, whoever signed it; nor is nonsense, nor a layout of the future."""
    key = coordinator.authority.identity_key
    payload = sample_contract(version=1).payload()
    later = payload.replace(b'"format":1', b'"format":2')
    cases = [
        (sign_document("roster", payload, key), UnauthenticatedError),
        (sign_document("contract", payload, new_identity_key()), UnauthenticatedError),
        (sign_document("contract", b"{}", key), CorruptError),
        (sign_document("contract", later, key), VersionMismatchError),
    ]
    for signed, expected in cases:
        with pytest.raises(expected):
            node.ledger.accept(signed, asked=0)
    assert node.ledger.current() is None
