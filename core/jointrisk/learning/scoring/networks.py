"""Networks that are averaged: scores, and contributions by integrated gradients (Sundararajan et al. 2017).

Arrays are ``MEMBER/LAYER.weight`` [out, in] and ``MEMBER/LAYER.bias``, ReLU between layers, one log odds out. A
scorecard is a network of one layer: its contributions are its weights times how far the inputs are from their means,
exactly.
"""

import re
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError
from jointrisk.learning.bundle import Arrays
from jointrisk.learning.encoding import Encoding, Rows
from jointrisk.learning.first_layer import FirstLayer
from jointrisk.learning.reasons import Contributions
from jointrisk.learning.scoring.scorer import Scorer, by_feature, probability, required

POINTS: Final = 64
"""Places between the mean input and a row's at which gradients are taken."""

Average = Literal["log odds", "probability"]
Floats32 = NDArray[np.float32]
Floats = NDArray[np.float64]
_ARRAY = re.compile(r"([a-z0-9]+)/(\d+)\.(weight|bias)")


@dataclass(frozen=True)
class Layer:
    """One linear layer: ``weight`` [out, in] and ``bias`` [out]."""

    weight: Floats32
    bias: Floats32


class NetworkScorer(Scorer):
    """Log odds of rows under networks.

    Args:
        encoding: how rows become inputs.
        networks: the networks that are averaged.
        average: what is averaged.
        means: of the inputs, [inputs], for contributions; None where they are not known.

    Raises:
        CorruptError: the parts do not fit each other.
    """

    def __init__(
        self, encoding: Encoding, networks: list[list[Layer]], average: Average, means: Floats | None = None
    ) -> None:
        super().__init__(encoding)
        _check(encoding, networks)
        self._encoding = encoding
        self._average = average
        self._networks = networks
        self._means = means
        self._weights = np.concatenate([network[0].weight for network in networks]).T.astype(np.float64)
        self._bias = np.concatenate([network[0].bias for network in networks])
        ends = accumulate((len(network[0].bias) for network in networks), initial=0)
        self._places = [slice(begin, end) for begin, end in pairwise(ends)]
        self._first = FirstLayer(encoding, self._weights, self._bias)

    def _block(self, rows: Rows) -> Floats:
        return self._of_hidden(self._first.apply(rows))

    def _of_hidden(self, hidden: Floats32) -> Floats:
        """Return the log odds that the first layers' results, [rows, width], lead to."""
        outputs = [
            _rest(hidden[:, place], network[1:]) for place, network in zip(self._places, self._networks, strict=True)
        ]
        return self._averaged(np.stack(outputs).astype(np.float64))

    def _averaged(self, outputs: Floats) -> Floats:
        if self._average == "log odds":
            return np.asarray(outputs.mean(axis=0))
        mean = probability(outputs).mean(axis=0)
        return np.asarray(np.log(mean) - np.log1p(-mean))

    def _explained(self, rows: Rows) -> Contributions:
        means = required(self._means)
        apart = self._encoding.encode(rows) - means
        begin = means @ self._weights + self._bias
        slope = self._mean_gradient(begin, apart @ self._weights)
        values = by_feature(self._encoding, apart * (slope @ self._weights.T))
        baseline = float(self._of_hidden(begin[None].astype(np.float32))[0])
        return Contributions(with_rest(values, self._block(rows) - baseline), baseline)

    def _mean_gradient(self, begin: Floats, whole: Floats) -> Floats:
        """Return the gradient by the first layers' results, mean over the way from the means to each row.

        That way is a straight line there as well, as these layers are linear: nothing has to be encoded again.

        Args:
            begin: the results for the mean input, [width].
            whole: how far each row's are from them, [rows, width].
        """
        points = POINTS if any(len(network) > 1 for network in self._networks) else 1
        way = ((np.arange(points) + 0.5) / points).astype(np.float32)
        hidden = begin.astype(np.float32) + way[:, None] * whole.astype(np.float32)[:, None]
        slopes = self._gradient(hidden.reshape(-1, hidden.shape[-1]))
        return np.asarray(slopes.reshape(hidden.shape).mean(axis=1, dtype=np.float64))

    def _gradient(self, hidden: Floats32) -> Floats32:
        found = [
            _with_gradient(hidden[:, place], network[1:])
            for place, network in zip(self._places, self._networks, strict=True)
        ]
        shares = self._shares(np.stack([output for output, _ in found]).astype(np.float64))
        return np.concatenate([slope * share[:, None] for (_, slope), share in zip(found, shares, strict=True)], axis=1)

    def _shares(self, outputs: Floats) -> Floats32:
        """Return the average's gradient by each network's log odds, both [networks, rows]."""
        if self._average == "log odds":
            return np.full(outputs.shape, 1 / len(outputs), dtype=np.float32)
        each = probability(outputs)
        mean = each.mean(axis=0)
        return np.asarray(each * (1 - each) / (mean * (1 - mean)) / len(outputs), dtype=np.float32)


def networks_of(arrays: Arrays) -> list[list[Layer]]:
    """Return the networks that a bundle's arrays hold, by their names' order, layers by their numbers' order.

    Raises:
        CorruptError: a name is of another form, an array of another type, or a layer lacks one half.
    """
    found: dict[str, dict[int, dict[str, Floats32]]] = {}
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


def with_rest(values: Floats, wanted: Floats) -> Floats:
    """Return contributions that sum to what is wanted: each takes a share of the rest that is as large as itself.

    Args:
        values: [rows, features].
        wanted: [rows].
    """
    sizes = np.abs(values)
    total = sizes.sum(axis=1, keepdims=True)
    # Where nothing contributes, no feature is nearer to the rest than another.
    shares = np.divide(sizes, total, out=np.full_like(sizes, 1 / max(values.shape[1], 1)), where=total > 0)
    return np.asarray(values + shares * (wanted - values.sum(axis=1))[:, None])


def _rest(hidden: Floats32, layers: list[Layer]) -> Floats32:
    for layer in layers:
        hidden = np.maximum(hidden, 0) @ layer.weight.T + layer.bias
    return hidden[:, 0]


def _with_gradient(hidden: Floats32, layers: list[Layer]) -> tuple[Floats32, Floats32]:
    """Return the output of the layers after the first, [rows], and its gradient by ``hidden``, [rows, width]."""
    active = []
    for layer in layers:
        active.append(hidden > 0)
        hidden = np.maximum(hidden, 0) @ layer.weight.T + layer.bias
    slope = np.ones_like(hidden)
    for layer, above in zip(reversed(layers), reversed(active), strict=True):
        slope = (slope @ layer.weight) * above
    return hidden[:, 0], slope


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
