"""One lender's part of a round: AdamW over its rows, the moments kept at the lender from round to round.

Everything random derives from run seed, round and member number, on one thread, so that a task done again gives the
same bits.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jointrisk.learning.encoding import Encoding, Rows

Moments = dict[str, NDArray[np.generic]]
_EVALUATED_AT_ONCE = 4096


class Ensemble(Protocol):
    """Networks at work, whose log odds are averaged.

    Attributes:
        parameters: by the names of the arrays.
    """

    parameters: dict[str, Tensor]

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights as they are now."""

    def log_odds(self, inputs: Tensor) -> Tensor:
        """Return the mean of the networks' log odds, [rows]."""

    def each_log_odds(self, inputs: Tensor, generator: np.random.Generator) -> list[Tensor]:
        """Return every network's own log odds for a training step; all that is random comes of ``generator``."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        learning_rate: the highest.
        weight_decay: AdamW's.
        warm_up: share of the run in which the learning rate rises.
        steps: steps of one pass over the rows.
        epochs: passes in a round.
        offset: added to every log odds in training, for label shift.
    """

    learning_rate: float
    weight_decay: float
    warm_up: float
    steps: int
    epochs: int
    offset: float = 0.0

    def rate(self, done: float) -> float:
        """Return the learning rate when this share of the run is done: up in a line, then down as a cosine."""
        if done < self.warm_up:
            return self.learning_rate * done / self.warm_up
        return self.learning_rate * (1 + math.cos(math.pi * (done - self.warm_up) / (1 - self.warm_up))) / 2


@dataclass(frozen=True)
class Part:
    """Rows and their labels, encoded when they are needed: that costs less than the memory would."""

    encoding: Encoding
    rows: Rows
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.intp] | slice) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of some rows."""
        inputs = self.encoding.encode(self.rows[chosen])
        return torch.from_numpy(inputs), torch.from_numpy(self.labels[chosen].astype(np.float32))


@dataclass(frozen=True)
class Turn:
    """Which round it is, and of how many.

    Attributes:
        number: the round, from 1.
        rounds: how many are planned.
        seed: of everything random in it.
        proximal: weight of FedProx's distance from where the round began.
    """

    number: int
    rounds: int
    seed: tuple[int, ...]
    proximal: float = 0.0


def train(ensemble: Ensemble, part: Part, recipe: Recipe, turn: Turn, moments: Moments) -> tuple[float, Moments]:
    """Train in place for a round.

    Args:
        ensemble: the networks, as the round begins.
        part: the lender's training rows.
        recipe: how.
        turn: which round.
        moments: AdamW's, of the lender's last round; empty before the first.

    Returns:
        The mean loss of all steps and networks, and the moments for the next round.
    """
    generator = np.random.default_rng(turn.seed)
    parameters = ensemble.parameters
    optimizer = torch.optim.AdamW(parameters.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    _restore(optimizer, parameters, moments)
    begin = [value.detach().clone() for value in parameters.values()] if turn.proximal else []
    total = seen = 0.0
    batches = list(_batches(len(part), recipe, generator))
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = recipe.rate((turn.number - 1 + (step + 1) / len(batches)) / turn.rounds)
        inputs, labels = part.take(batch)
        outputs = ensemble.each_log_odds(inputs, generator)
        losses = [functional.binary_cross_entropy_with_logits(output + recipe.offset, labels) for output in outputs]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        (loss + turn.proximal / 2 * _distance(parameters, begin) if begin else loss).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total, seen = total + float(loss.detach()) / len(losses) * len(batch), seen + len(batch)
    return total / seen, _moments(optimizer, parameters)


def log_odds(ensemble: Ensemble, part: Part) -> NDArray[np.float32]:
    """Return the log odds of every row."""
    begins = range(0, len(part), _EVALUATED_AT_ONCE)
    blocks = [ensemble.log_odds(part.take(slice(begin, begin + _EVALUATED_AT_ONCE))[0]).numpy() for begin in begins]
    return np.concatenate([np.empty(0, dtype=np.float32), *blocks])


def _batches(rows: int, recipe: Recipe, generator: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    size = -(-rows // recipe.steps)
    for _ in range(recipe.epochs):
        order = generator.permutation(rows)
        for begin in range(0, rows, size):
            yield order[begin : begin + size]


def _distance(parameters: Mapping[str, Tensor], begin: list[Tensor]) -> Tensor:
    return torch.stack([(p - b).square().sum() for p, b in zip(parameters.values(), begin, strict=True)]).sum()


def _moments(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> Moments:
    kept: Moments = {}
    for name, parameter in parameters.items():
        state = optimizer.state[parameter]
        kept |= {f"{what}/{name}": state[what].numpy() for what in ("step", "exp_avg", "exp_avg_sq")}
    return kept


def _restore(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], moments: Moments) -> None:
    for name, parameter in parameters.items() if moments else ():
        optimizer.state[parameter] = {
            what: torch.tensor(moments[f"{what}/{name}"]) for what in ("step", "exp_avg", "exp_avg_sq")
        }
