"""Notes of secure sums as files in the run's folder: `jointrisk.learning.secure_runs.Notebook`.

secure/000003-train.note     the attempt: its terms, and who was taken into each step
secure/000003-train.facts    what it came to: who is in it, what protected it
secure/000003-train.sum      the reply that stands for all
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from jointrisk import durable
from jointrisk.learning.secure_runs import Note

_FILE = re.compile(r"(\d{6,})-.*")


class FolderNotebook:
    """Keeps notes.

    Args:
        run_folder: the run's.
    """

    def __init__(self, run_folder: Path) -> None:
        self._folder = durable.folder(run_folder / "secure")

    def read(self, number: int, statistic: str) -> Note | None:
        """Return the newest attempt at a sum."""
        path = self._path(number, statistic, "note")
        return Note.decode(path.read_bytes()) if path.exists() else None

    def write(self, number: int, statistic: str, note: Note) -> None:
        """Keep a note; when this returns, it is on the disk."""
        durable.write(self._path(number, statistic, "note"), note.encode())

    def result(self, number: int, statistic: str) -> tuple[Mapping[str, object], bytes] | None:
        """Return what a sum came to."""
        facts = self._path(number, statistic, "facts")
        if not facts.exists():
            return None
        found = cast("dict[str, object]", json.loads(facts.read_bytes()))
        return found, self._path(number, statistic, "sum").read_bytes()

    def finish(self, number: int, statistic: str, facts: Mapping[str, object], reply: bytes) -> None:
        """Keep what a sum came to. The facts are written last: they say that the sum is there."""
        durable.write(self._path(number, statistic, "sum"), reply)
        durable.write(self._path(number, statistic, "facts"), json.dumps(facts).encode())

    def forget(self, number: int) -> None:
        """Delete all of the rounds up to this one."""
        for path in self._of_rounds(number):
            path.unlink(missing_ok=True)

    def _of_rounds(self, number: int) -> Iterable[Path]:
        named = ((path, _FILE.fullmatch(path.name)) for path in self._folder.iterdir())
        return [path for path, found in named if found and int(found[1]) <= number]

    def _path(self, number: int, statistic: str, what: str) -> Path:
        return self._folder / f"{number:06d}-{statistic}.{what}"
