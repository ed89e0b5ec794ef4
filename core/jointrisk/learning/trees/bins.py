"""Features as bins: what trees see of a row.

The bins follow from the run's encoding, so every party has the same ones. A number has a bin for each interval between
the encoding's edges, the outermost open to both sides; a flag has two; a category one for each word that is kept and
one for all others. The last bin of every feature is "missing".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.encoding import CategoryEncoding, Encoding, FeatureEncoding, FlagEncoding, Rows

Binned = NDArray[np.uint8] | NDArray[np.uint16]
"""Bins of rows, [features, rows]: a feature's bins lie side by side."""

_FLAG_CUT: Final = 0.5
_SIGNS: Final = {"up": 1, "down": -1, "none": 0}
_LARGEST_BYTE: Final = 256


@dataclass(frozen=True)
class FeatureBins:
    """The bins of one feature.

    Attributes:
        name: the feature.
        cuts: of a number: the least value of each bin but the first, ascending, in single precision.
        words: of a category: the code or bucket of each bin but the last two, ascending; None for a number.
        direction: 1 where a higher value may only raise the score, -1 where it may only lower it, else 0.
        hashed: whether ``words`` are buckets of an open vocabulary.
    """

    name: str
    cuts: tuple[float, ...] = ()
    words: tuple[int, ...] | None = None
    direction: int = 0
    hashed: bool = False

    @property
    def missing(self) -> int:
        """The bin of rows without a value; all lower ones hold values."""
        return len(self.cuts) + 1 if self.words is None else len(self.words) + 1

    @property
    def count(self) -> int:
        """How many bins there are."""
        return self.missing + 1

    def place(self, column: Rows) -> NDArray[np.intp]:
        """Return the bin of every value.

        Args:
            column: float32 [rows], NaN where missing.
        """
        if self.words is None:
            found = np.searchsorted(np.array(self.cuts, dtype=np.float32), column, side="right")
        else:
            words = np.array(self.words, dtype=np.float32)
            near = np.minimum(np.searchsorted(words, column), max(len(words) - 1, 0))
            found = np.where(words[near] == column, near, len(words)) if len(words) else np.zeros(len(column), np.intp)
        return np.where(np.isnan(column), self.missing, found).astype(np.intp)


@dataclass(frozen=True)
class BinPlan:
    """The bins of all features, in the contract's order."""

    features: tuple[FeatureBins, ...]

    @classmethod
    def of(cls, encoding: Encoding, contract: FeatureContract | None = None) -> "BinPlan":
        """Return the bins that an encoding gives.

        Args:
            encoding: the run's.
            contract: says in which directions scores may go; None for any.

        Raises:
            InvalidInputError: contract and encoding are not of the same features.
        """
        signs = dict[str, int]()
        if contract is not None:
            signs = {feature.name: _SIGNS[feature.direction] for feature in contract.features}
            if list(signs) != [feature.name for feature in encoding.features]:
                raise InvalidInputError("expected an encoding of the contract's features, in its order, got another")
        return cls(tuple(_bins_of(feature, signs.get(feature.name, 0)) for feature in encoding.features))

    @property
    def most(self) -> int:
        """The most bins of a feature."""
        return max(feature.count for feature in self.features)

    @property
    def mask_bytes(self) -> int:
        """Bytes that a bit for each bin of any feature takes."""
        return -(-self.most // 8)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many bins each feature has."""
        return np.array([feature.count for feature in self.features], dtype=np.int64)

    def begins(self, columns: Sequence[int]) -> list[int]:
        """Return where each column's bins begin among those of these columns, and where the last one's end."""
        return list(accumulate((self.features[column].count for column in columns), initial=0))

    def bin_rows(self, rows: Rows) -> Binned:
        """Return the bins of rows, [features, rows].

        Args:
            rows: float32 [rows, features], see `jointrisk.learning.encoding`.

        Raises:
            InvalidInputError: there are not as many columns as features.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.features):  # noqa: PLR2004 - a matrix
            raise InvalidInputError(f"rows: expected {len(self.features)} columns, got {rows.shape[1:]}")
        small = self.most <= _LARGEST_BYTE
        binned: Binned = np.empty(rows.shape[::-1], dtype=np.uint8 if small else np.uint16)
        for place, feature in enumerate(self.features):
            binned[place] = feature.place(rows[:, place])
        return binned


def _bins_of(feature: FeatureEncoding, direction: int) -> FeatureBins:
    if isinstance(feature, CategoryEncoding):
        return FeatureBins(feature.name, words=feature.kept, hashed=feature.hashed)
    if isinstance(feature, FlagEncoding):
        return FeatureBins(feature.name, cuts=(_FLAG_CUT,), direction=direction)
    # The outermost edges bound what the other architectures tell apart; hardly a row lies beyond them.
    return FeatureBins(feature.name, cuts=feature.edges[1:-1], direction=direction)
