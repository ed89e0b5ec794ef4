"""Fetching models: listed, received in pieces that survive any break, verified whole, then kept."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from jointrisk import durable
from jointrisk.errors import DeadlineError, JointriskError, RefusedError, UnavailableError
from jointrisk.federation.contract import contract_from_payload
from jointrisk.learning.bundle import LARGEST_BUNDLE, Bundle, read_bundle
from jointrisk.learning.scoring import Scorer
from jointrisk.rpc.v1 import model_pb2 as pb
from jointrisk.transfer import Header, Incoming
from jointrisk_node.models.ledger import KeptModel, ModelLedger, stored_bundle

log = structlog.get_logger()


class Coordinator(Protocol):
    """The coordinator's ModelService. Both raise JointriskError."""

    async def models(self) -> pb.ListModelsResponse:
        """List what is published."""

    def model(self, request: pb.GetModelRequest) -> AsyncIterator[pb.ModelChunk]:
        """Send a bundle from an offset on."""


class ModelDesk:
    """Keeps this node's models complete.

    Args:
        ledger: what is kept.
        coordinator: where models come from.
        coordinator_key: its identity key that this node has pinned, 32 bytes.
        contract: returns the canonical payload of a version of the feature contract, fetched where it is not here.
    """

    def __init__(
        self,
        ledger: ModelLedger,
        coordinator: Coordinator,
        coordinator_key: bytes,
        contract: Callable[[int], Awaitable[bytes]],
    ) -> None:
        self.ledger = ledger
        self._coordinator = coordinator
        self._key = coordinator_key
        self._contract = contract
        self._refused: dict[tuple[str, bytes], str] = {}
        self._lock = asyncio.Lock()

    async def refresh(self) -> str:
        """Fetch every model that is published and not here; return what was refused, for people.

        A bundle that was refused is not fetched again in this life of the daemon, unless another is offered.

        Raises:
            JointriskError: the coordinator cannot be asked.
        """
        async with self._lock:
            listed = await self._coordinator.models()
            kept = {model.model_id: bytes.fromhex(model.digest) for model in await asyncio.to_thread(self.ledger.all)}
            for offered in listed.models:
                key = (offered.model_id, offered.sha256)
                if kept.get(offered.model_id) != offered.sha256 and key not in self._refused:
                    await self._fetch(offered, known=offered.model_id in kept)
        return "; ".join(self._refused.values())

    async def bundle(self, model: KeptModel) -> Bundle:
        """Return a kept model's bundle, verified anew.

        Raises:
            CorruptError, UnauthenticatedError: its file is not what was received.
        """
        return await asyncio.to_thread(stored_bundle, self.ledger.folder, model, self._key)

    async def _fetch(self, offered: pb.PublishedModel, *, known: bool) -> None:
        try:
            if known:
                raise RefusedError("the coordinator offers another model under the name of one that is kept here")
            await self._accept(offered, await self._receive(offered))
        except (UnavailableError, DeadlineError):
            raise
        except JointriskError as error:
            self._refused[offered.model_id, offered.sha256] = error.message
            log.warning("model.refused", code=error.code, reason=error.message)
            await asyncio.to_thread(self.ledger.refuse, offered.sha256.hex(), error.message)

    async def _receive(self, offered: pb.PublishedModel) -> Path:
        """Receive a bundle into a file of its own, from where an earlier attempt ended.

        Raises:
            CorruptError: what came is not what was announced.
            UnavailableError: the transfer ended early.
        """
        folder = durable.folder(self.ledger.folder)
        identity = hashlib.sha256(offered.model_id.encode()).hexdigest()
        header = Header.checked(identity, offered.total_bytes, offered.sha256, LARGEST_BUNDLE)
        target = folder / f"{identity}.received"
        if await asyncio.to_thread(_is_whole, target, header):
            return target
        incoming = await asyncio.to_thread(_begin, folder, header)
        try:
            if not incoming.complete:
                await self._pour(offered.model_id, incoming)
        finally:
            incoming.close()
        if not incoming.complete:
            raise UnavailableError("the coordinator ended a model's transfer early", remedy="It is asked again.")
        await asyncio.to_thread(incoming.finish, target)
        return target

    async def _pour(self, model_id: str, incoming: Incoming) -> None:
        request = pb.GetModelRequest(model_id=model_id, offset=incoming.received)
        async for chunk in self._coordinator.model(request):
            await asyncio.to_thread(incoming.write, chunk.offset, chunk.data)
            if incoming.complete:
                return

    async def _accept(self, offered: pb.PublishedModel, path: Path) -> None:
        """Verify a received bundle and keep it; what is refused is deleted.

        Raises:
            JointriskError: it is not believed.
        """
        try:
            bundle = await asyncio.to_thread(lambda: read_bundle(path.read_bytes(), self._key))
            facts = bundle.manifest.facts
            if bundle.manifest.model_id != offered.model_id:
                raise RefusedError("the coordinator sent another model than the one that was asked for")
            payload = await self._contract(facts.contract_version)
            if hashlib.sha256(payload).hexdigest() != facts.contract_digest:
                raise RefusedError("the model is of another feature contract than the one that this node has verified")
            scorer = await asyncio.to_thread(Scorer.from_bundle, bundle)
            scorer.require_fit(contract_from_payload(payload))
        except (UnavailableError, DeadlineError):
            raise
        except JointriskError:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise
        await asyncio.to_thread(durable.move, path, self.ledger.folder / f"{bundle.manifest.model_id}.bundle")
        await asyncio.to_thread(self.ledger.keep, bundle)
        log.info("model.received", model_id=bundle.manifest.model_id)


def _begin(folder: Path, header: Header) -> Incoming:
    """Return the message on its way in; the beginning of another bundle under the same name is thrown away."""
    for other in folder.glob(f"{header.message_id}-*.part"):
        if other.name != f"{header.message_id}-{header.sha256.hex()}.part":
            other.unlink()
    return Incoming(folder, header)


def _is_whole(target: Path, header: Header) -> bool:
    return target.exists() and Header.of_file(header.message_id, target) == header
