"""Scoring rows with a verified model: NumPy, and LightGBM for trees, so that daemons need no torch.

A model is a forest, or a set of networks that are averaged (a scorecard is one of a single layer): arrays
``MEMBER/LAYER.weight`` [out, in] and ``MEMBER/LAYER.bias``, ReLU between layers, one log odds out.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError, InvalidInputError, RefusedError, VersionMismatchError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.bundle import Arrays, Bundle
from jointrisk.learning.encoding import CategoryEncoding, Encoding, FeatureEncoding, Rows, is_open
from jointrisk.learning.first_layer import FirstLayer
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.explaining import TreeModel
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.lightgbm_text import lightgbm_text

ARCHITECTURES: Final = ("mlp", "scorecard", "trees")
"""What can be scored here."""

Floats = NDArray[np.float32]
_BLOCK_ROWS = 1024
_ARRAY = re.compile(r"([a-z0-9]+)/(\d+)\.(weight|bias)")


@dataclass(frozen=True)
class Layer:
    """One linear layer: ``weight`` [out, in] and ``bias`` [out]."""

    weight: Floats
    bias: Floats


class Scorer:
    """Log odds of rows under one model. Safe from any thread.

    Args:
        encoding: how rows become inputs.
        networks: the networks that are averaged.
        average: "log odds" or "probability": what is averaged.

    Raises:
        CorruptError: the parts do not fit each other.
    """

    def __init__(
        self, encoding: Encoding, networks: list[list[Layer]], average: Literal["log odds", "probability"]
    ) -> None:
        _check(encoding, networks)
        self._features = _features_of(encoding)
        self._average = average
        self._networks = networks
        first = [network[0] for network in networks]
        weights = np.concatenate([layer.weight for layer in first]).T.astype(np.float64)
        self._first = FirstLayer(encoding, weights, np.concatenate([layer.bias for layer in first]))

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "Scorer":
        """Return the scorer of a verified bundle.

        Raises:
            VersionMismatchError: it is of an architecture that this software does not know.
            CorruptError: its parts do not fit each other.
        """
        facts = bundle.manifest.facts
        average = facts.settings.get("average", "log odds")
        if facts.architecture not in ARCHITECTURES or average not in {"log odds", "probability"}:
            raise VersionMismatchError(
                f"expected a model of one of the architectures {', '.join(ARCHITECTURES)}, got another one",
                remedy="Install the version of jointrisk that the coordinator runs.",
            )
        encoding = Encoding.from_payload(canonical_json(facts.encoding))
        if facts.architecture == "trees":
            return TreeScorer(encoding, forest_of(encoding, bundle.arrays))
        return cls(encoding, networks_of(bundle.arrays), average)

    def require_fit(self, contract: FeatureContract) -> None:
        """Do nothing when the model's inputs are this contract's features, in its order.

        Raises:
            RefusedError: they are not.
        """
        if self._features != [(feature.name, feature.kind, is_open(feature)) for feature in contract.features]:
            raise RefusedError("the model's inputs are not the features of the contract that it names")

    def log_odds(self, rows: Rows) -> NDArray[np.float64]:
        """Return the log odds of default of every row, float64 [rows].

        Args:
            rows: float32 [rows, features] as `jointrisk.learning.encoding` says: NaN for missing, codes or buckets.
        """
        result = np.empty(len(rows), dtype=np.float64)
        for begin in range(0, len(rows), _BLOCK_ROWS):
            block = rows[begin : begin + _BLOCK_ROWS]
            result[begin : begin + len(block)] = self._block(block)
        return result

    def _block(self, rows: Rows) -> NDArray[np.float64]:
        hidden = self._first.apply(rows)
        outputs, begin = [], 0
        for network in self._networks:
            width = len(network[0].bias)
            outputs.append(_rest(hidden[:, begin : begin + width], network[1:]))
            begin += width
        return self._averaged(np.stack(outputs).astype(np.float64))

    def _averaged(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._average == "log odds":
            return np.asarray(outputs.mean(axis=0))
        mean = probability(outputs).mean(axis=0)
        return np.asarray(np.log(mean) - np.log1p(-mean))


class TreeScorer(Scorer):
    """Log odds of rows under a forest; LightGBM is imported here.

    Args:
        encoding: gives the bins.
        forest: the trees.
    """

    def __init__(self, encoding: Encoding, forest: Forest) -> None:
        self._features = _features_of(encoding)
        self._model = TreeModel(forest)

    def _block(self, rows: Rows) -> NDArray[np.float64]:
        return self._model.log_odds(rows)


def forest_of(encoding: Encoding, arrays: Arrays) -> Forest:
    """Return the forest that a bundle's arrays hold.

    Args:
        encoding: the bundle's.
        arrays: the bundle's.

    Raises:
        CorruptError: they are no forest over the encoding's bins.
    """
    return Forest.from_arrays(arrays, BinPlan.of(encoding))


def lightgbm_of(bundle: Bundle) -> str:
    """Return a model of trees as LightGBM's text; rows are those of :meth:`Scorer.log_odds`, raw scores its log odds.

    Raises:
        InvalidInputError: the model is of another architecture.
        CorruptError: its parts do not fit each other.
    """
    facts = bundle.manifest.facts
    if facts.architecture != "trees":
        raise InvalidInputError(f'expected a model of the architecture "trees", got "{facts.architecture}"')
    return lightgbm_text(forest_of(Encoding.from_payload(canonical_json(facts.encoding)), bundle.arrays))


def probability(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities that log odds stand for, never quite 0 or 1."""
    clipped = np.clip(log_odds, -35.0, 35.0)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)))


