"""Architectures by name: what a model is made of, and what a round of training does to it at one lender.

Every architecture makes an :class:`Ensemble` of networks that are averaged, which is what is trained
(:mod:`jointrisk.learning.architectures.fitting`), aggregated by arrays of its names, and scored
(:mod:`jointrisk.learning.scoring`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from jointrisk.learning.tasks.settings import DefaultModelSettings

if TYPE_CHECKING:
    from jointrisk.learning.architectures.ensemble import Plan


class Architecture(Protocol):
    """What an architecture's module offers."""

    learning_rate: float
    """The highest of the schedule, unless the settings say otherwise."""

    def plan(self, settings: DefaultModelSettings) -> "Plan":
        """Return how many networks there are, and of what layers."""


def load_architecture(name: str) -> Architecture:
    """Import an architecture's module. ``name`` is one that :class:`DefaultModelSettings` allows."""
    module: Architecture = import_module(f"jointrisk.learning.architectures.{name}")
    return module
