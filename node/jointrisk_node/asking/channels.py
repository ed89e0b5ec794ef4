"""Channels to holders: one to each, over mutual TLS, to the address in the roster.

Requests of a person or two go over a stream that stays open (`conversation`), all others are calls.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from grpc import aio

from jointrisk.errors import UnavailableError
from jointrisk.federation.certificates import KeyPair
from jointrisk.federation.names import member_server_name
from jointrisk.oprf.group import LENGTH
from jointrisk.rpc.channel import channel
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk.rpc.v1.evaluation_pb2_grpc import EvaluationServiceStub
from jointrisk_node.asking.conversation import Conversation, shown
from jointrisk_node.membership.membership import Membership

_SPOKEN_ABOUT = 2 * LENGTH  # bytes of elements: what holders evaluate at once. More would keep the next one waiting.
_GRACE_SECONDS = 120.0  # longer than any call
_RECONNECT_MS = 500  # Standing decides who is worth a try; a holder that is back is to be had at once.


@dataclass(slots=True)
class _Line:
    member: str
    address: str
    channel: aio.Channel
    stub: Any
    spoken: Conversation | None = None

    def conversation(self) -> Conversation:
        """Return the stream, a new one after it has ended."""
        if self.spoken is None or self.spoken.ended:
            self.spoken = Conversation(self.stub, self.member)
        return self.spoken

    async def close(self, grace: float | None) -> None:
        """Close, after what goes on has come to its end, but not later than after so many seconds."""
        if self.spoken is not None and grace is not None:
            self.spoken.leave()
        await self.channel.close(grace)


class PeerChannels:
    """Calls of holders. A channel is opened when it is needed, and again when the holder's address has changed.

    For the event loop's thread. gRPC keeps connections alive with pings, and makes them again where they broke.

    Args:
        membership: the roster, the CA, this node's certificate.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._pair: KeyPair | None = None
        self._lines: dict[str, _Line] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def evaluate(self, member: str, request: pb.EvaluateRequest, within: timedelta) -> pb.EvaluateResponse:
        """Ask a holder to evaluate.

        Args:
            member: the holder.
            request: signed.
            within: how long it is waited for.

        Raises:
            JointriskError: what a failed call stands for; its text is the holder's, made printable.
            UnavailableError: the member is not in the roster, or has no address there.
        """
        line = self._line(member)
        if len(request.elements) <= _SPOKEN_ABOUT:
            return await line.conversation().ask(request, within)
        try:
            answer: pb.EvaluateResponse = await line.stub.Evaluate(request, timeout=within.total_seconds())
        except grpc.RpcError as failure:
            raise shown(from_rpc(failure, peer=member)) from None
        return answer

    async def quota(self, member: str, epoch: int, within: timedelta) -> pb.Quota:
        """Ask a holder what this node has left. Raises as `evaluate`."""
        stub = self._line(member).stub
        try:
            quota: pb.Quota = await stub.GetQuota(pb.GetQuotaRequest(epoch=epoch), timeout=within.total_seconds())
        except grpc.RpcError as failure:
            raise shown(from_rpc(failure, peer=member)) from None
        return quota

    def reopen(self) -> None:
        """Use the renewed certificate from here on; calls that go on come to their end first."""
        self._pair = None
        lines, self._lines = self._lines, {}
        for line in lines.values():
            self._leave(line)

    async def close(self) -> None:
        """Close all channels, at once."""
        lines, self._lines = self._lines, {}
        for closing in self._closing:
            closing.cancel()
        for line in lines.values():
            await line.close(None)

    def _leave(self, line: _Line) -> None:
        closing = asyncio.create_task(line.close(_GRACE_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _line(self, member: str) -> _Line:
        address = self._address(member)
        line = self._lines.get(member)
        if line is None or line.address != address:
            self._lines[member] = opened = self._open(member, address)
            if line is not None:
                self._leave(line)
            return opened
        return line

    def _address(self, member: str) -> str:
        known = self._membership.trusted().get(member)
        if known is None:
            raise UnavailableError(f"{member}: not a member that this node trusts")
        if not known.address:
            raise UnavailableError(f"{member}: the roster has no address for it")
        return known.address

    def _open(self, member: str, address: str) -> _Line:
        if self._pair is None:
            self._pair = self._membership.transport()
        name = member_server_name(member)
        opened = channel(
            address, ca=self._membership.ca_pem, pair=self._pair, server_name=name, reconnect_ms=_RECONNECT_MS
        )
        return _Line(member, address, opened, EvaluationServiceStub(opened))
