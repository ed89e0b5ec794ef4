"""gRPC adapters of membership: convert, call one method of the office, convert back."""

import asyncio
from collections.abc import Callable

from jointrisk.federation.certificates import Identity
from jointrisk.rpc.documents import from_message, to_message
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import join_pb2, membership_pb2
from jointrisk.rpc.v1.join_pb2_grpc import JoinServiceServicer
from jointrisk.rpc.v1.membership_pb2_grpc import MembershipServiceServicer
from jointrisk_coordinator.membership.admissions import PendingAdmission
from jointrisk_coordinator.membership.joining import JoinRequest
from jointrisk_coordinator.membership.office import MembershipOffice

Peer = Callable[[Context], Identity]
"""Returns who is calling, from the certificate that TLS verified."""


class JoinServicer(JoinServiceServicer):
    """Serves the join port. Errors are raised as they are; the server's guard maps them.

    Args:
        office: the coordinator's membership.
        address: where members reach the coordinator by mutual TLS, "host:port".
    """

    def __init__(self, office: MembershipOffice, address: str) -> None:
        self._office = office
        self._address = address

    async def GetAuthority(
        self, request: join_pb2.GetAuthorityRequest, context: Context
    ) -> join_pb2.GetAuthorityResponse:
        """Return the CA certificate."""
        return join_pb2.GetAuthorityResponse(ca_certificate=self._office.authority.certificate_der)

    async def Join(self, request: join_pb2.JoinRequest, context: Context) -> join_pb2.JoinResponse:
        """Redeem an invitation."""
        asked = JoinRequest(
            invitation_id=request.invitation_id,
            secret=request.secret,
            certificate_request=request.certificate_request,
            identity_key=request.identity_key,
            proof=request.proof,
            address=request.address,
        )
        result = await asyncio.to_thread(self._office.join, asked, caller=context.peer())
        response = join_pb2.JoinResponse(
            member_id=result.member_id,
            approvals=result.approvals,
            approvals_required=result.approvals_required,
        )
        if result.certificate is not None:
            response.certificate = result.certificate
            response.coordinator_address = self._address
            response.coordinator_key = self._office.authority.public_key
            roster = await asyncio.to_thread(self._office.current_roster)
            response.roster.CopyFrom(to_message(roster))
        return response


class MembershipServicer(MembershipServiceServicer):
    """Serves members. That the caller is a current member is checked before every call, and again where it matters.

    Args:
        office: the coordinator's membership.
        peer: tells who is calling.
    """

    def __init__(self, office: MembershipOffice, peer: Peer) -> None:
        self._office = office
        self._peer = peer

    async def GetRoster(
        self, request: membership_pb2.GetRosterRequest, context: Context
    ) -> membership_pb2.GetRosterResponse:
        """Return the roster unless the caller has it."""
        signed = await asyncio.to_thread(self._office.current_roster)
        if request.known_version == self._office.roster.version:
            return membership_pb2.GetRosterResponse()
        return membership_pb2.GetRosterResponse(roster=to_message(signed))

    async def Renew(self, request: membership_pb2.RenewRequest, context: Context) -> membership_pb2.RenewResponse:
        """Issue the caller another certificate."""
        der = await asyncio.to_thread(self._office.renew, request.certificate_request, self._peer(context))
        return membership_pb2.RenewResponse(certificate=der)

    async def ListAdmissions(
        self, request: membership_pb2.ListAdmissionsRequest, context: Context
    ) -> membership_pb2.ListAdmissionsResponse:
        """Return the admissions that wait."""
        admissions = await asyncio.to_thread(self._office.admissions)
        return membership_pb2.ListAdmissionsResponse(admissions=map(_admission, admissions))

    async def Approve(self, request: membership_pb2.ApproveRequest, context: Context) -> membership_pb2.ApproveResponse:
        """Take the caller's approval."""
        approval = from_message(request.approval)
        state = await asyncio.to_thread(self._office.approve, approval, self._peer(context))
        return membership_pb2.ApproveResponse(
            approvals=state.approvals, approvals_required=state.approvals_required, admitted=state.admitted
        )


def _admission(pending: PendingAdmission) -> membership_pb2.Admission:
    return membership_pb2.Admission(
        admission_id=pending.admission_id,
        member_id=pending.member_id,
        identity_key=pending.identity_key,
        previous_identity_key=pending.previous_identity_key or b"",
        approvals=len(pending.approved_by),
        approvals_required=pending.approvals_required,
        approved_by=pending.approved_by,
    )
