"""Which epochs have a key, and who holds it, as the board of key ceremonies shows."""

from collections import defaultdict
from collections.abc import Mapping

from jointrisk_coordinator.ceremonies.board import BulletinBoard


class BoardEpochs:
    """Call it for the holders of each epoch: of all its generations, for earlier ones may still be asked.

    Args:
        board: the board of key ceremonies. It is read again when it shows a newer generation.
    """

    def __init__(self, board: BulletinBoard) -> None:
        self._board = board
        self._generation = 0
        self._holders: dict[int, frozenset[str]] = {}

    def __call__(self) -> Mapping[int, frozenset[str]]:
        """Return the names of the holders of every epoch that has a key. Blocks on the database."""
        generation = self._board.generation
        if generation != self._generation:
            self._holders = self._read()
            self._generation = generation
        return self._holders

    def _read(self) -> dict[int, frozenset[str]]:
        found: dict[int, set[str]] = defaultdict(set)
        for view in self._board.generations(0):
            found[view.terms.epoch].update(view.terms.indices)
        return {epoch: frozenset(names) for epoch, names in found.items()}
