"""AdamW (Loshchilov and Hutter, 2019), with the operations of ``torch.optim.AdamW`` in their order: the same bits.

Making any optimiser of ``torch.optim`` loads torch's compiler, which takes every worker 1.4 s and 72 MB and leaves a
folder in the system's temporary directory.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class AdamW:
    """Changes a network's parameters by their gradients.

    Args:
        network: whose parameters.
        learning_rate: the step size.
        weight_decay: how much of each parameter a step of size 1 takes away.

    Attributes:
        steps: how many steps have been made.
        first: the running mean of the gradients, by the parameter's name.
        second: the running mean of their squares.
    """

    def __init__(self, network: nn.Module, *, learning_rate: float, weight_decay: float) -> None:
        self._parameters = dict(network.named_parameters())
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self.steps = 0
        self.first = {name: torch.zeros_like(value.data) for name, value in self._parameters.items()}
        self.second = {name: torch.zeros_like(value.data) for name, value in self._parameters.items()}

    def restore(self, steps: int, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
        """Go on from where another one stood; the tensors are changed from then on."""
        self.steps, self.first, self.second = steps, dict(first), dict(second)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def step(self) -> None:
        """Make one step."""
        self.steps += 1
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, self.first[name], self.second[name])

    def _move(self, parameter: Tensor, gradient: Tensor, first: Tensor, second: Tensor) -> None:
        parameter.mul_(1 - self._learning_rate * self._weight_decay)
        first.lerp_(gradient, 1 - _BETA1)
        second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        size = self._learning_rate / (1 - _BETA1**self.steps)
        spread = (second.sqrt() / (1 - _BETA2**self.steps) ** 0.5).add_(_EPSILON)
        parameter.addcdiv_(first, spread, value=-size)
