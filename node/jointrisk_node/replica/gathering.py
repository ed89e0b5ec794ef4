"""Index rows of many appends at once, in the order of the index. numpy, because it is millions of them."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.listing.packed import PACKED_APPEND_LENGTH
from jointrisk_node.replica.chain import Row
from jointrisk_node.replica.disk import ID_OF, TAG_OF

_KEY = 16
_ROW = struct.Struct("16s8s")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sorted:
    """Rows of an index in its order.

    Attributes:
        data: key (16) and position (8) of each, one after another.
        repeated: keys that are there more than once.
    """

    data: bytes
    repeated: set[bytes]

    def slices(self, number: int) -> Iterator[list[Row]]:
        """Yield key and position of the rows, at most so many at a time."""
        step = number * _ROW.size
        for at in range(0, len(self.data), step):
            yield list(_ROW.iter_unpack(self.data[at : at + step]))


class Gathering:
    """Appends whose ids and tags are to be indexed: 40 bytes for each."""

    def __init__(self) -> None:
        self._positions: list[Bytes] = []
        self._ids: list[Bytes] = []
        self._tags: list[Bytes] = []

    def add(self, rows: Iterable[Row]) -> None:
        """Add appends with their records: position and packed entry."""
        keys, packed = [], []
        for key, row in rows:
            keys.append(key)
            packed.append(row)
        entries = np.frombuffer(b"".join(packed), np.uint8).reshape(-1, PACKED_APPEND_LENGTH)
        self._positions.append(np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 8))
        self._ids.append(entries[:, ID_OF].copy())
        self._tags.append(entries[:, TAG_OF].copy())

    def ids(self) -> Sorted:
        """Return the rows of entry ids."""
        return self._sorted(self._ids)

    def tags(self) -> Sorted:
        """Return the rows of tags; those of one tag in the order of the log."""
        return self._sorted(self._tags)

    def _sorted(self, parts: list[Bytes]) -> Sorted:
        if not parts:
            return Sorted(b"", set())
        keys = np.concatenate(parts)
        halves = np.ascontiguousarray(keys).view(">u8").astype(np.uint64)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable
        rows = np.hstack((keys[order], np.concatenate(self._positions)[order]))
        halves = halves[order]
        again = np.nonzero((halves[1:] == halves[:-1]).all(axis=1))[0]
        return Sorted(rows.tobytes(), {rows[at, :_KEY].tobytes() for at in again})
