"""gRPC adapter of the model registry: members fetch bundles, people look at manifests."""

import asyncio
from collections.abc import AsyncIterator

from jointrisk.clock import rfc3339
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import model_pb2 as pb
from jointrisk.rpc.v1.model_pb2_grpc import ModelServiceServicer
from jointrisk_coordinator.registry.ledger import PublishedModel
from jointrisk_coordinator.registry.publishing import ModelRegistry

CHUNK_BYTES = 1 << 20


class ModelServicer(ModelServiceServicer):
    """Serves members and the operator's command line. Errors are raised as they are; the server's guard maps them.

    Args:
        registry: what is published.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """List what is published."""
        listed = await asyncio.to_thread(self._registry.published, request.after)
        return pb.ListModelsResponse(models=map(_published, listed))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> AsyncIterator[pb.ModelChunk]:
        """Send a bundle from an offset on."""
        model = await asyncio.to_thread(self._registry.find, request.model_id)
        offset = request.offset
        while data := await asyncio.to_thread(self._registry.read, model, offset, CHUNK_BYTES):
            yield pb.ModelChunk(offset=offset, data=data)
            offset += len(data)

    async def DescribeModel(self, request: pb.DescribeModelRequest, context: Context) -> pb.ModelDescription:
        """Return a manifest."""
        model = await asyncio.to_thread(self._registry.find, request.model_id)
        return pb.ModelDescription(
            model_id=model.model_id, manifest=model.payload, sha256=model.digest, state="published"
        )


def _published(model: PublishedModel) -> pb.PublishedModel:
    manifest = model.manifest
    return pb.PublishedModel(
        model_id=model.model_id,
        number=model.number,
        total_bytes=model.total_bytes,
        sha256=bytes.fromhex(model.digest),
        published_at=rfc3339(model.published_at),
        run_id=manifest.lineage.run_id,
        architecture=manifest.facts.architecture,
        contract_version=manifest.facts.contract_version,
        metrics=manifest.facts.metrics,
    )
