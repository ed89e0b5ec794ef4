"""The coordinator's log service over gRPC, as the replica sees it."""

from collections.abc import AsyncIterator, Sequence

from jointrisk.federation.signing import Signed
from jointrisk.rpc.documents import from_message
from jointrisk.rpc.v1.listing_pb2 import ReadLogRequest
from jointrisk_node.coordinator_channel import CoordinatorChannel
from jointrisk_node.replica.source import LogPart


class CoordinatorSource:
    """A `jointrisk_node.replica.source.LogSource`.

    Args:
        channel: the coordinator.
    """

    def __init__(self, channel: CoordinatorChannel) -> None:
        self._channel = channel

    async def heads(self) -> Sequence[Signed]:
        """Return the newest heads."""
        return [from_message(head) for head in (await self._channel.listing_heads()).heads]

    async def watch(self) -> AsyncIterator[Sequence[Signed]]:
        """Yield the newest heads, at once and whenever there are others."""
        async for heads in self._channel.watch_listing_heads():
            yield [from_message(head) for head in heads.heads]

    async def read(self, epoch: int, from_position: int) -> AsyncIterator[LogPart]:
        """Yield a log from a position up to its newest head."""
        request = ReadLogRequest(epoch=epoch, from_position=from_position)
        async for part in self._channel.read_listings(request):
            head = from_message(part.head) if part.HasField("head") else None
            yield LogPart(part.from_position, part.entries, head)
