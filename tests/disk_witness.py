"""A second name for every file that appears, so that what a program writes and deletes again can be looked at later."""

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

_PAUSE_SECONDS = 0.01
_DATABASE = "state.db"  # stays to the end, and SQLite does not like second names


class DiskWitness:
    """Looks at some folders again and again, and links each new file into a folder of its own.

    Args:
        watched: the folders.
        kept: where the second names are made, on the same file system.
    """

    def __init__(self, watched: Iterable[Path], kept: Path) -> None:
        self._watched = list(watched)
        self._kept = kept
        self._seen: set[int] = set()
        self._modes: dict[str, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="witness")

    def __enter__(self) -> Self:
        self._kept.mkdir()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def modes(self) -> dict[str, int]:
        """The permissions that every file and folder had when it was first seen, by path."""
        return dict(self._modes)

    def _look(self) -> None:
        while not self._end.wait(_PAUSE_SECONDS):
            for folder in self._watched:
                for entry in _entries(folder):
                    self._keep(entry)

    def _keep(self, entry: "os.DirEntry[str]") -> None:
        try:
            status = entry.stat(follow_symlinks=False)
            if status.st_ino in self._seen:
                return
            if stat.S_ISREG(status.st_mode) and not entry.name.startswith(_DATABASE):
                os.link(entry.path, self._kept / f"{len(self._seen)}-{entry.name}")
        except FileNotFoundError:
            return  # gone between the look and the link
        self._seen.add(status.st_ino)
        self._modes[entry.path] = status.st_mode


def _entries(folder: Path) -> "Iterator[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            for entry in found:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    yield from _entries(Path(entry.path))
    except FileNotFoundError:
        return
