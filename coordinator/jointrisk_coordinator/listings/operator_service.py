"""gRPC adapter of the logs of listings for the coordinator's operator."""

import asyncio
from collections.abc import Callable, Collection

from jointrisk.clock import rfc3339
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import listing_operator_pb2 as pb
from jointrisk.rpc.v1.listing_operator_pb2_grpc import ListingOperatorServicer
from jointrisk_coordinator.listings.desk import ListingLog, LogStatus


class ListingOperatorService(ListingOperatorServicer):
    """Serves the operator socket.

    Args:
        listings: the logs.
        members: returns who is a member now.
    """

    def __init__(self, listings: ListingLog, members: Callable[[], Collection[str]]) -> None:
        self._listings = listings
        self._members = members

    async def GetListings(self, request: pb.GetListingsRequest, context: Context) -> pb.ListingLogs:
        """Return how the logs stand."""
        return await self._logs()

    async def ReleaseListings(self, request: pb.ReleaseListingsRequest, context: Context) -> pb.ListingLogs:
        """Release at once what waits."""
        await asyncio.to_thread(self._listings.release)
        return await self._logs()

    async def WithdrawMemberListings(
        self, request: pb.WithdrawMemberListingsRequest, context: Context
    ) -> pb.MemberListingsWithdrawn:
        """Withdraw what a former member has listed."""
        withdraw, members = self._listings.withdraw_member, self._members()
        entries = await asyncio.to_thread(withdraw, request.member_id, members)
        return pb.MemberListingsWithdrawn(member_id=request.member_id, entries=entries)

    async def _logs(self) -> pb.ListingLogs:
        found, release = await asyncio.to_thread(self._listings.status), self._listings.next_release
        return pb.ListingLogs(logs=[_log(one, rfc3339(release)) for one in found])


def _log(status: LogStatus, next_release: str) -> pb.ListingLogStatus:
    return pb.ListingLogStatus(
        epoch=status.epoch,
        size=status.size,
        live=status.live,
        held=status.held,
        pending=status.pending,
        pending_marks=status.pending_marks,
        listers=status.listers,
        head=status.hash.hex(),
        head_signed_at=rfc3339(status.signed_at),
        next_release_at=next_release,
        served_until=rfc3339(status.served_until),
    )
