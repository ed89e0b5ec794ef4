"""The daemon's life: what it is made of, serves and keeps up with, from its start to its end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from jointrisk import __version__
from jointrisk.clock import utc_now
from jointrisk.learning.secure_aggregation import Policy
from jointrisk.logs import configure_logging
from jointrisk.masterkey import MasterKey
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind_unix, check_protocol, new_server
from jointrisk.rpc.v1 import (
    ceremony_operator_pb2_grpc,
    node_model_pb2_grpc,
    node_operator_pb2_grpc,
    score_pb2_grpc,
    training_pb2,
)
from jointrisk.serving import StopSignal, close_to_others, keep_files_private, prepare_socket, settle
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog, Store
from jointrisk_node.attempts import attempt
from jointrisk_node.contracts import ContractDesk, ContractLedger
from jointrisk_node.coordinator_channel import CoordinatorChannel
from jointrisk_node.daemon.listings import ListingParts, Shared
from jointrisk_node.database import open_database
from jointrisk_node.holder import CeremonyDesk, CeremonyLink, GenerationLedger
from jointrisk_node.holder.service import CeremonyOperatorService
from jointrisk_node.membership.keys import NodeKeys
from jointrisk_node.membership.link import MembershipLink
from jointrisk_node.membership.membership import Membership
from jointrisk_node.models import ModelDesk, ModelLedger
from jointrisk_node.models.personal import PersonalModels
from jointrisk_node.models.service import NodeModelServicer
from jointrisk_node.operator_service import OperatorService
from jointrisk_node.scoring.scale import Scale
from jointrisk_node.scoring.service import ScoreServicer
from jointrisk_node.scoring.warm import ScoringDesk
from jointrisk_node.settings import NodeSettings
from jointrisk_node.sums import SumDesk, SumLedger, SumPolicy
from jointrisk_node.training.gate import Gate
from jointrisk_node.training.link import Link
from jointrisk_node.training.spool import TaskSpool
from jointrisk_node.training.stream import Known

log = structlog.get_logger()

_GRACE_SECONDS = 5.0


def run_daemon(state: StateDir, settings: NodeSettings, key: MasterKey) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        ConflictError: another daemon uses the state directory.
        NotFoundError: this node has joined no federation yet.
    """
    keep_files_private()
    configure_logging(settings.log.level, settings.log.format)
    with state.lock():
        asyncio.run(_serve(state, settings, key))


async def _serve(state: StateDir, settings: NodeSettings, key: MasterKey) -> None:
    stop = StopSignal()
    async with _node(state, settings, key):
        await stop.wait()
        log.info("daemon.stopping")


@dataclass(frozen=True)
class _Parts:
    store: Store
    audit: AuditLog
    membership: Membership
    channel: CoordinatorChannel
    membership_link: MembershipLink
    contracts: ContractLedger
    desk: ContractDesk
    models: ModelDesk
    scoring: ScoringDesk
    ceremonies: CeremonyDesk
    ceremony_link: CeremonyLink
    listings: ListingParts
    news: "_News"
    link: Link


class _News:
    """What the coordinator calls current, turned into wake-up calls."""

    def __init__(self, membership: Membership, contracts: ContractLedger) -> None:
        self.roster = asyncio.Event()
        self.contract = asyncio.Event()
        self.model = asyncio.Event()
        self.board = asyncio.Event()
        self._model = self._board = 0
        self._membership = membership
        self._contracts = contracts

    def known(self) -> Known:
        """Return the versions that this node has."""
        return Known(self._membership.roster.version, self._contracts.current_version())

    def seen(self, current: training_pb2.Welcome | training_pb2.Heartbeat) -> None:
        """Note what is current; what is newer is fetched at once."""
        known = self.known()
        if current.roster_version > known.roster:
            self.roster.set()
        if current.contract_version > known.contract:
            self.contract.set()
        if current.model_number > self._model:
            self._model = current.model_number
            self.model.set()
        if current.board_number > self._board:
            self._board = current.board_number
            self.board.set()


@asynccontextmanager
async def _node(state: StateDir, settings: NodeSettings, key: MasterKey) -> AsyncIterator[None]:
    """Run the node for the time of the block."""
    async with AsyncExitStack() as stack:
        parts = await _parts(state, settings, key)
        stack.callback(parts.store.close)
        await asyncio.to_thread(parts.audit.append, "daemon.started", version=__version__)
        stack.push_async_callback(asyncio.to_thread, parts.audit.append, "daemon.stopped")
        stack.push_async_callback(parts.channel.close)
        stack.push_async_callback(parts.listings.close)
        await _serve_operator(stack, state, parts)
        loops = (
            _keep_membership(parts, settings),
            _keep_contract(parts),
            _keep_models(parts, settings),
            parts.ceremony_link.keep_up(parts.news.board, every=settings.membership.roster_poll),
            *parts.listings.loops(),
        )
        for loop in loops:
            stack.callback(asyncio.create_task(loop).cancel)
        await parts.link.start()
        stack.push_async_callback(parts.link.stop, _GRACE_SECONDS)
        settle()
        log.info("daemon.ready", member_id=parts.membership.member_id)
        yield


