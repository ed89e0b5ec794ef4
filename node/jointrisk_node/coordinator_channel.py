"""Channels to the coordinator, with the certificate as it is now."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from grpc import aio

from jointrisk.federation.names import COORDINATOR_SERVER_NAME
from jointrisk.rpc.channel import channel
from jointrisk.rpc.v1 import ceremony_pb2, listing_pb2
from jointrisk.rpc.v1.ceremony_pb2_grpc import CeremonyServiceStub
from jointrisk.rpc.v1.contract_pb2 import GetContractRequest, GetContractResponse
from jointrisk.rpc.v1.contract_pb2_grpc import ContractServiceStub
from jointrisk.rpc.v1.listing_pb2_grpc import ListingServiceStub
from jointrisk.rpc.v1.membership_pb2_grpc import MembershipServiceStub
from jointrisk.rpc.v1.model_pb2 import GetModelRequest, ListModelsRequest, ListModelsResponse, ModelChunk
from jointrisk.rpc.v1.model_pb2_grpc import ModelServiceStub
from jointrisk_node.membership.link import CALL_SECONDS, coordinator_errors
from jointrisk_node.membership.membership import Membership

if TYPE_CHECKING:
    from jointrisk.rpc.v1.membership_pb2_grpc import MembershipServiceAsyncStub

_TRANSFER_SECONDS = 3600.0  # what has arrived by then stays


class CoordinatorChannel:
    """One channel for single calls, opened again after a renewal; further ones on demand.

    Args:
        membership: the address, the CA, the certificate.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._channel = self.open()

    def open(self) -> aio.Channel:
        """Return a new channel, which its user closes."""
        membership = self._membership
        return channel(
            membership.coordinator_address,
            ca=membership.ca_pem,
            pair=membership.transport(),
            server_name=COORDINATOR_SERVER_NAME,
        )

    async def reopen(self) -> None:
        """Use the renewed certificate from here on."""
        old, self._channel = self._channel, self.open()
        await old.close(grace=CALL_SECONDS)

    async def close(self) -> None:
        """Close the channel for single calls."""
        await self._channel.close()

    def membership(self) -> "MembershipServiceAsyncStub":
        """Return the membership service over the present channel."""
        return MembershipServiceStub(self._channel)

    async def contract(self, request: GetContractRequest) -> GetContractResponse:
        """Ask for a feature contract.

        Raises:
            JointriskError: what a failed call stands for.
        """
        with coordinator_errors():
            return await ContractServiceStub(self._channel).GetContract(request, timeout=CALL_SECONDS)

    async def read_board(self, request: ceremony_pb2.ReadBoardRequest) -> ceremony_pb2.ReadBoardResponse:
        """Read the board of key ceremonies. This and the next raise JointriskError: what a failed call stands for."""
        with coordinator_errors():
            return await CeremonyServiceStub(self._channel).ReadBoard(request, timeout=CALL_SECONDS)

    async def approve_ceremony(
        self, request: ceremony_pb2.ApproveCeremonyRequest
    ) -> ceremony_pb2.ApproveCeremonyResponse:
        """Bring this member's approval of a ceremony."""
        with coordinator_errors():
            return await CeremonyServiceStub(self._channel).ApproveCeremony(request, timeout=CALL_SECONDS)

    async def post_message(self, request: ceremony_pb2.PostMessageRequest) -> ceremony_pb2.PostMessageResponse:
        """Post a message on the board."""
        with coordinator_errors():
            return await CeremonyServiceStub(self._channel).PostMessage(request, timeout=CALL_SECONDS)

    async def list_generations(
        self, request: ceremony_pb2.ListGenerationsRequest
    ) -> ceremony_pb2.ListGenerationsResponse:
        """Read the transcripts of ceremonies that are done."""
        with coordinator_errors():
            return await CeremonyServiceStub(self._channel).ListGenerations(request, timeout=CALL_SECONDS)

    async def append_listings(self, request: listing_pb2.AppendRequest) -> listing_pb2.AppendResponse:
        """Append sealed entries. This and the following raise JointriskError: what a failed call stands for."""
        with coordinator_errors():
            return await ListingServiceStub(self._channel).Append(request, timeout=CALL_SECONDS)

    async def mark_listings(self, request: listing_pb2.MarkRequest) -> listing_pb2.MarkResponse:
        """Withdraw, hold or release entries of this member."""
        with coordinator_errors():
            return await ListingServiceStub(self._channel).Mark(request, timeout=CALL_SECONDS)

    async def renew_listings(self, request: listing_pb2.RenewEntriesRequest) -> listing_pb2.RenewEntriesResponse:
        """Put off the expiry of entries of this member."""
        with coordinator_errors():
            return await ListingServiceStub(self._channel).Renew(request, timeout=CALL_SECONDS)

    async def listing_states(self, request: listing_pb2.GetEntriesRequest) -> listing_pb2.GetEntriesResponse:
        """Ask how entries of this member stand."""
        with coordinator_errors():
            return await ListingServiceStub(self._channel).GetEntries(request, timeout=CALL_SECONDS)

    async def listing_heads(self) -> listing_pb2.Heads:
        """Ask for the newest heads of the logs of listings."""
        with coordinator_errors():
            return await ListingServiceStub(self._channel).GetHeads(listing_pb2.GetHeadsRequest(), timeout=CALL_SECONDS)

    async def watch_listing_heads(self) -> AsyncIterator[listing_pb2.Heads]:
        """Receive the newest heads now and whenever there are others, until the connection ends."""
        with coordinator_errors():
            async for heads in ListingServiceStub(self._channel).WatchHeads(listing_pb2.WatchHeadsRequest()):
                yield heads

    async def read_listings(self, request: listing_pb2.ReadLogRequest) -> AsyncIterator[listing_pb2.LogStretch]:
        """Receive the entries of a log piece by piece."""
        with coordinator_errors():
            async for stretch in ListingServiceStub(self._channel).ReadLog(request, timeout=_TRANSFER_SECONDS):
                yield stretch

    async def count_tags(self, request: listing_pb2.CountTagsRequest) -> listing_pb2.TagCounts:
        """Ask under how many different tags each member has appended; for holders."""
        with coordinator_errors():
            return await ListingServiceStub(self._channel).CountTags(request, timeout=CALL_SECONDS)

    async def models(self) -> ListModelsResponse:
        """Ask which models are published.

        Raises:
            JointriskError: what a failed call stands for.
        """
        with coordinator_errors():
            return await ModelServiceStub(self._channel).ListModels(ListModelsRequest(), timeout=CALL_SECONDS)

    async def model(self, request: GetModelRequest) -> AsyncIterator[ModelChunk]:
        """Receive a model's bundle piece by piece.

        Raises:
            JointriskError: what a failed call stands for.
        """
        with coordinator_errors():
            async for chunk in ModelServiceStub(self._channel).GetModel(request, timeout=_TRANSFER_SECONDS):
                yield chunk
