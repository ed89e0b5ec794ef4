"""Randomness that is the same every time, for test vectors and tests. Never for keys that protect anything."""

from hashlib import shake_256
from itertools import count

from jointrisk.oprf.group import Randomness


def fixed_randomness(label: str) -> Randomness:
    """Return a source whose bytes follow from a label; each call gives the next ones."""
    calls = count()
    return lambda length: shake_256(f"{label}/{next(calls)}".encode()).digest(length)
