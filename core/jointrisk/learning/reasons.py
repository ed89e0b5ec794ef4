"""Reason codes: what speaks against an application, from each feature's contribution to its log odds.

Contributions of a row sum to the difference between its log odds and a baseline: what rows are expected to have, or
what the mean input has. They come from the model (`Scorer.contributions` of `jointrisk.learning.scoring`; the methods
are in docs/reasons.md). Features of one group of the contract are explained together; a sensitive feature contributes,
but is never a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import Feature, FeatureContract, Reason

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contributions:
    """What features add to the log odds of rows.

    Attributes:
        values: float64 [rows, features], in the contract's order.
        baseline: the log odds that no feature says anything beside; with a row's values it sums to the row's log odds.
    """

    values: Floats
    baseline: float

    @property
    def log_odds(self) -> Floats:
        """Of the rows, float64 [rows]."""
        return np.asarray(self.values.sum(axis=1) + self.baseline)


@dataclass(frozen=True)
class Code:
    """One reason.

    Attributes:
        group: the contract's group of features.
        contribution: what the group's features that may be told add to the log odds; above 0.
        feature: the one of them that adds most.
        text: what the applicant is told, in English and Chinese: that feature's.
    """

    group: str
    contribution: float
    feature: str
    text: Reason


def blended(parts: Sequence[Contributions], weights: Sequence[float]) -> Contributions:
    """Return the contributions to the weighted mean of models' log odds.

    Args:
        parts: of each model, of the same rows.
        weights: of each model.

    Raises:
        InvalidInputError: they do not fit each other.
    """
    if not parts or len(parts) != len(weights) or len({part.values.shape for part in parts}) > 1:
        raise InvalidInputError("expected contributions to the same rows and a weight of each model, got others")
    values = sum((part.values * weight for part, weight in zip(parts, weights, strict=True)), np.zeros(()))
    baseline = sum(part.baseline * weight for part, weight in zip(parts, weights, strict=True))
    return Contributions(np.asarray(values), float(baseline))


def reasons(contract: FeatureContract, contributions: Floats, count: int = 4) -> tuple[Code, ...]:
    """Return the groups that raise a row's log odds most, the strongest first; fewer where fewer raise them.

    Args:
        contract: what the features are.
        contributions: float64 [features], of one row.
        count: the most reasons.

    Raises:
        InvalidInputError: there are not as many contributions as features.
    """
    if contributions.shape != (len(contract.features),):
        raise InvalidInputError(
            f"contributions: expected {len(contract.features)}, one for each feature, got {contributions.shape}"
        )
    groups = dict[str, list[tuple[float, Feature]]]()
    for feature, value in zip(contract.features, contributions.tolist(), strict=True):
        if not feature.sensitive:
            groups.setdefault(feature.group, []).append((value, feature))
    codes = [_code(group, members) for group, members in groups.items()]
    # Sorting keeps the contract's order where contributions are the same.
    raising = sorted((code for code in codes if code.contribution > 0), key=lambda code: -code.contribution)
    return tuple(raising[:count])


def _code(group: str, members: Sequence[tuple[float, Feature]]) -> Code:
    _, strongest = max(members, key=lambda member: member[0])
    return Code(group, sum(value for value, _ in members), strongest.name, strongest.reason)
