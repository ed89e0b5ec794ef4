"""Settings of boosted trees. Light: imported where nothing is computed."""

from typing import Final

from pydantic import Field

from jointrisk.settings import Settings

FEWEST_ROWS: Final = 200
"""No leaf holds fewer rows, of all members together, and none with fewer is split."""


MOST_TREES: Final = 5000
MOST_LEVELS: Final = 8


class BoostingSettings(Settings):
    """Gradient boosting of log loss on summed histograms (architecture "trees"): a round grows one tree."""

    depth: int = Field(5, ge=1, le=MOST_LEVELS, description="Levels of splits of a tree; each takes one sum.")
    learning_rate: float = Field(0.06, gt=0, le=1, description="What a leaf's value is multiplied by.")
    l2: float = Field(5.0, ge=0, le=1e6, description="Added to a leaf's summed hessian.")
    minimum_leaf: int = Field(
        FEWEST_ROWS,
        ge=FEWEST_ROWS,
        le=1_000_000_000,
        description="Fewest rows of a leaf, of all members together; members refuse to split smaller ones.",
    )
    minimum_hessian: float = Field(1.0, gt=0, le=1e9, description="Smallest summed hessian of a leaf.")
    minimum_gain: float = Field(0.0, ge=0, le=1e9, description="A split must gain more, in LightGBM's measure.")
    row_share: float = Field(0.8, gt=0, le=1, description="Share of its rows that a member uses in a tree.")
    column_share: float = Field(0.6, gt=0, le=1, description="Share of the features that a tree may split by.")
    bits: int = Field(
        4,
        ge=2,
        le=16,
        description="To so many bits a row's gradient and hessian are rounded, at random, before they are added.",
    )
    directions: bool = Field(
        default=False,
        description="Whether scores only rise or only fall with a feature, as the contract says; it costs accuracy.",
    )
    one_hot: int = Field(
        4, ge=0, le=4096, description="A category of no more words splits one off; of more, they are ordered by risk."
    )
    category_rows: int = Field(100, ge=1, le=1_000_000_000, description="Fewest rows of a word that has its own side.")
    category_l2: float = Field(10.0, ge=0, le=1e6, description="As l2, added where a category's split is weighed.")
    category_smoothing: float = Field(
        10.0, ge=0, le=1e6, description="Added to a word's hessian where words are ordered by risk."
    )


class TreeSettings(BoostingSettings):
    """The same, with an end: what grows, follows and stops a forest goes by."""

    trees: int = Field(200, ge=1, le=MOST_TREES, description="Most trees.")
    patience: int = Field(
        30, ge=1, le=5000, description="The run ends when so many trees have not made validation better."
    )
