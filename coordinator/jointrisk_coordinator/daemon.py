"""The coordinator's daemon: the only place that wires its parts together."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import structlog
from google.protobuf.descriptor import ServiceDescriptor

from jointrisk import __version__
from jointrisk.audit import FieldValue
from jointrisk.clock import utc_now
from jointrisk.errors import UnauthenticatedError
from jointrisk.federation.certificates import Identity
from jointrisk.federation.signing import Signed, sign_document
from jointrisk.learning.bundle import Lineage
from jointrisk.logs import configure_logging
from jointrisk.masterkey import MasterKey
from jointrisk.rpc import tls
from jointrisk.rpc.guard import Check, Context, Guard, Refused
from jointrisk.rpc.refusals import Who, recorder
from jointrisk.rpc.server import add_health_and_reflection, bind, bind_unix, check_protocol, new_server
from jointrisk.rpc.v1 import (
    ceremony_operator_pb2_grpc,
    ceremony_pb2,
    ceremony_pb2_grpc,
    contract_pb2,
    contract_pb2_grpc,
    coordinator_operator_pb2_grpc,
    join_pb2,
    join_pb2_grpc,
    listing_operator_pb2_grpc,
    listing_pb2,
    listing_pb2_grpc,
    membership_pb2,
    membership_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    training_pb2,
)
from jointrisk.serving import StopSignal, close_to_others, keep_files_private, prepare_socket, settle
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog, Store
from jointrisk_coordinator.authority import Authority, ServerCertificate
from jointrisk_coordinator.ceremonies import BulletinBoard
from jointrisk_coordinator.ceremonies.operator_service import CeremonyOperatorService
from jointrisk_coordinator.ceremonies.service import CeremonyServicer
from jointrisk_coordinator.contracts.registry import ContractRegistry
from jointrisk_coordinator.contracts.service import ContractServicer
from jointrisk_coordinator.database import open_database
from jointrisk_coordinator.listings.desk import ListingLog
from jointrisk_coordinator.listings.epochs import BoardEpochs
from jointrisk_coordinator.listings.keeping import ListingKeeper
from jointrisk_coordinator.listings.operator_service import ListingOperatorService
from jointrisk_coordinator.listings.service import ListingServicer
from jointrisk_coordinator.membership.ledger import MembershipRules
from jointrisk_coordinator.membership.office import MembershipOffice
from jointrisk_coordinator.membership.service import JoinServicer, MembershipServicer
from jointrisk_coordinator.operator_service import Endpoints, OperatorService
from jointrisk_coordinator.registry import ModelRegistry
from jointrisk_coordinator.registry.service import ModelServicer
from jointrisk_coordinator.runs.control import Federation
from jointrisk_coordinator.runs.hub import Hub
from jointrisk_coordinator.runs.ledger import RunLedger, RunView
from jointrisk_coordinator.runs.service import TrainingService
from jointrisk_coordinator.runs.session import Versions
from jointrisk_coordinator.runs.supervisor import RunSupervisor
from jointrisk_coordinator.settings import CoordinatorSettings

log = structlog.get_logger()

_GRACE_SECONDS = 5.0
_LARGEST_JOIN = 64 << 10  # bytes; whoever calls there has proven nothing yet
_ROSTER_CHECK_SECONDS = 1.0


def run_daemon(state: StateDir, settings: CoordinatorSettings, key: MasterKey) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConflictError: another daemon uses the state directory, or a port is taken.
    """
    keep_files_private()
    configure_logging(settings.log.level, settings.log.format)
    with state.lock():
        asyncio.run(_serve(state, settings, key))


async def _serve(state: StateDir, settings: CoordinatorSettings, key: MasterKey) -> None:
    stop = StopSignal()
    async with _coordinator(state, settings, key):
        await stop.wait()
        log.info("daemon.stopping")


