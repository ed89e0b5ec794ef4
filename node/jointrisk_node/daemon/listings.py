"""The parts that have to do with the shared listings, wired together: holding, asking, listing, signals."""

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jointrisk.masterkey import MasterKey
from jointrisk.rpc.v1 import (
    holder_operator_pb2_grpc,
    listing_lister_pb2_grpc,
    replica_operator_pb2_grpc,
    signal_access_pb2_grpc,
    signal_pb2_grpc,
)
from jointrisk.rpc.v1.listing_pb2 import CountTagsRequest
from jointrisk.statedir import StateDir
from jointrisk.store import AuditLog, Store
from jointrisk_node.asking.asker import Asker
from jointrisk_node.asking.channels import PeerChannels
from jointrisk_node.asking.generations import Generations
from jointrisk_node.asking.ledger import EvidenceLedger
from jointrisk_node.audit_journal import AuditJournal, JournalLedger
from jointrisk_node.coordinator_channel import CoordinatorChannel
from jointrisk_node.evaluations.callers import Callers
from jointrisk_node.evaluations.charges import ChargeBook
from jointrisk_node.evaluations.charging import ChargeWriter
from jointrisk_node.evaluations.computing import Evaluator
from jointrisk_node.evaluations.desk import EvaluationDesk
from jointrisk_node.evaluations.operator_service import HolderOperatorService
from jointrisk_node.evaluations.peer_server import start_peer_server
from jointrisk_node.evaluations.quota import Allowance
from jointrisk_node.evaluations.reconciling import Reconciliation
from jointrisk_node.evaluations.retiring import Retirement
from jointrisk_node.evaluations.shares import HeldShares
from jointrisk_node.holder import GenerationLedger
from jointrisk_node.listings.assembling import make_lister
from jointrisk_node.listings.service import ListingLister
from jointrisk_node.membership.membership import Membership
from jointrisk_node.replica.coordinator_source import CoordinatorSource
from jointrisk_node.replica.desk import ReplicaDesk
from jointrisk_node.replica.service import ReplicaOperatorService
from jointrisk_node.settings import NodeSettings
from jointrisk_node.signals.access import AccessDesk
from jointrisk_node.signals.desk import SignalDesk
from jointrisk_node.signals.ledger import AccessLedger
from jointrisk_node.signals.listening import SignalPort
from jointrisk_node.signals.service import AccessServicer, SignalServicer, at_the_socket

if TYPE_CHECKING:
    from grpc import aio


@dataclass(frozen=True)
class Shared:
    """What the parts are made of.

    Attributes:
        state: the state directory.
        settings: of the node.
        master: the master key.
        store: the database.
        audit: its audit log.
        membership: this node's.
        channel: to the coordinator.
        generations: of key shares.
    """

    state: StateDir
    settings: NodeSettings
    master: MasterKey
    store: Store
    audit: AuditLog
    membership: Membership
    channel: CoordinatorChannel
    generations: GenerationLedger


