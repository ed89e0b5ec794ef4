"""What each lender has of it: its own LightGBM, the shared model and both together, on its own test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.models.baselines import Boosted, Model, Rows, Scores, lightgbm_alone, lightgbm_fit
from benchmarks.models.shared import VALIDATION_SHARE, Shared
from benchmarks.models.splits import Lender, Split
from jointrisk.learning import personal
from jointrisk.learning.areas import area, difference
from jointrisk.learning.tasks import MemberData
from jointrisk.learning.validation import held_out

FEWEST_TEST: Final = 2
"""Goods and bads among test rows; with fewer there is no error to tell."""
_TOLERANCE, _ERRORS = 0.002, 2


@dataclass(frozen=True)
class OwnBook:
    """Areas under the curve on a lender's own test rows.

    Attributes:
        lender: as the set has it.
        rows: of its book.
        alone: by LightGBM on its own rows.
        shared: by the shared model.
        personalised: by both.
        pooled: by LightGBM on all rows in one place.
        error: standard error of `gain`, DeLong's of the paired difference.
    """

    lender: str
    rows: int
    alone: float
    shared: float
    personalised: float
    pooled: float
    error: float

    @property
    def gain(self) -> float:
        """How much better the lender scores than alone."""
        return self.personalised - self.alone

    @property
    def below(self) -> bool:
        """Whether it scores worse than alone by more than chance."""
        return self.gain < -max(_TOLERANCE, _ERRORS * self.error)


@dataclass(frozen=True)
class Alone:
    """A lender's own models.

    Attributes:
        model: on all of its book.
        unseeing: the same without the rows that runs hold out.
    """

    model: Boosted
    unseeing: Boosted


def fit_alone(lender: Lender, words: Sequence[int], seed: int) -> Alone:
    """Tune and fit LightGBM to a lender's book."""
    model = lightgbm_alone(lender.book, words, seed)
    out = held_out(len(lender.book.labels), VALIDATION_SHARE)
    part = MemberData(lender.book.features[~out], lender.book.labels[~out])
    return Alone(model, lightgbm_fit(part, words, model.parameters, model.trees))


@dataclass(frozen=True)
class Personalised:
    """A lender's way of scoring with the shared model and its own."""

    chosen: personal.Personal
    shared: Model
    own: Model

    def log_odds(self, rows: Rows, /) -> Scores:
        """Return the log odds of rows."""
        return self.chosen.log_odds(_double(self.shared, rows), self.own.log_odds(rows))


def personalise(lender: Lender, shared: Shared, alone: Alone) -> Personalised:
    """Return how the lender scores: chosen on the rows that runs hold out, by models that have not seen them.

    Args:
        lender: whose book it is; its test rows are not looked at.
        shared: the federation's.
        alone: the lender's own.
    """
    out = held_out(len(lender.book.labels), VALIDATION_SHARE)
    rows, labels = lender.book.features[out], lender.book.labels[out]
    chosen = personal.choose(_double(shared.unseeing, rows), alone.unseeing.log_odds(rows), labels)
    return Personalised(chosen, shared.model, alone.model)


def own_books(split: Split, personalised: Mapping[str, Personalised], pooled: Model) -> tuple[OwnBook, ...]:
    """Return the figures of every lender with enough test rows of both classes.

    Args:
        split: all lenders.
        personalised: by lender.
        pooled: LightGBM on all rows in one place.
    """
    enough = [one for one in split.lenders if np.bincount(one.test.labels, minlength=2).min() >= FEWEST_TEST]
    return tuple(_own_book(lender, personalised[lender.name], pooled) for lender in enough)


def _own_book(lender: Lender, personalised: Personalised, pooled: Model) -> OwnBook:
    labels, rows = lender.test.labels, lender.test.features
    ours, mixed = personalised.own.log_odds(rows), personalised.log_odds(rows)
    return OwnBook(
        lender=lender.name,
        rows=len(lender.book.labels),
        alone=area(labels, ours).value,
        shared=area(labels, _double(personalised.shared, rows)).value,
        personalised=area(labels, mixed).value,
        pooled=area(labels, pooled.log_odds(rows)).value,
        error=difference(labels, mixed, ours).error,
    )


def _double(model: Model, rows: Rows) -> Scores:
    return np.asarray(model.log_odds(rows), dtype=np.float64)
