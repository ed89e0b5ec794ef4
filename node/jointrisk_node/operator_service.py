"""The operator service: what the node's own command line asks its daemon."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from jointrisk import PROTOCOL_MAX, __version__
from jointrisk.clock import rfc3339
from jointrisk.errors import JointriskError
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import coordinator_operator_pb2 as members_pb
from jointrisk.rpc.v1 import node_operator_pb2 as pb
from jointrisk.rpc.v1.node_operator_pb2_grpc import NodeOperatorServicer
from jointrisk_node.contracts import ContractLedger
from jointrisk_node.holder import CeremonyLink
from jointrisk_node.membership.link import MembershipLink
from jointrisk_node.membership.membership import Membership
from jointrisk_node.membership.views import Candidate, MemberView
from jointrisk_node.training.link import Link


class OperatorService(NodeOperatorServicer):
    """Serves the operator socket. Who can open the socket may do everything here.

    Args:
        membership: what this node believes and decides.
        membership_link: asks the coordinator about it.
        contracts: the contracts known here.
        ceremonies: keeps up with key ceremonies.
        link: the stream to the coordinator.
        alarms: returns what people must look at; blocks on the database.
        started_at: since when the daemon runs.
    """

    def __init__(
        self,
        membership: Membership,
        membership_link: MembershipLink,
        contracts: ContractLedger,
        ceremonies: CeremonyLink,
        link: Link,
        alarms: Callable[[], Sequence[str]],
        started_at: datetime,
    ) -> None:
        self._membership = membership
        self._membership_link = membership_link
        self._contracts = contracts
        self._ceremonies = ceremonies
        self._link = link
        self._alarms = alarms
        self._started_at = started_at

    async def GetStatus(self, request: pb.GetNodeStatusRequest, context: Context) -> pb.NodeStatus:
        """Say how the daemon is, and what it waits for."""
        membership, link = self._membership, self._link
        return pb.NodeStatus(
            member_id=membership.member_id,
            federation=membership.federation,
            software_version=__version__,
            protocol_version=PROTOCOL_MAX,
            coordinator_address=membership.coordinator_address,
            connected=link.connected,
            detail="" if link.connected else f"not connected since {rfc3339(link.since)}: {link.detail}",
            roster_version=membership.roster.version,
            roster_expires_at=rfc3339(membership.roster.expires_at),
            contract_version=self._contracts.current_version(),
            certificate_expires_at=rfc3339(membership.certificate_expires_at()),
            runs_active=link.runs_active,
            ceremony_to_approve=self._ceremonies.awaited,
            alarms=await asyncio.to_thread(self._alarms),
            started_at=rfc3339(self._started_at),
        )

    async def ListMembers(self, request: members_pb.ListMembersRequest, context: Context) -> members_pb.MemberList:
        """List members as this node believes them, and candidates as the coordinator tells them."""
        views = self._membership.members(await self._candidates())
        return members_pb.MemberList(members=[_member(view) for view in views])

    async def ApproveMember(self, request: pb.ApproveMemberRequest, context: Context) -> pb.ApproveMemberResponse:
        """Approve a candidate."""
        state = await self._membership_link.approve(request.member_id, request.fingerprint)
        return pb.ApproveMemberResponse(
            approvals=state.approvals, approvals_required=state.approvals_required, admitted=state.admitted
        )

    async def AcceptMember(self, request: pb.AcceptMemberRequest, context: Context) -> pb.AcceptMemberResponse:
        """Accept a member's changed key."""
        pinned, state = await self._membership_link.accept(request.member_id, request.fingerprint)
        return pb.AcceptMemberResponse(
            pinned=pinned,
            approvals=state.approvals if state else 0,
            approvals_required=state.approvals_required if state else 0,
        )

    async def GetFingerprints(self, request: pb.GetFingerprintsRequest, context: Context) -> pb.Fingerprints:
        """Return what founding members compare."""
        prints = self._membership.fingerprints()
        return pb.Fingerprints(
            federation=prints.federation,
            coordinator=prints.coordinator,
            members=[members_pb.Member(member_id=name, fingerprint=one) for name, one in prints.members.items()],
        )

    async def _candidates(self) -> Sequence[Candidate]:
        """Return candidates; none while the coordinator cannot be asked, which `status` tells."""
        try:
            return await self._membership_link.candidates()
        except JointriskError:
            return ()


def _member(view: MemberView) -> members_pb.Member:
    return members_pb.Member(
        member_id=view.member_id,
        state=view.state,
        fingerprint=view.fingerprint,
        joined_at=rfc3339(view.joined_at),
        approvals=len(view.approved_by),
        approvals_required=view.approvals_required,
        approved_by=view.approved_by,
    )
