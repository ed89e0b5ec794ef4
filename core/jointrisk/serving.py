"""A daemon's life: until a signal asks it to stop, and the operator socket that its command line talks to."""

import asyncio
import gc
import os
import signal
from pathlib import Path

from jointrisk.errors import ConflictError
from jointrisk.operator_socket import operator_socket

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Becomes set at the first SIGTERM or SIGINT. A second one ends the process at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._stop)

    async def wait(self) -> None:
        """Wait for the signal."""
        await self._event.wait()

    def _stop(self) -> None:
        self._event.set()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)


def keep_files_private() -> None:
    """Take from others, whatever the umask was, every permission on files that this process and its workers make."""
    os.umask(0o077)


def settle() -> None:
    """Leave what starting has made out of later garbage collections: each takes 0.1 s, in which nobody is answered."""
    gc.collect()
    gc.freeze()


def prepare_socket(home: Path) -> Path:
    """Return the operator socket's path, its folder private (0700), nothing left there by an earlier process.

    Raises:
        ConflictError: the folder is another user's.
    """
    path = operator_socket(home)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & 0o077:
        raise ConflictError(
            f"{path.parent} is open to other users", remedy="Shorten the path of the state directory, or remove it."
        )
    path.unlink(missing_ok=True)
    return path


def close_to_others(path: Path) -> None:
    """Make the socket 0600, once the server has made it in a folder that is 0700."""
    path.chmod(0o600)
