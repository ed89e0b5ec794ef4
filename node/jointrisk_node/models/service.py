"""gRPC adapter of models at a node: what its own command line asks."""

import asyncio

from jointrisk.clock import rfc3339
from jointrisk.errors import JointriskError
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import node_model_pb2 as pb
from jointrisk.rpc.v1.model_pb2 import DescribeModelRequest, ModelDescription
from jointrisk.rpc.v1.node_model_pb2_grpc import NodeModelServiceServicer
from jointrisk_node.models.fetching import ModelDesk
from jointrisk_node.models.ledger import KeptModel


class NodeModelServicer(NodeModelServiceServicer):
    """Serves the operator socket. Who can open the socket may do everything here.

    Args:
        desk: the models.
    """

    def __init__(self, desk: ModelDesk) -> None:
        self._desk = desk

    async def ListKept(self, request: pb.ListKeptRequest, context: Context) -> pb.KeptModelList:
        """List what is here, after a look at what the coordinator has."""
        try:
            detail = await self._desk.refresh()
        except JointriskError as error:
            detail = error.message
        kept = await asyncio.to_thread(self._desk.ledger.all)
        return pb.KeptModelList(models=map(_kept, kept), detail=detail)

    async def DescribeModel(self, request: DescribeModelRequest, context: Context) -> ModelDescription:
        """Return a manifest."""
        model = await asyncio.to_thread(self._desk.ledger.find, request.model_id)
        return ModelDescription(model_id=model.model_id, manifest=model.payload, sha256=model.digest, state=model.state)

    async def Activate(self, request: pb.ActivateModelRequest, context: Context) -> pb.KeptModel:
        """Score with a model, whose file is verified anew first."""
        model = await asyncio.to_thread(self._desk.ledger.find, request.model_id)
        await self._desk.bundle(model)
        return _kept(await asyncio.to_thread(self._desk.ledger.activate, model.model_id))

    async def Retire(self, request: pb.RetireModelRequest, context: Context) -> pb.KeptModel:
        """Score with a model no more."""
        return _kept(await asyncio.to_thread(self._desk.ledger.retire, request.model_id))


def _kept(model: KeptModel) -> pb.KeptModel:
    manifest = model.manifest
    return pb.KeptModel(
        model_id=model.model_id,
        state=model.state,
        architecture=manifest.facts.architecture,
        contract_version=manifest.facts.contract_version,
        sha256=model.digest,
        received_at=rfc3339(model.received_at),
        changed_at=rfc3339(model.changed_at),
        metrics=manifest.facts.metrics,
    )
