"""Three members' nodes, of which one asks and the others answer, over real mutual TLS on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from evaluation_federation import EPOCH, DealtKey, EvaluationFederation, EvaluationNode, persons, with_whole_key
from jointrisk.errors import QuotaError, UnavailableError
from jointrisk.evaluation import Purpose
from jointrisk_node.asking.outcome import Consent, Evaluated
from jointrisk_node.evaluations.desk import EvaluationDesk

CONSENT: Final = Consent("app-2026-001234")
NAMES: Final = ("ant", "bee", "cat")


class Arena:
    """Three nodes: ant asks, the others hold shares and serve."""

    def __init__(self, root: Path, *, holders: tuple[str, ...] = NAMES) -> None:
        self.federation = EvaluationFederation(root, *sorted({*NAMES, *holders}))
        self.dealt = DealtKey(1, 2, holders)
        self.nodes: dict[str, EvaluationNode] = {}
        self._served: dict[str, AsyncExitStack] = {}

    def start(self, name: str, **settings: Any) -> EvaluationNode:
        """Make a member's node."""
        node = self.nodes[name] = self.federation.node(name, **settings)
        node.keep(self.dealt)
        return node

    async def serve(self, name: str, desk: type[EvaluationDesk] = EvaluationDesk, **settings: Any) -> EvaluationNode:
        """Make a member's node, and serve."""
        node = self.start(name, **settings)
        self._served[name] = stack = AsyncExitStack()
        await stack.enter_async_context(node.serving(desk))
        return node

    async def stop(self, name: str) -> None:
        """Stop serving."""
        await self._served.pop(name).aclose()

    async def close(self) -> None:
        """Stop everything."""
        for name in list(self._served):
            await self.stop(name)
        for node in self.nodes.values():
            await node.close()

    async def ask(self, number: int = 1, purpose: Purpose = Purpose.ADMISSION, **how: Any) -> Evaluated:
        """Let ant ask about persons, and see that the keys are the right ones."""
        asked = persons(number)
        evaluated = await self.nodes["ant"].asker.evaluate(asked, purpose, CONSENT, epoch=EPOCH, **how)
        assert evaluated.keys == with_whole_key(asked)
        return evaluated

    async def ask_soon(self, number: int = 1) -> Evaluated:
        """Ask again until a holder that has come back is connected."""
        async with asyncio.timeout(10):
            while True:
                try:
                    return await self.ask(number)
                except (QuotaError, UnavailableError):
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def arena(root: Path, **how: Any) -> AsyncIterator[Arena]:
    """Make an arena, and take it down."""
    made = Arena(root, **how)
    try:
        yield made
    finally:
        await made.close()
