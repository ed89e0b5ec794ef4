"""Reason codes: what speaks against an application, from each feature's contribution to its log odds.

Contributions of a row sum to the difference between its log odds and a baseline: what rows are expected to have, or
what the mean input has. They come from the model (`Scorer.contributions` of `jointrisk.learning.scoring`; the methods
are in docs/reasons.md). Features of one group of the contract are explained together; a sensitive feature contributes,
but is never a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import FeatureContract, Reason

Floats = NDArray[np.float64]

MOST_REASONS: Final = 10
"""Nobody is told more for one application."""


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
    return Groups(contract).codes(contributions[None], count)[0]


@dataclass(frozen=True)
class Ranking:
    """The groups that raise rows' log odds most, the strongest first; all [rows, reasons].

    Attributes:
        groups: number of the group in `Groups.names`; -1 where no further one raises the row's.
        features: number of the contract's feature that adds most in it, as far as it may be told; -1 as above.
        contributions: what the group's features that may be told add; 0 as above.
    """

    groups: NDArray[np.intp]
    features: NDArray[np.intp]
    contributions: Floats


class Groups:
    """A contract's groups of features, as far as they may be told: those with a feature that is not sensitive.

    Args:
        contract: what the features are.
    """

    def __init__(self, contract: FeatureContract) -> None:
        self._features = contract.features
        members = dict[str, list[int]]()
        for place, feature in enumerate(contract.features):
            if not feature.sensitive:
                members.setdefault(feature.group, []).append(place)
        self.names = tuple(members)
        self._members = [np.array(places, dtype=np.intp) for places in members.values()]

    def rank(self, contributions: Floats, count: int) -> Ranking:
        """Return each row's reasons.

        Args:
            contributions: float64 [rows, features].
            count: how many at most.

        Raises:
            InvalidInputError: there are not as many contributions as features.
        """
        if contributions.shape[1:] != (len(self._features),):
            raise InvalidInputError(
                f"contributions: expected {len(self._features)}, one for each feature, got {contributions.shape[1:]}"
            )
        empty = np.zeros((len(contributions), 0))
        each = [contributions[:, places] for places in self._members]
        sums = np.stack([own.sum(axis=1) for own in each], axis=1) if each else empty
        strongest = [places[own.argmax(axis=1)] for places, own in zip(self._members, each, strict=True)]
        tops = np.stack(strongest, axis=1) if each else empty.astype(np.intp)
        # A stable order keeps the contract's where contributions are the same.
        order = np.argsort(-sums, axis=1, kind="stable")[:, :count]
        added = np.take_along_axis(sums, order, axis=1)
        raising = added > 0
        features = np.take_along_axis(tops, order, axis=1)
        return Ranking(np.where(raising, order, -1), np.where(raising, features, -1), np.where(raising, added, 0.0))

    def codes(self, contributions: Floats, count: int) -> list[tuple[Code, ...]]:
        """Return each row's reasons in words; see :meth:`rank`."""
        ranking = self.rank(contributions, count)
        rows = zip(ranking.groups.tolist(), ranking.features.tolist(), ranking.contributions.tolist(), strict=True)
        return [
            tuple(
                self._code(*one) for one in zip(*row, strict=True) if one[0] >= 0
            )  # a row's three lists, side by side
            for row in rows
        ]

    def _code(self, group: int, feature: int, contribution: float) -> Code:
        told = self._features[feature]
        return Code(self.names[group], contribution, told.name, told.reason)