class ListingParts:
    """Everything about listings in one daemon. Made in its event loop; making it opens files and blocks shortly.

    Args:
        shared: what the parts are made of.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        store, audit, membership, settings = shared.store, shared.audit, shared.membership, shared.settings
        self.journal = AuditJournal(shared.state.path("journal"), JournalLedger(store, audit))
        self.replica = ReplicaDesk(
            shared.state.path("replica"),
            membership.federation,
            membership.coordinator_key,
            CoordinatorSource(shared.channel),
            audit,
            settings.replica,
        )
        self._peers = PeerChannels(membership)
        self.asker = Asker(
            membership,
            Generations(shared.generations, membership.member_id),
            self._peers,
            self.replica,
            self.journal,
            EvidenceLedger(store, audit),
            settings.asking,
        )
        self._callers = Callers(membership)
        self._shares = HeldShares(shared.generations, membership.member_id)
        self._book = ChargeBook(self.journal, cache(lambda name: Allowance.of(settings.holder.granted(name))))
        self._evaluator = Evaluator()
        self.evaluations = EvaluationDesk(
            holder=membership.member_id,
            identity=membership.keys.identity(),
            callers=self._callers,
            shares=self._shares,
            book=self._book,
            writer=ChargeWriter(self._book),
            evaluator=self._evaluator,
            heads=self.replica,
            journal=self.journal,
        )
        self.lister = make_lister(
            store,
            shared.master,
            audit,
            shared.channel,
            self.asker,
            self._epochs,
            self.replica,
            settings.listings,
        )
        self.access = AccessDesk(AccessLedger(store, audit), os.urandom)
        self.signals = SignalDesk(self.asker, self.replica, self.journal, own_pseudonym=self.lister.desk.own_pseudonym)

    def loops(self) -> Sequence[Coroutine[None, None, None]]:
        """Return what runs beside the servers until the daemon stops."""
        shared = self._shared
        settings = shared.settings
        retirement = Retirement(
            shared.store, shared.generations, self._shares, shared.audit, settings.holder.old_epochs
        )
        return (
            self.journal.keep_moving(),
            self.replica.keep_current(),
            self.replica.keep_comparing(),
            self._shares.keep_current(),
            Reconciliation(self._book, self._count_tags).keep_current(),
            retirement.keep_current(),
            *self.lister.loops(),
        )

    async def serve(self, stack: AsyncExitStack, operator: "aio.Server", grace: float) -> None:
        """Serve the operator's services, other members and the lender's own systems.

        Args:
            stack: ends the servers.
            operator: the server of the operator socket, not started yet.
            grace: seconds for calls that go on when a server is stopped.

        Raises:
            ConflictError: an address is taken.
        """
        self._serve_operator(operator)
        shared = self._shared
        listen = shared.settings.holder.listen
        if listen:
            server = await start_peer_server(listen, shared.membership, self._callers, self.evaluations, self.journal)
            stack.push_async_callback(server.stop, grace)
        port = SignalPort(
            self.signals,
            self.access,
            self.journal,
            shared.settings.signals,
            transport=shared.membership.transport,
            ca=shared.membership.ca_pem,
        )
        await port.start()
        stack.push_async_callback(port.stop, grace)

    def alarms(self) -> list[str]:
        """Return what people must look at, a sentence each. Blocks on the database."""
        forks = [f"the log of epoch {one.epoch} is forked, as {one.brought_by} shows" for one in self.replica.forks()]
        return forks + [f"{one.what} in epoch {one.epoch}: {one.count}" for one in self.lister.desk.alarms()]

    def certificate_renewed(self) -> None:
        """Use the renewed certificate towards other members from here on."""
        self._peers.reopen()

    async def close(self) -> None:
        """Let go of files and channels."""
        await self._peers.close()
        self._evaluator.close()
        await asyncio.to_thread(self.replica.close)
        await asyncio.to_thread(self.journal.close)

    def _serve_operator(self, server: "aio.Server") -> None:
        listing_lister_pb2_grpc.add_ListingListerServicer_to_server(ListingLister(self.lister.desk), server)
        replica_operator_pb2_grpc.add_ReplicaOperatorServicer_to_server(ReplicaOperatorService(self.replica), server)
        signals = SignalServicer(self.signals, at_the_socket)
        signal_pb2_grpc.add_SignalServiceServicer_to_server(signals, server)
        signal_access_pb2_grpc.add_NodeAccessOperatorServicer_to_server(AccessServicer(self.access), server)
        holder = HolderOperatorService(self.evaluations, self._evaluator, self._shared.settings.holder.listen)
        holder_operator_pb2_grpc.add_NodeHolderOperatorServicer_to_server(holder, server)

    async def _count_tags(self, epoch: int) -> Mapping[str, int]:
        counts = await self._shared.channel.count_tags(CountTagsRequest(epoch=epoch))
        return dict(counts.tags)

    def _epochs(self) -> Sequence[int]:
        return sorted({key.epoch for key in self._shared.generations.all()})
