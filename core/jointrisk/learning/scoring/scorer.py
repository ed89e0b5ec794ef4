"""What every scorer offers, whatever the architecture."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import RefusedError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.bundle import Bundle
from jointrisk.learning.encoding import CategoryEncoding, Encoding, FeatureEncoding, Rows, is_open
from jointrisk.learning.reasons import Contributions

Floats = NDArray[np.float64]
_BLOCK_ROWS = 1024
_EXPLAINED_AT_ONCE = 64


class Scorer(ABC):
    """Log odds of rows under one model, and what each feature adds to them. Safe from any thread.

    Args:
        encoding: how rows become inputs.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._features = [(feature.name, feature.kind, _is_hashed(feature)) for feature in encoding.features]

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Scorer":
        """Return the scorer of a verified bundle, of whatever architecture.

        Raises:
            VersionMismatchError: it is of an architecture that this software does not know.
            CorruptError: its parts do not fit each other.
        """
        # That module knows the architectures, which all are made of this class.
        from jointrisk.learning.scoring.bundles import scorer_of_bundle

        return scorer_of_bundle(bundle)

    def require_fit(self, contract: FeatureContract) -> None:
        """Do nothing when the model's inputs are this contract's features, in its order.

        Raises:
            RefusedError: they are not.
        """
        if self._features != [(feature.name, feature.kind, is_open(feature)) for feature in contract.features]:
            raise RefusedError("the model's inputs are not the features of the contract that it names")

    def log_odds(self, rows: Rows) -> Floats:
        """Return the log odds of default of every row, float64 [rows].

        Args:
            rows: float32 [rows, features] as `jointrisk.learning.encoding` says: NaN for missing, codes or buckets.
        """
        return np.concatenate([np.empty(0), *(self._block(block) for block in _blocks(rows, _BLOCK_ROWS))])

    def contributions(self, rows: Rows) -> Contributions:
        """Return what each feature adds to the log odds of every row, by the architecture's method (docs/reasons.md).

        A row's values and the baseline sum to its log odds within 1e-4.

        Args:
            rows: as for :meth:`log_odds`.

        Raises:
            RefusedError: the model does not say what its baseline is made of; those of before reasons do not.
        """
        # The baseline is the model's; without a row, one of missing values does to ask for it.
        blocks = list(_blocks(rows, _EXPLAINED_AT_ONCE)) or [np.full((1, len(self._features)), np.nan, np.float32)]
        parts = [self._explained(block) for block in blocks]
        return Contributions(np.concatenate([part.values for part in parts])[: len(rows)], parts[0].baseline)

    @abstractmethod
    def _block(self, rows: Rows) -> Floats:
        """Return the log odds of a few rows."""

    @abstractmethod
    def _explained(self, rows: Rows) -> Contributions:
        """Return the contributions to a few rows, at least one."""


def probability(log_odds: Floats) -> Floats:
    """Return the probabilities that log odds stand for, never quite 0 or 1."""
    clipped = np.clip(log_odds, -35.0, 35.0)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)))


def required(means: Floats | None) -> Floats:
    """Return the means of a model's inputs.

    Raises:
        RefusedError: the model has none.
    """
    if means is None:
        raise RefusedError(
            "expected a model with the means of its inputs to tell reasons by, got one that was made without them",
            remedy="Score without reasons, or ask for a new training run.",
        )
    return means


def by_feature(encoding: Encoding, values: Floats) -> Floats:
    """Return sums over each feature's inputs, [rows, features], of ``values`` [rows, inputs]."""
    sums = np.zeros((len(values), len(encoding.features)))
    for place, (begin, end) in enumerate(encoding.spans):
        sums[:, place] = values[:, begin:end].sum(axis=1)
    return sums


def _blocks(rows: Rows, size: int) -> Iterator[Rows]:
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _is_hashed(feature: FeatureEncoding) -> bool:
    return isinstance(feature, CategoryEncoding) and feature.hashed
