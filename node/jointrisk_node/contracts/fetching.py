"""Asking the coordinator for feature contracts: once for every version, whatever happens in between."""

import asyncio
from collections.abc import Awaitable, Callable

from jointrisk.errors import NotFoundError
from jointrisk.federation.contract import FeatureContract
from jointrisk.rpc.documents import from_message
from jointrisk.rpc.v1.contract_pb2 import GetContractRequest, GetContractResponse
from jointrisk_node.contracts.ledger import ContractLedger

GetContract = Callable[[GetContractRequest], Awaitable[GetContractResponse]]
"""Calls the coordinator's ContractService. Raises JointriskError."""


class ContractDesk:
    """Hands out contracts: known ones from the ledger, others from the coordinator.

    Args:
        ledger: what is known and verified.
        ask: calls the coordinator.
    """

    def __init__(self, ledger: ContractLedger, ask: GetContract) -> None:
        self._ledger = ledger
        self._ask = ask

    async def refresh(self) -> FeatureContract | None:
        """Fetch the coordinator's newest contract and return it; None when nothing has ever been published.

        Raises:
            JointriskError: the coordinator cannot be asked, or what it sent is refused; see `ContractLedger.accept`.
        """
        try:
            return await self._fetch(0)
        except NotFoundError:
            # What it has signed stays signed, though it may have lost its own database.
            return await asyncio.to_thread(self._ledger.current)

    async def payload(self, version: int) -> bytes:
        """Return the canonical payload of a version, fetched where this node does not have it.

        Raises:
            JointriskError: as for `refresh`; NotFoundError when the coordinator has never published it.
        """
        try:
            return await asyncio.to_thread(self._ledger.payload, version)
        except NotFoundError:
            await self._fetch(version)
        return await asyncio.to_thread(self._ledger.payload, version)

    async def _fetch(self, version: int) -> FeatureContract:
        response = await self._ask(GetContractRequest(version=version))
        return await asyncio.to_thread(self._ledger.accept, from_message(response.contract), asked=version)
