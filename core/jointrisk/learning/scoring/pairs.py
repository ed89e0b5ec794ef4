"""An additive model with pairs of features (GA2M, its pairs of low rank): scores, and exact contributions.

Every feature f has an effect ``w_f . x_f`` and a place ``e_f = V_f x_f`` in a space of few dimensions; two features add
the product of their places. All pairs together are half of what the square of the sum of places is more than the sum
of their squares. Several such networks are averaged in log odds.

Contributions are Shapley values of the game in which features that are out have the mean input, and they are exact:
with places counted from the mean's, ``d_f = e_f - m_f``, a pair is ``m_f m_g + d_f m_g + m_f d_g + d_f d_g``. The first
part is the baseline's, the next two are one feature's each, the last is shared in halves. As no pair is of one feature
with itself, the same values come of features that are out having any independent row's input, in the mean.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError
from jointrisk.learning.bundle import Arrays
from jointrisk.learning.encoding import Encoding, Rows
from jointrisk.learning.first_layer import FirstLayer
from jointrisk.learning.reasons import Contributions
from jointrisk.learning.scoring.scorer import Floats, Scorer, required

Floats32 = NDArray[np.float32]
_ARRAY = re.compile(r"([a-z0-9]+)/(main\.weight|main\.bias|pairs\.weight)")


@dataclass(frozen=True)
class PairNetwork:
    """One additive model with pairs.

    Attributes:
        main: what each input adds, float32 [1, inputs].
        bias: float32 [1].
        pairs: where each input moves its feature's place, float32 [rank, inputs].
    """

    main: Floats32
    bias: Floats32
    pairs: Floats32


class PairScorer(Scorer):
    """Log odds of rows under additive models with pairs.

    Args:
        encoding: how rows become inputs.
        networks: the models that are averaged; of the same rank.
        means: of the inputs, [inputs], for contributions; None where they are not known.

    Raises:
        CorruptError: the parts do not fit each other.
    """

    def __init__(self, encoding: Encoding, networks: list[PairNetwork], means: Floats | None = None) -> None:
        super().__init__(encoding)
        _check(encoding, networks)
        self._count = len(networks)
        stacked = [np.concatenate([network.main, network.pairs]) for network in networks]
        self._encoding = encoding
        self._means = means
        self._weights = np.concatenate(stacked).T.astype(np.float64)
        self._bias = float(np.mean([network.bias[0] for network in networks]))
        self._first = FirstLayer(encoding, self._weights, np.zeros(self._weights.shape[1], dtype=np.float32))

    def _block(self, rows: Rows) -> Floats:
        return self._sum(*self._split(self._first.by_feature(rows)))

    def _explained(self, rows: Rows) -> Contributions:
        mean_effects, middle = self._middle()
        effects, places = self._split(self._first.by_feature(rows))
        apart = places - middle
        # Of each feature with all others: their sum without itself.
        others = _without_own(middle) + _without_own(apart) / 2
        pairs = (apart * others).sum(axis=(2, 3)) / self._count
        return Contributions(effects - mean_effects + pairs, float(self._sum(mean_effects, middle)[0]))

    def _middle(self) -> tuple[Floats, Floats]:
        """Return effects and places at the mean input."""
        means, weights = required(self._means), self._weights
        each = [means[begin:end] @ weights[begin:end] for begin, end in self._encoding.spans]
        return self._split(np.stack(each)[None])

    def _split(self, found: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Return effects, averaged, [rows, features], and places, [rows, features, networks, rank]."""
        each = found.astype(np.float64).reshape(*found.shape[:2], self._count, -1)
        return each[..., 0].mean(axis=2), each[..., 1:]

    def _sum(self, effects: Floats, places: Floats) -> Floats:
        squares = np.square(places.sum(axis=1)).sum(axis=(1, 2)) - np.square(places).sum(axis=(1, 2, 3))
        return np.asarray(effects.sum(axis=1) + squares / (2 * self._count) + self._bias)


def pair_networks_of(arrays: Arrays) -> list[PairNetwork]:
    """Return the additive models that a bundle's arrays hold, by their names' order.

    Raises:
        CorruptError: a name is of another form, an array of another type, or a model lacks one.
    """
    found: dict[str, dict[str, Floats32]] = {}
    for name, value in arrays.items():
        parts = _ARRAY.fullmatch(name)
        if parts is None or value.dtype != np.float32:
            raise CorruptError(
                "expected arrays named NETWORK/main.weight, main.bias and pairs.weight, in single precision"
            )
        found.setdefault(parts[1], {})[parts[2]] = np.asarray(value, dtype=np.float32)
    if any(len(one) != len(("main.weight", "main.bias", "pairs.weight")) for one in found.values()):
        raise CorruptError("expected main.weight, main.bias and pairs.weight of every network in the model bundle")
    return [PairNetwork(one["main.weight"], one["main.bias"], one["pairs.weight"]) for _, one in sorted(found.items())]


def _without_own(places: Floats) -> Floats:
    """Return for each feature the sum of the others' places."""
    return np.asarray(places.sum(axis=1, keepdims=True) - places)


def _check(encoding: Encoding, networks: list[PairNetwork]) -> None:
    """Refuse networks that do not fit the encoding, or each other."""
    fits, ranks = bool(networks), {network.pairs.shape[:1] for network in networks}
    for network in networks:
        fits = fits and network.main.shape == (1, encoding.width) and network.bias.shape == (1,)
        fits = fits and network.pairs.ndim == 2 and network.pairs.shape[1] == encoding.width  # noqa: PLR2004 - a matrix
    if not fits or len(ranks) != 1:
        raise CorruptError("the model bundle's arrays do not fit its encoding")
