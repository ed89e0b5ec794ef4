"""A small set of loans for tests of suite ``models``: numbers, a flag and a category that all say something."""

import numpy as np

from benchmarks.models.sets import LoanSet
from jointrisk.federation.contract import FeatureContract
from jointrisk.federation.contract.terms import Feature, Reason, Target

WORDS = ("baker", "clerk", "smith", "nobody")
"""The last comes in no row."""


def contract() -> FeatureContract:
    """Return the contract of the sample."""
    kinds: dict[str, dict[str, object]] = {
        "income": {"kind": "numeric", "unit": "USD", "missing": "refused"},
        "years": {"kind": "numeric", "unit": "years", "missing": "allowed"},
        "owner": {"kind": "flag", "missing": "refused"},
        "job": {"kind": "category", "categories": WORDS, "missing": "refused"},
    }
    rest = {"direction": "none", "sensitive": False, "changeable_by_customer": False, "group": "loan", "as_of": "now"}
    features = tuple(
        Feature.model_validate({"name": name, **rest, **terms, "reason": Reason(en=name, zh=name)})
        for name, terms in kinds.items()
    )
    target = Target(definition="bad", observation_window="12 months", performance_window="12 months", label_column="y")
    return FeatureContract(version=1, title="sample", minimum_rows=1, target=target, features=features)


def loans(rows: int, seed: int = 1) -> LoanSet:
    """Return so many loans, about a third of them bad. Every income is another."""
    rng = np.random.default_rng(seed)
    income, years = rng.normal(size=rows), rng.exponential(5, rows)
    owner, job = rng.integers(0, 2, rows), rng.integers(0, 3, rows)
    odds = 1.2 * income - 0.1 * years + 0.6 * owner + np.where(job == 0, 0.8, -0.4) - 0.6
    labels = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.uint8)
    years[rng.random(rows) < 0.1] = np.nan
    features = np.stack([income, years, owner, job], axis=1).astype(np.float32)
    return LoanSet("sample", contract(), features, labels)
