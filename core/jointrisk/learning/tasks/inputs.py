"""Rows under a contract as a network's inputs, by transforms that the contract alone fixes: nothing is fitted to data.

A number becomes its place in its range (where the contract closes it), and two squashed copies that resolve small and
large values; a flag itself; a category of a closed vocabulary one input per word. Each feature that may be missing has
an input that says so. An open vocabulary's codes mean nothing to other lenders, so only whether it is missing counts.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from jointrisk.federation.contract import Feature, FeatureContract

Column = NDArray[np.float32]
_ASINH_SCALE = 4.0
_EVEN = np.uint64(0x9E3779B97F4A7C15)


def width(contract: FeatureContract) -> int:
    """Return how many inputs a row becomes."""
    empty = np.empty((0, len(contract.features)), dtype=np.float32)
    return int(encode_rows(contract, empty).shape[1])


def encode_rows(contract: FeatureContract, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the inputs of every row.

    Args:
        contract: what the columns are.
        rows: float32 [rows, features], NaN where missing, categories as codes.
    """
    inputs = [part for place, feature in enumerate(contract.features) for part in _encode(feature, rows[:, place])]
    return np.stack(inputs, axis=1) if inputs else np.empty((len(rows), 0), dtype=np.float32)


def held_out(count: int, share: float) -> NDArray[np.bool_]:
    """Return which of ``count`` rows only evaluation uses: a fixed hash of the row's number (splitmix64) decides.

    Args:
        count: how many rows.
        share: about how many of them, between 0 and 1.
    """
    z = np.arange(1, count + 1, dtype=np.uint64) * _EVEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / float(1 << 53) < share)


def _encode(feature: Feature, column: Column) -> Iterator[Column]:
    missing = np.isnan(column)
    filled = np.where(missing, np.float32(0), column)
    if feature.kind == "numeric":
        yield from (np.where(missing, np.float32(0), part) for part in _number(feature, column))
    elif feature.kind == "flag":
        yield filled
    elif feature.categories is not None:
        yield from ((column == code).astype(np.float32) for code in range(len(feature.categories)))
    if feature.missing == "allowed" or feature.kind == "category":
        yield missing.astype(np.float32)


def _number(feature: Feature, column: Column) -> Iterator[Column]:
    low = feature.range.low if feature.range else None
    high = feature.range.high if feature.range else None
    if low is not None and high is not None and high > low:
        yield ((column - np.float32(low)) / np.float32(high - low)).astype(np.float32)
    anchor = np.float32(low if low is not None else high if high is not None else 0.0)
    yield np.tanh(column - anchor)
    yield np.arcsinh(column - anchor) / np.float32(_ASINH_SCALE)