async def _parts(state: StateDir, settings: NodeSettings, key: MasterKey) -> _Parts:
    keys = NodeKeys(state, key)
    store = await asyncio.to_thread(open_database, state, settings)
    audit = AuditLog(store, keys.identity())
    membership = await asyncio.to_thread(Membership, store, keys, audit)
    channel = CoordinatorChannel(membership)
    contracts = ContractLedger(store, membership.coordinator_key, audit)
    desk = ContractDesk(contracts, channel.contract)
    ledger = ModelLedger(store, state.path("models"), audit)
    models = ModelDesk(ledger, channel, membership.coordinator_key, desk.payload)
    personal = PersonalModels(state, lambda: key)
    scoring = ScoringDesk(models, contracts.get, Scale(settings.scoring), personal)
    generations = GenerationLedger(store, key)
    ceremonies = CeremonyDesk(
        store,
        membership,
        generations,
        key,
        audit,
        approve_all=settings.ceremonies.approve_all,
        confirmations=settings.ceremonies.confirmations,
        randomness=os.urandom,
    )
    news = _News(membership, contracts)

    def trusted_members() -> list[str]:
        membership.require_fresh()
        return list(membership.trusted())

    def sum_policy(contract_version: int) -> SumPolicy:
        membership.require_fresh()
        pinned = {name: member.identity_key for name, member in membership.trusted().items()}
        policy = settings.policy
        judge = Policy(membership.federation, contract_version, pinned, policy.colluders, policy.minimum_parties)
        return SumPolicy(judge, policy.statement_cohorts)

    gate = Gate(membership.member_id, lambda: settings.policy, trusted_members, desk.payload)
    link = Link(
        membership.member_id,
        channel.open,
        TaskSpool(state.path("training")),
        gate,
        settings.data.model_dump(mode="json"),
        known=news.known,
        seen=news.seen,
        sums=SumDesk(membership.member_id, sum_policy, SumLedger(store, key, audit), keys.identity().sign),
        audit=audit,
    )
    membership_link = MembershipLink(membership, channel.membership)
    listings = ListingParts(Shared(state, settings, key, store, audit, membership, channel, generations))
    return _Parts(
        store,
        audit,
        membership,
        channel,
        membership_link,
        contracts,
        desk,
        models,
        scoring,
        ceremonies,
        CeremonyLink(ceremonies, channel),
        listings,
        news,
        link,
    )


async def _serve_operator(stack: AsyncExitStack, state: StateDir, parts: _Parts) -> None:
    server = new_server(Guard([check_protocol]))
    service = OperatorService(
        parts.membership,
        parts.membership_link,
        parts.contracts,
        parts.ceremony_link,
        parts.link,
        parts.listings.alarms,
        utc_now(),
    )
    node_operator_pb2_grpc.add_NodeOperatorServicer_to_server(service, server)
    node_model_pb2_grpc.add_NodeModelServiceServicer_to_server(NodeModelServicer(parts.models), server)
    score_pb2_grpc.add_ScoreServiceServicer_to_server(ScoreServicer(parts.scoring), server)
    ceremonies = CeremonyOperatorService(parts.ceremonies, parts.ceremony_link)
    ceremony_operator_pb2_grpc.add_NodeCeremonyOperatorServicer_to_server(ceremonies, server)
    await parts.listings.serve(stack, server, _GRACE_SECONDS)
    path = prepare_socket(state.root)
    bind_unix(server, path)
    close_to_others(path)
    await server.start()
    stack.push_async_callback(server.stop, _GRACE_SECONDS)
    stack.callback(path.unlink, missing_ok=True)


async def _keep_membership(parts: _Parts, settings: NodeSettings) -> None:
    async def renewed() -> None:
        await parts.channel.reopen()
        parts.listings.certificate_renewed()
        parts.link.reconnect()

    async def roster_changed() -> None:
        log.info("membership.roster", version=parts.membership.roster.version)

    await parts.membership_link.keep_current(
        parts.news.roster,
        every=settings.membership.roster_poll,
        renewed=renewed,
        roster_changed=roster_changed,
    )


async def _keep_contract(parts: _Parts) -> None:
    """Fetch the newest contract at the start and whenever a newer one is announced."""
    while True:
        await attempt("contract", parts.desk.refresh())
        await parts.news.contract.wait()
        parts.news.contract.clear()


async def _keep_models(parts: _Parts, settings: NodeSettings) -> None:
    """Fetch models at the start, whenever a newer one is announced, and again where that failed."""
    while True:
        parts.news.model.clear()
        await attempt("model", parts.models.refresh())
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.membership.roster_poll.total_seconds()):
                await parts.news.model.wait()
