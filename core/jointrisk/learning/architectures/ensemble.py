"""Networks that are averaged, in torch.

Arrays are named ``seedN/LAYER.weight`` [out, in] and ``seedN/LAYER.bias``, layers from 0; between layers stand ReLU
and, in training, dropout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jointrisk.learning.encoding import Encoding

Arrays = Mapping[str, NDArray[np.generic]]
_BYTE = 256


@dataclass(frozen=True)
class Plan:
    """What networks there are.

    Attributes:
        networks: how many.
        hidden: widths of their hidden layers.
        dropout: share of hidden units that a training step leaves out, to the nearest 256th.
    """

    networks: int
    hidden: tuple[int, ...]
    dropout: float

    def initial_arrays(self, width: int, run_seed: int) -> dict[str, NDArray[np.float32]]:
        """Return fresh weights, uniform within ``1 / sqrt(inputs)`` as torch has them; no two networks the same.

        Args:
            width: inputs of the first layer.
            run_seed: the same seed gives the same weights.
        """
        arrays = {}
        for network in range(self.networks):
            generator = np.random.default_rng([run_seed, network])
            sizes = (width, *self.hidden, 1)
            for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
                bound = 1 / np.sqrt(max(inputs, 1))
                for part, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
                    values = generator.uniform(-bound, bound, shape).astype(np.float32)
                    arrays[f"seed{network}/{layer}.{part}"] = values
        return arrays

    def ensemble(self, encoding: Encoding, arrays: Arrays) -> "Ensemble":
        """Return the networks at work; to them inputs are inputs, whatever feature they are of."""
        del encoding
        return Ensemble(self, arrays)

    def facts(self) -> dict[str, Any]:
        """Return what is said of the networks to whoever scores with them."""
        return {"networks": self.networks, "hidden": list(self.hidden), "average": "log odds"}


class Ensemble:
    """Networks at work.

    Args:
        plan: what networks.
        arrays: their weights; copied.
    """

    def __init__(self, plan: Plan, arrays: Arrays) -> None:
        self._plan = plan
        self.parameters = {
            name: torch.tensor(value, dtype=torch.float32).requires_grad_() for name, value in arrays.items()
        }

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights as they are now."""
        return {name: value.detach().numpy() for name, value in self.parameters.items()}

    def log_odds(self, inputs: Tensor) -> Tensor:
        """Return the mean of the networks' log odds, [rows]."""
        with torch.no_grad():
            return torch.stack([self._run(network, inputs, None) for network in range(self._plan.networks)]).mean(0)

    def each_log_odds(self, inputs: Tensor, generator: np.random.Generator) -> list[Tensor]:
        """Return every network's own log odds for a training step, with units left out as ``generator`` draws."""
        return [self._run(network, inputs, generator) for network in range(self._plan.networks)]

    def _run(self, network: int, inputs: Tensor, generator: np.random.Generator | None) -> Tensor:
        hidden, last = inputs, len(self._plan.hidden)
        for layer in range(last + 1):
            weight, bias = (self.parameters[f"seed{network}/{layer}.{part}"] for part in ("weight", "bias"))
            hidden = functional.linear(hidden, weight, bias)
            if layer < last:
                hidden = functional.relu(hidden)
                hidden = hidden if generator is None else self._drop(hidden, generator)
        return hidden.squeeze(1)

    def _drop(self, hidden: Tensor, generator: np.random.Generator) -> Tensor:
        """Dropout from single random bytes: torch's own takes as long as the rest of the step."""
        kept = round((1 - self._plan.dropout) * _BYTE)
        if kept == _BYTE:
            return hidden
        mask = generator.integers(0, _BYTE, tuple(hidden.shape), dtype=np.uint8) < kept
        return hidden * torch.from_numpy(mask.astype(np.float32) * np.float32(_BYTE / kept))
