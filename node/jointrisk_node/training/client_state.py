"""The client app's state by round: kept for the last two rounds it took part in, rolled back when told so.

A state file is written before the reply of its round, and never changed: a reply that exists has its state, and a task
that is done again starts from the same state as before.
"""

from pathlib import Path

from jointrisk import durable
from jointrisk.learning.flower import RecordDict, decode, encode

_KEPT = 2


def load(folder: Path, number: int) -> RecordDict:
    """Return the state after the newest round that is not after ``number``; empty when there is none."""
    known = [(r, path) for r, path in _states(folder) if r <= number]
    return decode(known[-1][1].read_bytes()) if known else RecordDict()


def save(folder: Path, number: int, base: int, state: RecordDict) -> None:
    """Keep the state after round ``number``, trained from round ``base``, and drop what is not needed.

    States between the two, and after, belong to rounds that the coordinator has rolled back.
    """
    durable.folder(folder)
    for other, path in _states(folder):
        if other > base and other != number:
            path.unlink(missing_ok=True)
    durable.write(folder / f"round-{number:06d}.state", encode(state))
    for _, path in _states(folder)[:-_KEPT]:
        path.unlink(missing_ok=True)


def _states(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.stem.removeprefix("round-")), path) for path in folder.glob("round-*.state"))
