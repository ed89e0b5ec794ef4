"""A node's daemon as ``jointrisk node run`` starts it, with a window beside it: ``python -m benchmarks.listings_node``.

Nothing of the daemon is another one: the window is a loop that `ListingParts` gets in addition. It listens at a socket
in the state directory and has figures taken where they arise, in the daemon's own process and event loop.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence

from benchmarks.listings_window import Window
from jointrisk.cli import main
from jointrisk_node.daemon import running
from jointrisk_node.daemon.listings import ListingParts

WINDOW = "window.sock"
"""The socket's name in the state directory."""

_LINE = 64 << 20


class WatchedParts(ListingParts):
    """The daemon's parts, with the window as one more loop."""

    def loops(self) -> Sequence[Coroutine[None, None, None]]:
        """Return the daemon's loops and the window's."""
        return (*super().loops(), self._open_window())

    async def _open_window(self) -> None:
        window = Window(self, self._shared)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(window, line)).encode() + b"\n")
                await writer.drain()

        server = await asyncio.start_unix_server(serve, self._shared.state.path(WINDOW), limit=_LINE)
        async with server:
            await server.serve_forever()


async def _answer(window: Window, line: bytes) -> dict[str, object]:
    asked = json.loads(line)
    try:
        return {"result": await window.take(asked["what"], asked["terms"])}
    except Exception as error:  # noqa: BLE001 - who measures is told
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    vars(running)["ListingParts"] = WatchedParts
    main()