@asynccontextmanager
async def _coordinator(state: StateDir, settings: CoordinatorSettings, key: MasterKey) -> AsyncIterator[None]:
    """Run the coordinator for the time of the block."""
    async with AsyncExitStack() as stack:
        parts = await _parts(state, settings, key)
        stack.callback(parts.store.close)
        await asyncio.to_thread(parts.audit.append, "daemon.started", version=__version__)
        stack.push_async_callback(asyncio.to_thread, parts.audit.append, "daemon.stopped")
        # Runs are taken up first: a node that connects at once finds its tasks.
        await parts.supervisor.resume_all()
        await _serve_ports(stack, state, settings, parts)
        for loop in (_keep_roster_fresh(parts.office, parts.board, parts.hub), parts.keeper.run()):
            stack.callback(asyncio.create_task(loop).cancel)
        stack.callback(parts.hub.stop, "the coordinator is stopping")
        stack.push_async_callback(parts.supervisor.stop)
        yield


@dataclass(frozen=True)
class _Parts:
    store: Store
    authority: Authority
    audit: AuditLog
    office: MembershipOffice
    contracts: ContractRegistry
    models: ModelRegistry
    board: BulletinBoard
    listings: ListingLog
    keeper: ListingKeeper
    hub: Hub
    supervisor: RunSupervisor


async def _parts(state: StateDir, settings: CoordinatorSettings, key: MasterKey) -> _Parts:
    authority = Authority.open(settings.federation.name, state, key)
    store = await asyncio.to_thread(open_database, state, settings)
    audit = AuditLog(store, authority.identity_key)
    office = await asyncio.to_thread(MembershipOffice, store, authority, _rules(settings), audit)

    def sign(kind: str, payload: bytes) -> Signed:
        return sign_document(kind, payload, authority.identity_key)

    contracts = await asyncio.to_thread(ContractRegistry, store, sign, audit)
    models = await asyncio.to_thread(ModelRegistry, store, state.path("models"), sign, authority.public_key, audit)
    board = await asyncio.to_thread(
        BulletinBoard, store, authority.federation, lambda: office.history.members, audit, os.urandom
    )
    listings = await asyncio.to_thread(
        ListingLog,
        store,
        authority.federation,
        authority.identity_key,
        key,
        BoardEpochs(board),
        audit,
        settings.listings,
        os.urandom,
    )
    hub = Hub(
        state.path("runs"),
        audit,
        settings.training,
        lambda: Versions(office.roster.version, contracts.current_version, models.current_number, board.number),
    )
    federation = Federation(
        members=lambda: office.history.members,
        contract_version=lambda: contracts.current_version,
        contract=contracts.payload,
        name=authority.federation,
        identities=lambda: {name: member.identity_key for name, member in office.history.members.items()},
        publish=lambda run, folder: _publish(models, run, folder),
    )
    loop = asyncio.get_running_loop()

    def close_streams(member_id: str) -> None:
        loop.call_soon_threadsafe(hub.close_member, member_id, "the certificate of this stream is no longer accepted")

    def announce() -> None:
        loop.call_soon_threadsafe(hub.announce)

    office.on_removed.append(close_streams)
    models.on_published.append(announce)
    board.on_changed.append(announce)
    supervisor = RunSupervisor(hub, RunLedger(store), audit, federation)
    keeper = ListingKeeper(listings, settings.listings.window)
    return _Parts(store, authority, audit, office, contracts, models, board, listings, keeper, hub, supervisor)


