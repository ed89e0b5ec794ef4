"""Reasons as columns of a result table: the group of features, and what an applicant is told in both languages."""

from typing import TYPE_CHECKING

from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.reasons import Contributions, Groups

if TYPE_CHECKING:
    import pyarrow as pa


class ReasonColumns:
    """Columns ``reason_1``, ``reason_1_en``, ``reason_1_zh`` and so on; empty where there is no further reason.

    Args:
        contract: what the features are.
        count: how many reasons at most.
    """

    def __init__(self, contract: FeatureContract, count: int) -> None:
        self._contract = contract
        self._count = count
        self._groups = Groups(contract)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in their order."""
        parts = ("", "_en", "_zh")
        return tuple(f"reason_{number}{part}" for number in range(1, self._count + 1) for part in parts)

    def columns(self, contributions: Contributions) -> "dict[str, pa.Array]":
        """Return the columns of some rows, by name."""
        import numpy as np
        import pyarrow as pa

        ranking = self._groups.rank(contributions.values, self._count)
        words = [pa.array(words, pa.string()) for words in self._words()]
        found = list[pa.Array]()
        for number in range(self._count):
            for text, places in zip(words, (ranking.groups, ranking.features, ranking.features), strict=True):
                # Fewer groups than reasons were asked for: the others stay empty.
                column = places[:, number] if number < places.shape[1] else np.full(len(places), -1)
                found.append(text.take(pa.array(np.maximum(column, 0), mask=column < 0)))
        return dict(zip(self.names, found, strict=True))

    def _words(self) -> tuple[list[str], list[str], list[str]]:
        texts = [feature.reason for feature in self._contract.features]
        return list(self._groups.names), [text.en for text in texts], [text.zh for text in texts]
