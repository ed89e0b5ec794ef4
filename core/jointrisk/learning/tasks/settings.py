"""Settings of the tasks. Light: imported where torch and Flower are not."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, field_validator

from jointrisk.learning.trees.settings import BoostingSettings
from jointrisk.settings import Settings

Part = Literal["mlp", "scorecard", "ga2m", "trees"]
"""Architectures that can stand alone or in a blend."""


class ProbeSettings(Settings):
    """The probe needs no data: it carries arrays back and forth, to try a link and to measure one."""

    payload_bytes: int = Field(
        4096, ge=8, le=1_000_000_000, description="Size of the arrays that cross the wire both ways, bytes."
    )
    sleep_seconds: float = Field(0.0, ge=0, le=3600, description="How long each member pretends to work.")


class DefaultModelSettings(Settings):
    """A model that predicts default from the contract's features."""

    architecture: Literal["mlp", "scorecard", "ga2m", "trees", "blend"] = Field(
        "mlp",
        description='"mlp": networks with hidden layers, averaged; "scorecard": logistic regression on the same '
        'inputs, in which every bin of every feature has its weight; "ga2m": the same with an effect of every pair of '
        'features (40 rounds if `rounds` is not given, with a `patience` of 20); "trees": boosted trees on summed '
        "histograms, one a round, so that `rounds` is the most there can be (200 if it is not given, with a `patience` "
        "of 30); "
        '"blend": the weighted mean of the log odds of `blend`, weights by validation.',
    )
    blend: tuple[Part, ...] = Field(
        ("mlp", "trees"), min_length=2, max_length=3, description='What is blended ("blend").'
    )
    refit: bool = Field(
        default=True,
        description="Whether, once validation has picked rounds and weights, each part is trained once more, so many "
        "rounds, on all rows.",
    )
    hidden: int = Field(128, ge=1, le=4096, description='Width of a hidden layer ("mlp").')
    layers: int = Field(2, ge=1, le=8, description='Hidden layers ("mlp").')
    dropout: float = Field(
        0.3, ge=0, lt=1, description='Share of hidden units that a training step leaves out ("mlp").'
    )
    rank: int = Field(16, ge=1, le=256, description='Dimensions in which effects of pairs are told apart ("ga2m").')
    networks: int = Field(
        3, ge=1, le=32, description='Networks trained side by side whose log odds are averaged ("mlp", "ga2m").'
    )
    learning_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description='Highest of AdamW at the members; 0: 0.002 for "mlp", 0.1 for "scorecard", 0.01 for "ga2m".',
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1,
        description='Of AdamW at the members; 0: 0.01, and 0.3 for "ga2m".',
    )
    warm_up: float = Field(
        0.1, ge=0, lt=1, description="Share of the run in which the learning rate rises; it falls as a cosine after."
    )
    steps: int = Field(
        0,
        ge=0,
        le=10_000,
        description='Steps of a pass over a member\'s rows, whatever their number; 0: 50, and 20 for "ga2m".',
    )
    local_epochs: int = Field(1, ge=1, le=100, description="Passes over a member's rows in a round.")
    label_shift: Literal["off", "on", "validated"] = Field(
        "validated",
        description="Whether members train against their own bad rate's distance from the common one, which helps "
        "where their customers are alike but sampled at different bad rates, and costs accuracy where they differ in "
        'kind. "validated": a few rounds of a scorecard both ways decide; for networks, as trees have no need of it.',
    )
    bins: int = Field(48, ge=2, le=64, description="Most bins of a numeric feature.")
    minimum_count: int = Field(
        20,
        ge=20,
        le=1_000_000,
        description="Fewest rows, of all members together, behind a bin or a word; members refuse finer ones.",
    )
    held_out: float = Field(
        0.1, gt=0, lt=1, description="Share of rows that only evaluation uses, chosen by a hash of the row's number."
    )
    trees: BoostingSettings = Field(BoostingSettings(), description='How trees are grown ("trees").')

    @field_validator("blend")
    @classmethod
    def _each_once(cls, blend: tuple[Part, ...]) -> tuple[Part, ...]:
        if len(set(blend)) != len(blend):
            raise ValueError("expected each part once")
        return blend

    @property
    def parts(self) -> tuple[str, ...]:
        """The architectures that are trained."""
        return self.blend if self.architecture == "blend" else (self.architecture,)


# A round of trees is one small tree, which is much less than a pass over all rows. Pairs find their places by detours:
# the first rounds are often better than the next ten.
_USUAL: Final = {"ga2m": (40, 20), "trees": (200, 30)}


def usual(architecture: str) -> tuple[int, int]:
    """Return how many rounds an architecture takes at most, and how many without a better one end it."""
    return _USUAL.get(architecture, (16, 10))


def usual_rounds(task: object, values: object) -> dict[str, int]:
    """Return how many rounds a run takes where nobody says it, and its patience; empty for what all others take.

    Args:
        task: its name.
        values: the task's settings, not yet checked.
    """
    if task != "default_model" or not isinstance(values, Mapping):
        return {}
    architecture = str(values.get("architecture", "mlp"))
    # As many as its longest part takes; every part has no more than it usually takes.
    rounds, patience = usual("trees" if architecture == "blend" else architecture)
    return {"rounds": rounds, "patience": patience}
