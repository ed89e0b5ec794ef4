"""The arrays that training sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import FeatureContract

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MOST_CATEGORIES = 100_000
"""More different words than this in one column are no categories. All codes stay exact in single precision."""


@dataclass(frozen=True)
class LoanTable:
    """Labelled loans as arrays, rows in the order of the source.

    Attributes:
        names: of the features, in the contract's order.
        features: float32 [rows, features]. A missing value is NaN, a category is its code.
        labels: uint8 [rows]; 1 is bad.
        vocabularies: for each category feature its words, in the order of their codes: the contract's, or for an open
            vocabulary the lender's own in the order in which they come.
    """

    names: tuple[str, ...]
    features: "NDArray[np.float32]"
    labels: "NDArray[np.uint8]"
    vocabularies: Mapping[str, tuple[str, ...]]


class TableBuilder:
    """Gathers batches of checked rows.

    Args:
        contract: what the batches hold: its features in order, then the label.
    """

    def __init__(self, contract: FeatureContract) -> None:
        self._contract = contract
        self._open = {
            place: dict[str, int]()
            for place, feature in enumerate(contract.features)
            if feature.kind == "category" and feature.categories is None
        }
        self._features: list[NDArray[np.float32]] = []
        self._labels: list[NDArray[np.uint8]] = []

    def add(self, batch: "pa.RecordBatch") -> None:
        """Take a batch.

        Raises:
            InvalidInputError: an open vocabulary has grown beyond `MOST_CATEGORIES`.
        """
        import numpy as np

        width = len(self._contract.features)
        block = np.empty((batch.num_rows, width), dtype=np.float32)
        for place in range(width):
            column = batch.column(place)
            block[:, place] = (
                self._codes(place, column) if place in self._open else column.to_numpy(zero_copy_only=False)
            )
        self._features.append(block)
        self._labels.append(batch.column(width).to_numpy(zero_copy_only=False))

    def table(self) -> LoanTable:
        """Return everything that was added."""
        import numpy as np

        width = len(self._contract.features)
        features = np.concatenate([np.empty((0, width), dtype=np.float32), *self._features])
        labels = np.concatenate([np.empty(0, dtype=np.uint8), *self._labels])
        return LoanTable(self._contract.names, features, labels, self._vocabularies())

    def _vocabularies(self) -> dict[str, tuple[str, ...]]:
        fixed = {f.name: f.categories for f in self._contract.features if f.categories is not None}
        own = {self._contract.names[place]: tuple(words) for place, words in self._open.items()}
        return fixed | own

    def _codes(self, place: int, column: "pa.Array") -> "NDArray[np.float32]":
        """Return the codes of words, new words taking the next ones; NaN for null."""
        import numpy as np

        codes = self._open[place]
        encoded = column.dictionary_encode()
        for word in encoded.dictionary.to_pylist():
            codes.setdefault(word, len(codes))
        if len(codes) > MOST_CATEGORIES:
            name = self._contract.names[place]
            raise InvalidInputError(
                f"{name}: expected at most {MOST_CATEGORIES} different categories, got more",
                remedy="Is this an identifier? Categories are words that many customers share.",
            )
        own = np.array([codes[word] for word in encoded.dictionary.to_pylist()] or [0], dtype=np.float32)
        indices = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(column.is_null().to_numpy(zero_copy_only=False), np.float32("nan"), own[indices])
