"""Scoring rows with a verified model, and what each feature adds: NumPy, and LightGBM for trees; daemons need no torch.

Every architecture has its scorer (:class:`Scorer`): log odds, and contributions that sum to them
(`jointrisk.learning.reasons`). :mod:`jointrisk.learning.scoring.bundles` finds the one of a model.
"""

from jointrisk.learning.scoring.blends import BlendScorer
from jointrisk.learning.scoring.bundles import ARCHITECTURES, picked_scorer, scorer_of
from jointrisk.learning.scoring.forests import TreeScorer, forest_of, lightgbm_of
from jointrisk.learning.scoring.networks import Layer, NetworkScorer, networks_of
from jointrisk.learning.scoring.pairs import PairScorer, pair_networks_of
from jointrisk.learning.scoring.parts import PICKED
from jointrisk.learning.scoring.scorer import Scorer, probability

__all__ = [
    "ARCHITECTURES",
    "PICKED",
    "BlendScorer",
    "Layer",
    "NetworkScorer",
    "PairScorer",
    "Scorer",
    "TreeScorer",
    "forest_of",
    "lightgbm_of",
    "networks_of",
    "pair_networks_of",
    "picked_scorer",
    "probability",
    "scorer_of",
]