async def _serve_ports(stack: AsyncExitStack, state: StateDir, settings: CoordinatorSettings, parts: _Parts) -> None:
    certificate = ServerCertificate(parts.authority, settings.certificates.lifetime, utc_now)
    ca = parts.authority.certificate_pem
    host = settings.listen.public_host or socket.gethostname()
    record = _recorder(parts.audit)
    members = new_server(Guard([check_protocol, _members_only(parts.office)], record, broken=record))
    port = bind(members, settings.listen.address, tls.server_credentials(certificate, ca))
    membership_pb2_grpc.add_MembershipServiceServicer_to_server(MembershipServicer(parts.office, tls.peer), members)
    contract_pb2_grpc.add_ContractServiceServicer_to_server(ContractServicer(parts.store), members)
    model_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(parts.models), members)
    ceremony_pb2_grpc.add_CeremonyServiceServicer_to_server(CeremonyServicer(parts.board, tls.peer), members)
    current_member = _current_member(parts.office)
    listings = ListingServicer(parts.listings, parts.keeper, current_member)
    listing_pb2_grpc.add_ListingServiceServicer_to_server(listings, members)
    TrainingService(parts.hub, current_member).add_to(members)
    services = _services(membership_pb2, contract_pb2, model_pb2, ceremony_pb2, listing_pb2, training_pb2)
    add_health_and_reflection(members, services)

    joining = new_server(Guard([check_protocol], record), max_message_bytes=_LARGEST_JOIN)
    join_port = bind(joining, settings.listen.join_address, tls.open_server_credentials(certificate, ca))
    endpoints = Endpoints(f"{host}:{port}", f"{host}:{join_port}", utc_now())
    join_pb2_grpc.add_JoinServiceServicer_to_server(JoinServicer(parts.office, endpoints.address), joining)
    add_health_and_reflection(joining, _services(join_pb2))

    operator = new_server(Guard([check_protocol]))
    service = OperatorService(parts.office, parts.contracts, parts.board, parts.hub, parts.supervisor, endpoints)
    coordinator_operator_pb2_grpc.add_CoordinatorOperatorServicer_to_server(service, operator)
    model_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(parts.models), operator)
    ceremonies = CeremonyOperatorService(parts.board, parts.hub.online)
    ceremony_operator_pb2_grpc.add_CeremonyOperatorServicer_to_server(ceremonies, operator)
    own_listings = ListingOperatorService(parts.listings, lambda: parts.office.history.members)
    listing_operator_pb2_grpc.add_ListingOperatorServicer_to_server(own_listings, operator)
    path = prepare_socket(state.root)
    bind_unix(operator, path)
    close_to_others(path)

    for server in (members, joining, operator):
        await server.start()
        stack.push_async_callback(server.stop, _GRACE_SECONDS)
    stack.callback(path.unlink, missing_ok=True)
    settle()
    log.info("daemon.ready", address=endpoints.address, join_address=endpoints.join_address)


def _publish(models: ModelRegistry, run: RunView, folder: Path) -> None:
    models.publish(folder, Lineage(run_id=run.run_id, members=tuple(run.accepted), started_at=run.started_at))


def _rules(settings: CoordinatorSettings) -> MembershipRules:
    return MembershipRules(
        founding_members=settings.federation.founding_members,
        approvals_required=settings.federation.approvals_required,
        certificate_lifetime=settings.certificates.lifetime,
        roster_lifetime=settings.certificates.roster_lifetime,
    )


def _services(*modules: ModuleType) -> list[ServiceDescriptor]:
    return [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]


def _members_only(office: MembershipOffice) -> Check:
    async def check(context: Context, method: str) -> None:  # noqa: ARG001 - a check's signature
        office.require_current(tls.peer(context))

    return check


def _current_member(office: MembershipOffice) -> Callable[[Context], Identity]:
    def who(context: Context) -> Identity:
        identity = tls.peer(context)
        office.require_current(identity)
        return identity

    return who


def _recorder(audit: AuditLog) -> Refused:
    """Return what writes refused calls to the audit log."""

    async def append(event: str, **fields: FieldValue) -> None:
        await asyncio.to_thread(audit.append, event, **fields)

    return recorder(append, _who)


def _who(context: Context) -> Who:
    """Return the member that calls; who has no certificate shares a minute with all others that have none."""
    try:
        member = tls.peer(context).member_id
    except UnauthenticatedError:
        return Who("", context.peer())
    return Who(member, member)


async def _keep_roster_fresh(office: MembershipOffice, board: BulletinBoard, hub: Hub) -> None:
    """Issue the roster again at half of its lifetime and after a key ceremony; tell nodes of a new version at once."""
    announced = office.roster.version
    while True:
        await asyncio.sleep(_ROSTER_CHECK_SECONDS)
        await asyncio.to_thread(office.current_roster)
        await asyncio.to_thread(office.note_generation, board.generation)
        if office.roster.version != announced:
            announced = office.roster.version
            hub.announce()