def networks_of(arrays: Arrays) -> list[list[Layer]]:
    """Return the networks that a bundle's arrays hold, by their names' order, layers by their numbers' order.

    Raises:
        CorruptError: a name is of another form, an array of another type, or a layer lacks one half.
    """
    found: dict[str, dict[int, dict[str, Floats]]] = {}
    for name, value in arrays.items():
        parts = _ARRAY.fullmatch(name)
        if parts is None:
            raise CorruptError("expected arrays named NETWORK/LAYER.weight and .bias in the model bundle")
        if value.dtype != np.float32:
            raise CorruptError("expected the weights of networks in single precision in the model bundle")
        found.setdefault(parts[1], {}).setdefault(int(parts[2]), {})[parts[3]] = np.asarray(value, dtype=np.float32)
    if any(len(layer) != len(("weight", "bias")) for layers in found.values() for layer in layers.values()):
        raise CorruptError("expected weight and bias of every layer in the model bundle")
    return [[Layer(**layer) for _, layer in sorted(layers.items())] for _, layers in sorted(found.items())]


def _features_of(encoding: Encoding) -> list[tuple[str, str, bool]]:
    return [(feature.name, feature.kind, _is_hashed(feature)) for feature in encoding.features]


def _is_hashed(feature: FeatureEncoding) -> bool:
    return isinstance(feature, CategoryEncoding) and feature.hashed


def _rest(hidden: Floats, layers: list[Layer]) -> Floats:
    for layer in layers:
        hidden = np.maximum(hidden, 0) @ layer.weight.T + layer.bias
    return hidden[:, 0]


def _check(encoding: Encoding, networks: list[list[Layer]]) -> None:
    """Refuse networks whose layers do not fit each other, the encoding, and one output."""
    fits = bool(networks)
    for network in networks:
        widths = [encoding.width, *(layer.bias.size for layer in network)]
        shapes = [(outputs, inputs) for inputs, outputs in pairwise(widths)]
        fits = fits and [layer.weight.shape for layer in network] == shapes and widths[-1] == 1
        fits = fits and all(layer.bias.ndim == 1 for layer in network)
    if not fits:
        raise CorruptError("the model bundle's arrays do not fit its encoding")
