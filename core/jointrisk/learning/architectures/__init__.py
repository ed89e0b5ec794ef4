"""Architectures by name: what a model is made of, and what a round of training does to it at one lender.

Every architecture but the trees plans networks that are averaged (:class:`Plan`). At a lender they are a
:class:`~jointrisk.learning.architectures.fitting.Ensemble`, which is what is trained
(:mod:`jointrisk.learning.architectures.fitting`), aggregated by arrays of its names, and scored
(:mod:`jointrisk.learning.scoring`).
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jointrisk.learning.encoding import Encoding
from jointrisk.learning.tasks.settings import DefaultModelSettings

if TYPE_CHECKING:
    from jointrisk.learning.architectures.fitting import Ensemble


class Plan(Protocol):
    """What networks there are."""

    def initial_arrays(self, width: int, run_seed: int) -> dict[str, NDArray[np.float32]]:
        """Return fresh weights for so many inputs; the same seed gives the same."""

    def ensemble(self, encoding: Encoding, arrays: Mapping[str, NDArray[np.generic]]) -> "Ensemble":
        """Return the networks at work on inputs of this encoding, with these weights, which are copied."""

    def facts(self) -> dict[str, Any]:
        """Return what is said of the networks to whoever scores with them, as plain JSON data."""


class Architecture(Protocol):
    """What an architecture's module offers: how it is trained unless the settings say otherwise, and its networks."""

    learning_rate: float
    """The highest of the schedule."""
    weight_decay: float
    """Of AdamW."""
    steps: int
    """Of a pass over a member's rows."""

    def plan(self, settings: DefaultModelSettings) -> Plan:
        """Return what networks there are."""


def load_architecture(name: str) -> Architecture:
    """Import an architecture's module. ``name`` is one that :class:`DefaultModelSettings` allows."""
    module: Architecture = import_module(f"jointrisk.learning.architectures.{name}")
    return module
