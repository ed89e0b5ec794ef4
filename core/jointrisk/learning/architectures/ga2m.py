"""Additive models with pairs (GA2M, Lou et al. 2013; the pairs of low rank, as in factorisation machines, Rendle 2010).

Log odds are ``bias + sum over features of w_f . x_f + sum over pairs of (V_f x_f) . (V_g x_g)`` on the encoding: each
feature has an effect, and a place in a space of few dimensions; two features add the product of their places. So every
pair has an effect, and reasons are exact (`jointrisk.learning.scoring.pairs`). Arrays are ``seedN/main.weight``
[1, inputs], ``seedN/main.bias`` [1] and ``seedN/pairs.weight`` [rank, inputs].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jointrisk.learning.encoding import Encoding
from jointrisk.learning.tasks.settings import DefaultModelSettings

learning_rate = 1e-2
weight_decay = 0.3
steps = 20

Arrays = Mapping[str, NDArray[np.generic]]
_SPREAD = 0.01
_MAIN, _BIAS, _PAIRS = "main.weight", "main.bias", "pairs.weight"


def plan(settings: DefaultModelSettings) -> "PairPlan":
    """Return how many models, and of what rank."""
    return PairPlan(settings.networks, settings.rank)


@dataclass(frozen=True)
class PairPlan:
    """What additive models there are.

    Attributes:
        networks: how many, averaged.
        rank: dimensions of the space in which features have places.
    """

    networks: int
    rank: int

    def initial_arrays(self, width: int, run_seed: int) -> dict[str, NDArray[np.float32]]:
        """Return fresh weights: no effect of a feature alone, small ones of pairs; no two models the same.

        Args:
            width: inputs.
            run_seed: the same seed gives the same weights.
        """
        arrays = dict[str, NDArray[np.float32]]()
        for network in range(self.networks):
            places = np.random.default_rng([run_seed, network]).normal(0, _SPREAD, (self.rank, width))
            arrays[f"seed{network}/{_MAIN}"] = np.zeros((1, width), dtype=np.float32)
            arrays[f"seed{network}/{_BIAS}"] = np.zeros(1, dtype=np.float32)
            arrays[f"seed{network}/{_PAIRS}"] = places.astype(np.float32)
        return arrays

    def ensemble(self, encoding: Encoding, arrays: Arrays) -> "PairEnsemble":
        """Return the models at work.

        Args:
            encoding: says which inputs are of one feature.
            arrays: their weights; copied.
        """
        return PairEnsemble(self, encoding, arrays)

    def facts(self) -> dict[str, Any]:
        """Return what is said of the models to whoever scores with them."""
        return {"networks": self.networks, "rank": self.rank, "average": "log odds"}


class PairEnsemble:
    """Additive models with pairs at work.

    Args:
        plan: what models.
        encoding: says which inputs are of one feature.
        arrays: their weights; copied.
    """

    def __init__(self, plan: PairPlan, encoding: Encoding, arrays: Arrays) -> None:
        self._plan = plan
        self._widths = [end - begin for begin, end in encoding.spans]
        self.parameters = {
            name: torch.tensor(value, dtype=torch.float32).requires_grad_() for name, value in arrays.items()
        }

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights as they are now."""
        return {name: value.detach().numpy() for name, value in self.parameters.items()}

    def log_odds(self, inputs: Tensor) -> Tensor:
        """Return the mean of the models' log odds, [rows]."""
        with torch.no_grad():
            return torch.stack([self._run(network, inputs) for network in range(self._plan.networks)]).mean(0)

    def each_log_odds(self, inputs: Tensor, generator: np.random.Generator) -> list[Tensor]:
        """Return every model's own log odds for a training step; nothing is drawn."""
        del generator
        return [self._run(network, inputs) for network in range(self._plan.networks)]

    def _run(self, network: int, inputs: Tensor) -> Tensor:
        main, bias, pairs = (self.parameters[f"seed{network}/{part}"] for part in (_MAIN, _BIAS, _PAIRS))
        own = torch.zeros(len(inputs))
        for feature, weights in zip(*(torch.split(each, self._widths, 1) for each in (inputs, pairs)), strict=True):
            own = own + functional.linear(feature, weights).square().sum(1)
        whole = functional.linear(inputs, pairs).square().sum(1)
        return functional.linear(inputs, main, bias).squeeze(1) + (whole - own) / 2
