"""Steps that tests of joining share: founding, approving, waiting for a candidate."""

import asyncio
import dataclasses
from pathlib import Path

from coordinator_served import ServedCoordinator
from jointrisk.federation.invitation import decode_token, encode_token
from node_at_test import NodeAtTest

FOUNDERS = ("ant", "bee", "cat")


async def found(coordinator: ServedCoordinator, root: Path) -> dict[str, NodeAtTest]:
    """Let three founders join, and see each other."""
    nodes = {name: NodeAtTest(root / name) for name in FOUNDERS}
    for name, node in nodes.items():
        await node.join(coordinator.invitation(name))
    for node in nodes.values():
        async with node.link() as link:
            await link.refresh_roster()
    return nodes


def changed(token: str, **fields: object) -> str:
    """Return a token with other fields."""
    return encode_token(dataclasses.replace(decode_token(token), **fields))  # type: ignore[arg-type]


async def approve(node: NodeAtTest, name: str, compared: str) -> tuple[int, int, bool]:
    """Approve at one node; return approvals, how many are needed, and whether the candidate is in."""
    async with node.link() as link:
        answer = await link.approve(name, compared)
    return answer.approvals, answer.approvals_required, answer.admitted


async def wait_for_candidate(coordinator: ServedCoordinator, name: str) -> None:
    """Wait until an admission of this name is pending."""
    async with asyncio.timeout(30):
        while name not in {one.member_id for one in coordinator.office.admissions()}:  # noqa: ASYNC110 - polls a table
            await asyncio.sleep(0.05)
