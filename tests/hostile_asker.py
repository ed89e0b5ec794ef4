"""Askers that want more than they are granted: a federation of holders over mutual TLS, and what attackers send them.

async with besieged(tmp_path) as siege:                # ant, bee, cat hold two of three; dog holds nothing
    await siege.hold("bee", holder=SETTINGS)
    await siege.ask("dog", siege.request("dog", ("ant", "bee"), batch))        # as the protocol has it, or not
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from evaluation_federation import EPOCH, DealtKey, EvaluationFederation, EvaluationNode
from jointrisk.clock import Clock, utc_now
from jointrisk.evaluation import EvaluationRequest, Purpose, sign_request
from jointrisk.federation.certificates import KeyPair
from jointrisk.federation.names import member_server_name
from jointrisk.oprf.requester import Batch, blind
from jointrisk.rpc.channel import channel
from jointrisk.rpc.errors import from_rpc
from jointrisk.rpc.evaluations import request_to_message
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk.rpc.v1.evaluation_pb2_grpc import EvaluationServiceStub
from jointrisk_node.evaluations.desk import EvaluationDesk
from roster_forge import key_of

HOLDERS = ("ant", "bee", "cat")
MEMBERS = (*HOLDERS, "dog")


class Siege:
    """Holders, and who asks them.

    Args:
        root: a new folder.
        clock: the time.
        threshold: of the key.
    """

    def __init__(self, root: Path, clock: Clock, threshold: int) -> None:
        self.federation = EvaluationFederation(root, *MEMBERS, clock=clock)
        self.dealt = DealtKey(1, threshold, HOLDERS)
        self.nodes: dict[str, EvaluationNode] = {}
        self._served: dict[str, AsyncExitStack] = {}
        self._pairs: dict[str, KeyPair] = {}

    def node(self, name: str, **settings: Any) -> EvaluationNode:
        """Make a member's node, or make it again over the same folder."""
        node = self.nodes[name] = self.federation.node(name, **settings)
        node.keep(self.dealt)
        return node

    async def hold(self, name: str, desk: type[EvaluationDesk] = EvaluationDesk, **settings: Any) -> EvaluationNode:
        """Let a holder answer."""
        node = self.node(name, **settings)
        own = self._served[name] = AsyncExitStack()
        await own.enter_async_context(node.serving(desk))
        return node

    async def stop(self, name: str) -> None:
        """Let a holder answer no more."""
        await self._served.pop(name).aclose()
        await self.nodes.pop(name).close()

    async def close(self) -> None:
        """Stop everything."""
        for own in self._served.values():
            await own.aclose()
        for node in self.nodes.values():
            await node.close()

    def pair(self, name: str) -> KeyPair:
        """Return a certificate of the federation's CA in any name."""
        if name not in self._pairs:
            self._pairs[name] = self.federation.pair(name)
        return self._pairs[name]

    def request(self, asker: str, quorum: Sequence[str], batch: Batch | bytes, **changed: Any) -> EvaluationRequest:
        """Return what an asker would sign."""
        elements = batch if isinstance(batch, bytes) else b"".join(batch.elements)
        fields = (EPOCH, 1, os.urandom(16), Purpose.ADMISSION, tuple(quorum), bytes(32), elements, None)
        return replace(EvaluationRequest("testing", asker, *fields), **changed)

    async def ask(
        self, holder: str, request: EvaluationRequest, *, certificate: str = "", signer: str = ""
    ) -> pb.EvaluateResponse:
        """Send a request to a holder, as its asker or with another's certificate or signature.

        Raises:
            JointriskError: what the refusal stands for.
        """
        signed = sign_request(request, key_of(signer or request.asker))
        async with self.line(holder, certificate or request.asker) as stub:
            return await send(stub, request_to_message(request, signed))

    @asynccontextmanager
    async def line(self, holder: str, certificate: str) -> AsyncIterator[Any]:
        """Open a channel to a holder."""
        membership = self.nodes[holder].membership
        opened = channel(
            membership.trusted()[holder].address,
            ca=membership.ca_pem,
            pair=self.pair(certificate),
            server_name=member_server_name(holder),
        )
        async with opened:
            yield EvaluationServiceStub(opened)


@asynccontextmanager
async def besieged(root: Path, clock: Clock = utc_now, threshold: int = 2) -> AsyncIterator[Siege]:
    """Found the federation; nobody answers yet."""
    siege = Siege(root, clock, threshold)
    try:
        yield siege
    finally:
        await siege.close()


async def send(stub: Any, message: pb.EvaluateRequest) -> pb.EvaluateResponse:
    """Send a message as it is.

    Raises:
        JointriskError: what the refusal stands for.
    """
    try:
        answer: pb.EvaluateResponse = await stub.Evaluate(message, timeout=20)
    except grpc.RpcError as failure:
        raise from_rpc(failure, peer="the holder") from None
    return answer


def guesses(number: int, begin: int = 0) -> Batch:
    """Blind so many guesses."""
    return blind([n.to_bytes(4, "big") for n in range(begin, begin + number)], os.urandom)
