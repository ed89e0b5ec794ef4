"""gRPC adapter of feature contracts: members read them."""

import asyncio

from jointrisk.errors import NotFoundError
from jointrisk.rpc.documents import to_message
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1.contract_pb2 import GetContractRequest, GetContractResponse
from jointrisk.rpc.v1.contract_pb2_grpc import ContractServiceServicer
from jointrisk.store import Store
from jointrisk_coordinator.contracts.ledger import PublishedContract, current, get


class ContractServicer(ContractServiceServicer):
    """Serves members. Errors are raised as they are; the server's guard maps them.

    Args:
        store: the coordinator's database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def GetContract(self, request: GetContractRequest, context: Context) -> GetContractResponse:
        """Return the version that is asked for; 0 is the newest."""
        found = await asyncio.to_thread(self._find, request.version)
        return GetContractResponse(contract=to_message(found.signed))

    def _find(self, version: int) -> PublishedContract:
        if version:
            return get(self._store, version)
        newest = current(self._store)
        if newest is None:
            raise NotFoundError(
                "the coordinator has published no feature contract yet",
                remedy="There: jointrisk coordinator contract publish FILE",
            )
        return newest
