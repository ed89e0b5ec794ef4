"""The operator service: what the coordinator's own command line asks its daemon."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from jointrisk import PROTOCOL_MAX, __version__
from jointrisk.clock import rfc3339
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import coordinator_operator_pb2 as pb
from jointrisk.rpc.v1.coordinator_operator_pb2_grpc import CoordinatorOperatorServicer
from jointrisk_coordinator.ceremonies import BulletinBoard
from jointrisk_coordinator.contracts import PublishedContract
from jointrisk_coordinator.contracts.registry import ContractRegistry
from jointrisk_coordinator.membership.office import INVITATION_VALID, MembershipOffice
from jointrisk_coordinator.membership.views import MemberView
from jointrisk_coordinator.runs.hub import Hub
from jointrisk_coordinator.runs.supervisor import RunSupervisor
from jointrisk_coordinator.runs.views import to_message


@dataclass(frozen=True)
class Endpoints:
    """Where this coordinator is reached from outside, "host:port", and since when it runs."""

    address: str
    join_address: str
    started_at: datetime


class OperatorService(CoordinatorOperatorServicer):
    """Serves the operator socket. Who can open the socket may do everything here.

    Args:
        office: membership.
        contracts: feature contracts.
        board: key ceremonies.
        hub: who is online.
        supervisor: runs.
        endpoints: where the coordinator is.
    """

    def __init__(
        self,
        office: MembershipOffice,
        contracts: ContractRegistry,
        board: BulletinBoard,
        hub: Hub,
        supervisor: RunSupervisor,
        endpoints: Endpoints,
    ) -> None:
        self._office = office
        self._contracts = contracts
        self._board = board
        self._hub = hub
        self._supervisor = supervisor
        self._endpoints = endpoints

    async def GetStatus(self, request: pb.GetCoordinatorStatusRequest, context: Context) -> pb.CoordinatorStatus:
        """Say how the daemon is."""
        authority = self._office.authority
        return pb.CoordinatorStatus(
            federation=authority.federation,
            software_version=__version__,
            protocol_version=PROTOCOL_MAX,
            address=self._endpoints.address,
            join_address=self._endpoints.join_address,
            roster_version=self._office.roster.version,
            contract_version=self._contracts.current_version,
            members=len(self._office.history.members),
            members_online=len(self._hub.online()),
            runs_active=self._supervisor.active,
            ca_fingerprint=authority.fingerprint.hex(),
            ca_expires_at=rfc3339(authority.certificate.not_valid_after_utc),
            started_at=rfc3339(self._endpoints.started_at),
        )

    async def Invite(self, request: pb.InviteRequest, context: Context) -> pb.Invitation:
        """Make an invitation."""
        valid = timedelta(seconds=request.valid_seconds) if request.valid_seconds else INVITATION_VALID
        made = await asyncio.to_thread(
            self._office.invite,
            request.member_id,
            self._endpoints.join_address,
            valid=valid,
            replace_key=request.replace_key,
        )
        return pb.Invitation(
            invitation_id=made.invitation_id,
            member_id=made.member_id,
            token=made.token,
            expires_at=rfc3339(made.expires_at),
        )

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.MemberList:
        """List members, candidates and removed members."""
        views = await asyncio.to_thread(self._office.list_members)
        return pb.MemberList(members=[self._member(view) for view in views])

    async def Remove(self, request: pb.RemoveRequest, context: Context) -> pb.Removal:
        """End a membership. Its streams are closed by the office's callback, before this returns."""
        open_streams = request.member_id in self._hub.online()
        version = await asyncio.to_thread(self._office.remove, request.member_id, request.reason)
        return pb.Removal(
            member_id=request.member_id,
            roster_version=version,
            streams_closed=int(open_streams),
            holds_share=request.member_id in await asyncio.to_thread(self._board.holders),
        )

    async def PublishContract(self, request: pb.PublishContractRequest, context: Context) -> pb.ContractSummary:
        """Check, sign and publish a contract, and tell the nodes."""
        published = await asyncio.to_thread(self._contracts.publish, request.toml)
        self._hub.announce()
        return _contract(published)

    async def ListContracts(self, request: pb.ListContractsRequest, context: Context) -> pb.ContractList:
        """List all versions."""
        listed = await asyncio.to_thread(self._contracts.published)
        return pb.ContractList(contracts=[_contract(one) for one in listed])

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.Run:
        """Start a run."""
        run_id = await self._supervisor.start(request.toml)
        return to_message(await self._supervisor.get(run_id))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.RunList:
        """List all runs, without their rounds."""
        return pb.RunList(runs=[to_message(run, history=False) for run in await self._supervisor.list()])

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.Run:
        """Return one run."""
        return to_message(await self._supervisor.get(request.run_id))

    async def WatchRun(self, request: pb.GetRunRequest, context: Context) -> AsyncIterator[pb.Run]:
        """Follow one run to its end."""
        async for run in self._supervisor.watch(request.run_id):
            yield to_message(run)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.Run:
        """End one run."""
        return to_message(await self._supervisor.cancel(request.run_id, request.reason))

    def _member(self, view: MemberView) -> pb.Member:
        return pb.Member(
            member_id=view.member_id,
            state=view.state,
            fingerprint=view.fingerprint,
            joined_at=rfc3339(view.joined_at),
            certificate_expires_at=rfc3339(view.certificate_expires_at),
            online=view.member_id in self._hub.online(),
            last_seen_at=rfc3339(self._hub.last_seen(view.member_id)),
            software_version=self._hub.software_version(view.member_id),
            approvals=len(view.approved_by),
            approvals_required=view.approvals_required,
            approved_by=view.approved_by,
        )


def _contract(published: PublishedContract) -> pb.ContractSummary:
    terms = published.contract
    return pb.ContractSummary(
        version=published.version,
        digest=published.digest,
        features=len(terms.features),
        label_column=terms.target.label_column,
        published_at=rfc3339(published.published_at),
    )
