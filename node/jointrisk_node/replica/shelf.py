"""Where the replicas of one epoch are: the one that is read, and beside it one that is being built to take its place.

    EPOCH/current   the number of the folder that is read
    EPOCH/head      the newest head that this node has verified, whatever became of the replica
    EPOCH/NUMBER    a replica; a number after the current one is being built

A new replica takes over by one rename of the file ``current``.
"""

import shutil
from pathlib import Path

from jointrisk.durable import folder as private_folder
from jointrisk.durable import write
from jointrisk.errors import CorruptError
from jointrisk.federation.signing import Signed
from jointrisk_node.replica.disk import signed_from_json, signed_to_json

_CURRENT, _HEAD = "current", "head"


class Shelf:
    """The folder of one epoch.

    Args:
        folder: its place; made where it is missing.

    Attributes:
        epoch: from the folder's name.
    """

    def __init__(self, folder: Path) -> None:
        self.epoch = int(folder.name)
        self._folder = private_folder(folder)

    def current(self) -> Path:
        """Return the folder of the replica that is read."""
        return self._folder / str(self._number())

    def next(self) -> Path:
        """Return the folder of one that takes its place when it is built."""
        return self._folder / str(self._number() + 1)

    def is_building(self) -> bool:
        """Tell whether one has been begun."""
        return self.next().exists()

    def has_replica(self) -> bool:
        """Tell whether there is one to read, however far it has come."""
        return self.current().exists()

    def switch(self) -> None:
        """Let the next take the current one's place, and delete the old one. Files that are open stay readable."""
        old, number = self.current(), self._number() + 1
        write(self._folder / _CURRENT, str(number).encode())
        shutil.rmtree(old, ignore_errors=True)

    def discard_next(self) -> None:
        """Delete what has been built of the next one."""
        shutil.rmtree(self.next(), ignore_errors=True)

    def discard(self) -> None:
        """Delete all replicas of the epoch. What head was the newest is still known: an older one is never believed."""
        shutil.rmtree(self.current(), ignore_errors=True)
        self.discard_next()

    def floor(self) -> Signed | None:
        """Return the newest head that was verified.

        Raises:
            CorruptError: the file does not hold one.
        """
        path = self._folder / _HEAD
        return signed_from_json(path.read_bytes()) if path.exists() else None

    def keep_floor(self, signed: Signed) -> None:
        """Remember a head that has been verified."""
        write(self._folder / _HEAD, signed_to_json(signed))

    def sweep(self) -> None:
        """Delete replicas before the current one: what a process that was killed left behind."""
        for path in self._folder.iterdir():
            if path.name.isdigit() and int(path.name) < self._number():
                shutil.rmtree(path, ignore_errors=True)

    def _number(self) -> int:
        path = self._folder / _CURRENT
        if not path.exists():
            return 1
        number = path.read_bytes().decode("ascii", "replace")
        if not number.isdigit():
            raise CorruptError("expected the number of a replica, got something else", remedy=f"Delete {path}.")
        return int(number)
