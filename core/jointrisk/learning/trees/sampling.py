"""Which columns a tree uses, which rows, and how each row is rounded: by seeds, the same whenever it is asked again.

Columns follow from the run's seed, which everybody knows. Rows and rounding follow from a member's own, which nobody
else does.
"""

import hashlib
import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
"""Of rows: what is drawn for a row follows from seed, tree and the row's number, wherever the row stands."""

_EVEN: Final = np.uint64(0x9E3779B97F4A7C15)
_SHARE: Final = 2.0**-32


@lru_cache(maxsize=16)
def columns_of(run_seed: int, tree: int, features: int, share: float) -> tuple[int, ...]:
    """Return the columns that a tree may split by, ascending: those of the lowest hashes, at least one.

    Args:
        run_seed: the run's.
        tree: the tree's number, from 0.
        features: how many there are.
        share: of them, is used.
    """
    hashes = [hashlib.blake2b(f"columns:{run_seed}:{tree}:{place}".encode()).digest() for place in range(features)]
    chosen = sorted(range(features), key=hashes.__getitem__)[: max(1, math.ceil(share * features))]
    return tuple(sorted(chosen))


def draws(seed: bytes, tree: int, use: str, numbers: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two numbers from 0 to below 1 for each row (splitmix64 under a key that is hashed from the seed).

    Args:
        seed: the member's own.
        tree: the tree's number.
        use: what they are for.
        numbers: of the rows.
    """
    key = hashlib.blake2b(f"{use}:{tree}".encode(), key=seed, digest_size=8).digest()
    z = (numbers + np.uint64(1)) * _EVEN + np.uint64(int.from_bytes(key, "big"))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    low = z & np.uint64(0xFFFFFFFF)
    return (z >> np.uint64(32)).astype(np.float64) * _SHARE, low.astype(np.float64) * _SHARE


def rows_of(seed: bytes, tree: int, numbers: Numbers, share: float) -> NDArray[np.intp]:
    """Return the places of the rows that a member uses in a tree, ascending."""
    if share >= 1:
        return np.arange(len(numbers))
    return np.flatnonzero(draws(seed, tree, "rows", numbers)[0] < share)
