"""The points table of a scorecard: what every value of every feature adds to an applicant's score.

Points grow with the odds of being good: ``PDO`` more points stand for odds twice as good, and ``points`` for the
``odds`` that they are set to. Between two edges of a number points lie on the line between theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.bundle import Bundle
from jointrisk.learning.encoding import CategoryEncoding, Encoding, FeatureEncoding, FlagEncoding, NumericEncoding
from jointrisk.learning.scoring import Layer, networks_of
from jointrisk.learning.scoring.parts import of_all_rows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """How log odds become points.

    Attributes:
        doubling: points for which the odds of being good double (PDO).
        points: what the base odds get.
        odds: the base odds, goods to one bad.
    """

    doubling: float = 20.0
    points: float = 600.0
    odds: float = 50.0

    @property
    def factor(self) -> float:
        """Points for one unit of log odds."""
        return self.doubling / math.log(2)

    def of(self, log_odds: float) -> float:
        """Return the points of log odds of being bad."""
        return self.points - self.factor * (log_odds + math.log(self.odds))


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        feature: its name.
        value: a number (an edge), "0" or "1", a word, "bucket N" of an open vocabulary, "other" or "missing".
        points: not rounded.
    """

    feature: str
    value: str
    points: float


@dataclass(frozen=True)
class PointsTable:
    """The table; an applicant's score is ``base`` and one line, or a place between two, of each feature."""

    base: float
    lines: tuple[Line, ...]


def points_of(bundle: Bundle, contract: FeatureContract, scale: Scale) -> PointsTable:
    """Return the points of a verified model.

    Args:
        bundle: the model.
        contract: that it names.
        scale: how points are set.

    Raises:
        InvalidInputError: it is no scorecard.
        CorruptError: its parts do not fit each other.
    """
    facts = bundle.manifest.facts
    if facts.architecture != "scorecard":
        raise InvalidInputError(
            f'expected a model of the architecture "scorecard", got "{facts.architecture}"',
            remedy="Only a scorecard's score is a sum of points; `node score --reasons N` explains all models.",
        )
    encoding, networks = Encoding.from_payload(canonical_json(facts.encoding)), networks_of(of_all_rows(bundle.arrays))
    if len(networks) != 1:
        raise CorruptError(f"expected one network in a scorecard, got {len(networks)}")
    return points_table(contract, encoding, networks[0], scale)


def points_table(contract: FeatureContract, encoding: Encoding, network: Sequence[Layer], scale: Scale) -> PointsTable:
    """Return the points of a scorecard.

    Args:
        contract: names words.
        encoding: the model's.
        network: the model's one layer.
        scale: how points are set.

    Raises:
        CorruptError: it is no scorecard over this encoding.
    """
    if len(network) != 1 or network[0].weight.shape != (1, encoding.width):
        raise CorruptError("expected one layer with a weight for each input, got another model")
    weights, lines = network[0].weight[0].astype(np.float64), list[Line]()
    for place, (feature, (begin, end)) in enumerate(zip(encoding.features, encoding.spans, strict=True)):
        values = _values(feature, contract.features[place].categories, weights[begin:end])
        lines += [Line(feature.name, value, -scale.factor * added) for value, added in values]
    return PointsTable(scale.of(float(network[0].bias[0])), tuple(lines))


def _values(feature: FeatureEncoding, categories: tuple[str, ...] | None, weights: Floats) -> list[tuple[str, float]]:
    """Return every value that stands in the table, and the log odds that it adds."""
    last = [("missing", float(weights[-1]))] if feature.missing else []
    inner = weights[:-1] if feature.missing else weights
    if isinstance(feature, NumericEncoding):
        added = np.concatenate([[0.0], np.cumsum(inner)])
        return [(f"{edge:.9g}", float(one)) for edge, one in zip(feature.edges, added, strict=False)] + last
    if isinstance(feature, FlagEncoding):
        return [("0", 0.0), ("1", float(inner[0])), *last]
    return list(zip(_words(feature, categories), inner.tolist(), strict=True)) + last


def _words(feature: CategoryEncoding, categories: tuple[str, ...] | None) -> list[str]:
    words = [categories[code] if categories else f"bucket {code}" for code in feature.kept]
    return words + ["other"] * feature.other
