"""Models on their way to a node, over a real socket: resumed after a break, verified whole, else refused."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc import aio

from contract_sample import sample_contract
from jointrisk.errors import JointriskError, NotFoundError, UnavailableError
from jointrisk.federation.contract import FeatureContract
from jointrisk.federation.signing import public_bytes
from jointrisk.protocol import user_agent
from jointrisk.rpc.guard import Context, Guard
from jointrisk.rpc.server import bind_unix, new_server
from jointrisk.rpc.v1 import model_pb2 as pb
from jointrisk.rpc.v1.model_pb2_grpc import ModelServiceStub, add_ModelServiceServicer_to_server
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.registry import ModelRegistry, service
from jointrisk_coordinator.registry.service import ModelServicer
from jointrisk_coordinator.store.tables import load_tables as coordinator_tables
from jointrisk_node.membership.link import coordinator_errors
from jointrisk_node.models import ModelDesk, ModelLedger
from jointrisk_node.store.tables import load_tables as node_tables
from model_sample import KEY, OTHER_KEY, leave_unsigned, sample_facts, sample_lineage, signer

RUN = sample_lineage().run_id


class _Servicer(ModelServicer):
    """The real servicer; notes offsets, and breaks a transfer after so many chunks while told to."""

    def __init__(self, registry: ModelRegistry) -> None:
        super().__init__(registry)
        self.offsets: list[int] = []
        self.break_after = 0
        self.spoil: Callable[[bytes], bytes] = bytes

    async def GetModel(  # noqa: N802 - the wire contract's name
        self, request: pb.GetModelRequest, context: Context
    ) -> AsyncIterator[pb.ModelChunk]:
        """Send, or break off."""
        self.offsets.append(request.offset)
        sent = 0
        async for chunk in super().GetModel(request, context):
            if self.break_after and sent == self.break_after:
                raise UnavailableError("broken by the test")
            yield pb.ModelChunk(offset=chunk.offset, data=self.spoil(chunk.data))
            sent += 1


class _Coordinator:
    """The node's calls, over a socket of the test."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub = ModelServiceStub(channel)

    async def models(self) -> pb.ListModelsResponse:
        """List."""
        with coordinator_errors():
            return await self._stub.ListModels(pb.ListModelsRequest())

    async def model(self, request: pb.GetModelRequest) -> AsyncIterator[pb.ModelChunk]:
        """Receive."""
        with coordinator_errors():
            async for chunk in self._stub.GetModel(request):
                yield chunk


class _Both:
    """A coordinator's registry with its servicer, and a node's desk."""

    def __init__(self, root: Path, channel_path: Path, signing: Ed25519PrivateKey) -> None:
        self.root = root
        store = _store(root / "coordinator.db", coordinator_tables)
        self.registry = ModelRegistry(
            store, root / "published", signer(signing), public_bytes(signing), AuditLog(store)
        )
        self.servicer = _Servicer(self.registry)
        self.contract: FeatureContract | None = sample_contract()
        node = _store(root / "node.db", node_tables)
        self.audit = AuditLog(node)
        self.ledger = ModelLedger(node, root / "models", self.audit)
        options = [("grpc.primary_user_agent", user_agent())]
        self.channel = aio.insecure_channel(f"unix:{channel_path}", options=options)
        self.desk = self.new_desk()

    def new_desk(self) -> ModelDesk:
        """Return the node's desk as after a restart."""
        return ModelDesk(self.ledger, _Coordinator(self.channel), public_bytes(KEY), self._payload)

    def publish(self, run_id: str = RUN, **facts: Any) -> bytes:
        """Publish a model and return its bundle."""
        leave_unsigned(self.root / "run", sample_facts(**facts))
        model = self.registry.publish(self.root / "run", sample_lineage(run_id))
        assert model is not None
        return self.registry.read(model, 0, 1 << 30)

    def events(self) -> list[str]:
        """Return the node's audit records of models."""
        return [entry.event for entry in self.audit.entries(event="model.")]

    async def _payload(self, version: int) -> bytes:
        if self.contract is None or self.contract.version != version:
            raise NotFoundError(f"there is no feature contract of version {version}")
        return self.contract.payload()


def _store(path: Path, tables: Callable[[], object]) -> Store:
    engine = make_engine(f"sqlite:///{path}")
    tables().create_all(engine)  # type: ignore[attr-defined]
    return Store(engine)


