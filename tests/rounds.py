"""A coordinator's rounds and some nodes' links in one process, over real mutual TLS, with real worker processes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc import aio

from jointrisk.errors import NotFoundError
from jointrisk.federation import certificates as pki
from jointrisk.federation.names import COORDINATOR, COORDINATOR_SERVER_NAME
from jointrisk.federation.policy import RunPolicy
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.secure_aggregation import Policy
from jointrisk.masterkey import MasterKey
from jointrisk.rpc import tls
from jointrisk.rpc.channel import channel
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind, new_server
from jointrisk.store import AuditLog, Store
from jointrisk.store.connections import make_engine
from jointrisk_coordinator.runs import tables  # noqa: F401 - the tables have to be known
from jointrisk_coordinator.runs.control import Federation
from jointrisk_coordinator.runs.hub import Hub
from jointrisk_coordinator.runs.ledger import RunLedger, RunView
from jointrisk_coordinator.runs.service import TrainingService
from jointrisk_coordinator.runs.session import StreamSettings, Versions
from jointrisk_coordinator.runs.supervisor import RunSupervisor
from jointrisk_coordinator.store import Base
from jointrisk_node.store.tables import load_tables as node_tables
from jointrisk_node.sums import SumDesk, SumLedger, SumPolicy
from jointrisk_node.training.gate import Gate
from jointrisk_node.training.link import Link
from jointrisk_node.training.spool import TaskSpool
from jointrisk_node.training.stream import Known

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
STREAM = StreamSettings(lease=timedelta(seconds=5), heartbeat=timedelta(seconds=1))


class Pki:
    """A federation's certificates."""

    def __init__(self) -> None:
        key = pki.new_transport_key()
        certificate = pki.issue_authority("test", key, now=NOW, lifetime=DAY)
        self._issuer = pki.Issuer(certificate, key)
        self.ca = pki.certificate_to_pem(certificate)

    def pair(self, name: str) -> pki.KeyPair:
        """Return a fresh key pair for a member."""
        key = pki.new_transport_key()
        leaf = pki.issue_leaf(self._issuer, key.public_key(), federation="test", member_id=name, now=NOW, lifetime=DAY)
        return pki.KeyPair(pki.key_to_pem(key), pki.certificate_to_pem(leaf))


@dataclass
class RecordedAudit:
    """An audit log in memory."""

    entries: list[tuple[str, dict[str, str | int]]] = field(default_factory=list)

    def append(self, event: str, /, **fields: str | int) -> None:
        """Keep an entry."""
        self.entries.append((event, fields))


def open_test_store(folder: Path) -> Store:
    """Return a store with today's tables, on SQLite."""
    store = Store(make_engine(f"sqlite:///{folder / 'state.db'}"))
    Base.metadata.create_all(store.engine)
    return store


@dataclass
class Office:
    """A coordinator, as far as rounds need one."""

    hub: Hub
    supervisor: RunSupervisor
    server: aio.Server
    port: int
    audit: RecordedAudit
    store: Store

    async def stop(self) -> None:
        """Stop as the daemon does."""
        self.hub.stop("stopping")
        await self.supervisor.stop()
        await self.server.stop(0.2)
        self.store.close()

    async def follow(self, run_id: str, seconds: float = 60) -> RunView:
        """Return a run when it has ended."""
        async with asyncio.timeout(seconds):
            async for run in self.supervisor.watch(run_id):
                last = run
        return last


@dataclass
class World:
    """Certificates, folders and the members' names."""

    folder: Path
    members: Sequence[str]
    authority: Pki = field(default_factory=Pki)
    stream: StreamSettings = STREAM
    policy: RunPolicy = field(default_factory=lambda: RunPolicy(plain_aggregation=True))
    contract: bytes | None = None
    port: int = 0
    present: Office | None = None
    audits: dict[str, AuditLog] = field(default_factory=dict)

    async def office(self) -> Office:
        """Start a coordinator."""
        home = self.folder / "coordinator"
        home.mkdir(exist_ok=True)
        store, audit = open_test_store(home), RecordedAudit()
        hub = Hub(home / "runs", audit, self.stream, lambda: Versions(1, 1 if self.contract else 0))
        federation = Federation(
            lambda: self.members, lambda: 1 if self.contract else 0, self._contract, "test", self.public_keys
        )
        supervisor = RunSupervisor(hub, RunLedger(store), audit, federation)
        server = new_server(Guard())
        TrainingService(hub, tls.peer).add_to(server)
        pair = self.authority.pair(COORDINATOR)
        self.port = bind(server, f"127.0.0.1:{self.port}", tls.server_credentials(lambda: pair, self.authority.ca))
        await supervisor.resume_all()
        await server.start()
        self.present = Office(hub, supervisor, server, self.port, audit, store)
        return self.present

    def link(self, name: str, *, policy: RunPolicy | None = None, data: dict[str, object] | None = None) -> Link:
        """Return a node's link, not started."""
        pair = self.authority.pair(name)
        spool = TaskSpool(self.folder / name / "training")
        chosen = policy or self.policy
        gate = Gate(name, lambda: chosen, lambda: self.members, self._fetch)
        ledger = self.ledger(name)
        judge = lambda version: SumPolicy(  # noqa: E731 - an argument
            Policy("test", version, self.public_keys(), chosen.colluders, chosen.minimum_parties),
            chosen.statement_cohorts,
        )
        return Link(
            name,
            lambda: self.channel(pair),
            spool,
            gate,
            data or {},
            known=lambda: Known(1, 0),
            seen=lambda *_: None,
            sums=SumDesk(name, judge, ledger, self.identity(name).sign),
            audit=self.audits[name],
        )

    def ledger(self, name: str) -> SumLedger:
        """Return a node's record of secure sums, in its own database."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        store = Store(make_engine(f"sqlite:///{home / 'node.db'}"))
        node_tables().create_all(store.engine)
        self.audits[name] = AuditLog(store)
        return SumLedger(store, MasterKey(bytes(32)), self.audits[name])

    def identity(self, name: str) -> Ed25519PrivateKey:
        """Return a member's identity key, the same whenever it is asked for."""
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())

    def public_keys(self) -> dict[str, bytes]:
        """Return all members' identity keys."""
        return {name: public_bytes(self.identity(name)) for name in self.members}

    def channel(self, pair: pki.KeyPair) -> aio.Channel:
        """Return a channel to the coordinator."""
        return channel(f"127.0.0.1:{self.port}", ca=self.authority.ca, pair=pair, server_name=COORDINATOR_SERVER_NAME)

    async def _fetch(self, version: int) -> bytes:
        return self._contract(version)

    def _contract(self, version: int) -> bytes:
        if self.contract is None or version != 1:
            raise NotFoundError(f"no contract of version {version}")
        return self.contract


@asynccontextmanager
async def rounds(
    folder: Path, members: Sequence[str] = ("alder", "birch", "cedar"), **settings: Any
) -> AsyncIterator[tuple[World, Office, dict[str, Link]]]:
    """Run a coordinator and a link for each member."""
    world = World(folder, members, **settings)
    office = await world.office()
    links = {name: world.link(name) for name in members}
    for link in links.values():
        await link.start()
    try:
        yield world, office, links
    finally:
        await asyncio.gather(*(link.stop(0) for link in links.values()))
        if world.present is not None:
            await world.present.stop()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
