"""gRPC adapter of the replicas for the node's operator."""

import asyncio

from jointrisk.clock import rfc3339
from jointrisk.errors import NotFoundError
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import replica_operator_pb2 as pb
from jointrisk.rpc.v1.replica_operator_pb2_grpc import ReplicaOperatorServicer
from jointrisk_node.replica.desk import ReplicaDesk
from jointrisk_node.replica.forks import ForkAlarm
from jointrisk_node.replica.stock import ReplicaState
from jointrisk_node.replica.verifying import Verified


class ReplicaOperatorService(ReplicaOperatorServicer):
    """Serves the operator socket.

    Args:
        desk: this node's replicas.
    """

    def __init__(self, desk: ReplicaDesk) -> None:
        self._desk = desk

    async def GetReplicas(self, request: pb.GetReplicasRequest, context: Context) -> pb.ReplicaReport:
        """Return how the replicas stand."""
        return await asyncio.to_thread(self._report)

    async def SyncReplicas(self, request: pb.SyncReplicasRequest, context: Context) -> pb.ReplicaReport:
        """Synchronise now."""
        await self._desk.refresh()
        return await asyncio.to_thread(self._report)

    async def VerifyReplicas(self, request: pb.VerifyReplicasRequest, context: Context) -> pb.VerifiedReplicas:
        """Check everything on the disk."""
        found = [await asyncio.to_thread(self._desk.verify, epoch) for epoch in self._desk.epochs()]
        return pb.VerifiedReplicas(replicas=[_verified(one) for one in found])

    async def RebuildReplica(self, request: pb.RebuildReplicaRequest, context: Context) -> pb.ReplicaReport:
        """Build a replica again."""
        await self._desk.rebuild(request.epoch or self._newest())
        return await asyncio.to_thread(self._report)

    def _newest(self) -> int:
        epochs = self._desk.epochs()
        if not epochs:
            raise NotFoundError("there is no replica of the listings yet")
        return epochs[-1]

    def _report(self) -> pb.ReplicaReport:
        states = [self._desk.state(epoch) for epoch in self._desk.epochs()]
        return pb.ReplicaReport(
            replicas=[_replica(state) for state in states], forks=[_fork(alarm) for alarm in self._desk.forks()]
        )


def _replica(state: ReplicaState) -> pb.NodeReplica:
    return pb.NodeReplica(
        epoch=state.epoch,
        size=state.size,
        live=state.live,
        head_hash=state.head_hash.hex(),
        signed_at=rfc3339(state.signed_at),
        age_seconds=int(state.age.total_seconds()) if state.age is not None else 0,
        rebuilding=state.rebuilding,
        refusal=state.refusal,
        stored_megabytes=round(state.stored_bytes / 1e6, 1),
    )


def _fork(alarm: ForkAlarm) -> pb.ForkReport:
    return pb.ForkReport(
        epoch=alarm.epoch,
        reason=alarm.reason,
        brought_by=alarm.brought_by,
        found_at=alarm.found_at,
        evidence=str(alarm.evidence),
    )


def _verified(found: Verified) -> pb.VerifiedReplica:
    return pb.VerifiedReplica(
        epoch=found.epoch,
        size=found.size,
        live=found.live,
        head_hash=found.hash.hex(),
        signed_at=rfc3339(found.signed_at),
    )