@asynccontextmanager
async def _served(root: Path, signing: Ed25519PrivateKey = KEY) -> AsyncIterator[_Both]:
    path = root / "s.sock"
    both = _Both(root, path, signing)
    server = new_server(Guard())
    add_ModelServiceServicer_to_server(both.servicer, server)
    bind_unix(server, path)
    await server.start()
    try:
        yield both
    finally:
        await both.channel.close()
        await server.stop(0)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of a few kilobytes takes several chunks."""
    monkeypatch.setattr(service, "CHUNK_BYTES", 1000)


async def test_a_model_arrives_and_is_kept(tmp_path: Path) -> None:
    """The same bytes, on record, asked for once."""
    async with _served(tmp_path) as both:
        data = both.publish()
        assert await both.desk.refresh() == ""
        assert await both.desk.refresh() == ""
        assert both.servicer.offsets == [0]
        (model,) = both.ledger.all()
        assert (model.model_id, model.state, model.digest) == (RUN, "kept", hashlib.sha256(data).hexdigest())
        assert (tmp_path / "models" / f"{RUN}.bundle").read_bytes() == data
        assert [path.name for path in (tmp_path / "models").iterdir()] == [f"{RUN}.bundle"]
        assert both.events() == ["model.received"]


async def test_a_broken_transfer_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Also after a restart of the node: no byte is sent twice."""
    async with _served(tmp_path) as both:
        data = both.publish()
        both.servicer.break_after = 2
        for _ in range(2):
            with pytest.raises(UnavailableError, match="broken by the test"):
                await both.new_desk().refresh()
        both.servicer.break_after = 0
        assert await both.new_desk().refresh() == ""
        assert both.servicer.offsets == [0, 2000, 4000]
        assert (tmp_path / "models" / f"{RUN}.bundle").read_bytes() == data


async def test_a_model_signed_by_somebody_else_is_refused(tmp_path: Path) -> None:
    """On record, deleted, and not fetched again and again."""
    async with _served(tmp_path, OTHER_KEY) as both:
        both.publish()
        assert "not signed with the coordinator's pinned key" in await both.desk.refresh()
        assert "not signed" in await both.desk.refresh()
        assert both.servicer.offsets == [0]
        assert (both.ledger.all(), both.events()) == ([], ["model.refused"])
        assert list((tmp_path / "models").iterdir()) == []


async def test_bytes_that_change_on_the_way_are_refused(tmp_path: Path) -> None:
    """What arrives is not what was announced."""
    async with _served(tmp_path) as both:
        both.publish()
        both.servicer.spoil = lambda data: data[:-1] + bytes([data[-1] ^ 1])
        assert "SHA-256" in await both.desk.refresh()
        assert both.ledger.all() == []


async def test_a_model_of_another_contract_is_refused(tmp_path: Path) -> None:
    """Other terms under the same version, a version nobody published, features in another order."""
    async with _served(tmp_path) as both:
        both.publish()
        both.contract = sample_contract(title="other terms")
        assert "another feature contract" in await both.desk.refresh()
        both.contract = sample_contract(version=2)
        assert "no feature contract of version 1" in await both.new_desk().refresh()
        both.contract = sample_contract()
        terms = sample_contract(version=1)
        both.contract = terms.model_copy(update={"features": terms.features[::-1]})
        both.publish("turned", contract_digest=both.contract.digest())
        assert "not the features of the contract" in await both.new_desk().refresh()
        assert both.ledger.all() == []


async def test_another_model_under_a_kept_name_is_refused(tmp_path: Path) -> None:
    """The kept one stays; a coordinator that changes a published model is found out."""
    async with _served(tmp_path) as both:
        data = both.publish()
        await both.desk.refresh()
        other = tmp_path / "forked"
        other.mkdir()
        async with _served(other) as fork:
            fork.publish(rounds=6)
            both.channel, kept = fork.channel, both.channel
            assert "another model under the name" in await both.new_desk().refresh()
            both.channel = kept
        assert (tmp_path / "models" / f"{RUN}.bundle").read_bytes() == data
        assert both.events() == ["model.received", "model.refused"]


async def test_one_model_is_active_at_a_time(tmp_path: Path) -> None:
    """Activating another keeps the first; a retired one can be activated again; every change is on record."""
    async with _served(tmp_path) as both:
        both.publish("run-a")
        both.publish("run-b")
        await both.desk.refresh()
        assert both.ledger.active() is None
        both.ledger.activate("run-a")
        both.ledger.activate("run-b")
        both.ledger.activate("run-b")
        assert [(model.model_id, model.state) for model in both.ledger.all()] == [
            ("run-a", "kept"),
            ("run-b", "active"),
        ]
        both.ledger.retire("run-b")
        assert both.ledger.active() is None
        assert both.ledger.activate("run-a").state == "active"
        assert both.events()[2:] == [f"model.{event}" for event in ("activated", "activated", "retired", "activated")]
        for absent in ("run-c", "", "run"):
            with pytest.raises(JointriskError):
                both.ledger.activate(absent)


async def test_a_kept_file_is_verified_again_before_use(tmp_path: Path) -> None:
    """Damaged on the node's own disk it is not scored with."""
    async with _served(tmp_path) as both:
        both.publish()
        await both.desk.refresh()
        model = both.ledger.find(RUN[:8])
        assert (await both.desk.bundle(model)).digest == model.digest
        path = tmp_path / "models" / f"{RUN}.bundle"
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        with pytest.raises(JointriskError, match="tensors are not"):
            await both.desk.bundle(model)
        path.unlink()
        with pytest.raises(JointriskError, match="missing"):
            await both.desk.bundle(model)
