"""A node that joins in a process of its own, and kills itself with SIGKILL where a test says.

    python -m joining_process DIRECTORY TOKEN STEP

STEP is "never", or one of :data:`STEPS`: the process dies right after it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jointrisk_node.joining as steps
from jointrisk_node.membership.keys import NodeKeys
from node_at_test import NodeAtTest

STEPS: dict[str, tuple[Any, str]] = {
    "keys made": (NodeKeys, "joining"),
    "authority checked": (steps, "fetch_authority"),
    "answer received": (steps, "_admitted"),
    "key pair stored": (NodeKeys, "keep_transport"),
    "membership stored": (steps, "store_joining"),
}


def _dying(inner: Callable[..., Any]) -> Callable[..., Any]:
    async def after_coroutine(*args: Any, **named: Any) -> None:
        await inner(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    def after(*args: Any, **named: Any) -> None:
        inner(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return after_coroutine if asyncio.iscoroutinefunction(inner) else after


def main() -> None:
    """Join."""
    root, token, step = sys.argv[1:]
    if step in STEPS:
        holder, name = STEPS[step]
        setattr(holder, name, _dying(getattr(holder, name)))
    asyncio.run(NodeAtTest(Path(root)).join(token))


if __name__ == "__main__":
    main()
