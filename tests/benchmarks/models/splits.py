"""Who has which rows, and which rows only the last figures see: another split and another deal for each seed."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import tree_study
from benchmarks.models.sets import LoanSet
from demo_data import held_out
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.tasks import MemberData

DEALT = 5
"""Lenders of a set that names none."""
LARGEST = 8
"""Of a set that names its lenders so many take part, the largest."""
FEWEST_TEST = 5
"""Fewest goods and bads among a lender's test rows: no area can be told of fewer."""


@dataclass(frozen=True)
class Lender:
    """One lender's rows.

    Attributes:
        name: as the set has it.
        book: what is trained, chosen and calibrated with.
        test: what nothing but figures sees.
    """

    name: str
    book: MemberData
    test: MemberData


@dataclass(frozen=True)
class Split:
    """All lenders of a set for one seed.

    Attributes:
        contract: what the columns are.
        lenders: those that take part.
        categories: places of the features that are categories.
    """

    contract: FeatureContract
    lenders: tuple[Lender, ...]
    categories: tuple[int, ...]

    @property
    def pooled(self) -> MemberData:
        """All lenders' books in one place."""
        return joined([lender.book for lender in self.lenders])

    @property
    def test(self) -> MemberData:
        """The common test: all lenders' test rows."""
        return joined([lender.test for lender in self.lenders])


def split(loans: LoanSet, seed: int) -> Split:
    """Return the lenders' rows.

    Of each class, the fifth of the set's rows with the lowest hash is for testing (`demo_data.held_out`). Lenders are
    the set's largest; where it names none, rows are dealt out, bad rates and sizes unequal (`tree_study.skewed`).
    """
    test, whose = held_out(loans.labels, seed), lenders_of(loans, seed)
    names = sorted(set(whose.tolist()) - {""})
    lenders = []
    for name in names:
        own = whose == name
        book, kept = (MemberData(loans.features[own & part], loans.labels[own & part]) for part in (~test, test))
        lenders.append(Lender(name, book, kept))
    return Split(loans.contract, tuple(lenders), tuple(loans.categories))


def lenders_of(loans: LoanSet, seed: int) -> NDArray[np.str_]:
    """Return each row's lender, "" for rows of those that take no part."""
    if loans.lenders is None:
        return np.array([f"lender-{place + 1}" for place in tree_study.skewed(loans.labels, DEALT, seed)])
    counts = Counter(name for name in loans.lenders.tolist() if name)
    # By size, then by name: the same on every machine.
    largest = sorted(counts, key=lambda name: (-counts[name], name))[:LARGEST]
    return np.where(np.isin(loans.lenders, largest), loans.lenders, "")


def joined(parts: list[MemberData]) -> MemberData:
    """Return the rows of all parts, one after the other."""
    return MemberData(np.concatenate([p.features for p in parts]), np.concatenate([p.labels for p in parts]))
