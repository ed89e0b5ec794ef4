"""Federated validation: figures from summed histograms against the same figures from the pooled rows."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from demo_data import FEATURES, LABEL, lender_of, read_gmsc
from jointrisk.learning.validation import FORM, held_out, metrics_of, sums_of

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@pytest.fixture(scope="module")
def scored() -> tuple[Floats, Labels, NDArray[np.str_]]:
    """Log odds of 30,000 real loans, by a hand-made score of about the right level, their labels and lenders."""
    loans = read_gmsc().slice(0, 30_000)
    used, late, age = (
        np.nan_to_num(loans[name].to_numpy().astype(np.float64)) for name in (FEATURES[0], FEATURES[6], FEATURES[1])
    )
    odds = -3.6 + 2.2 * np.clip(used, 0, 1.2) + 0.9 * np.clip(late, 0, 4) - 0.02 * (age - 50)
    return odds, loans[LABEL].to_numpy().astype(np.int64), lender_of(loans)


def pooled(odds: Floats, bad: Labels) -> dict[str, float]:
    """Return the figures from all rows at once, by their definitions."""
    pd = 1 / (1 + np.exp(-odds))
    _, place, counts = np.unique(odds, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    bads, goods = int(bad.sum()), int((1 - bad).sum())
    auc = (ranks[bad == 1].sum() - bads * (bads + 1) / 2) / (bads * goods)
    order = np.unique(odds)
    below = [
        np.searchsorted(np.sort(odds[bad == label]), order, side="right") / n for label, n in ((0, goods), (1, bads))
    ]
    return {
        "auc": float(auc),
        "gini": float(2 * auc - 1),
        "ks": float(np.abs(below[0] - below[1]).max()),
        "log_loss": float(-np.log(np.where(bad == 1, pd, 1 - pd)).mean()),
        "brier": float(np.square(pd - bad).mean()),
    }


def test_sums_over_lenders_give_the_pooled_figures(scored: tuple[Floats, Labels, NDArray[np.str_]]) -> None:
    """Within 0.001 for AUC, KS and Gini; log-loss and Brier to the last digits."""
    odds, bad, lender = scored
    parts = [sums_of(odds[lender == name], bad[lender == name]) for name in np.unique(lender)]
    metrics = metrics_of({name: np.sum([part[name] for part in parts], axis=0) for name in FORM})
    expected = pooled(odds, bad)
    assert 0.75 < expected["auc"] < 0.9
    for name in ("auc", "ks", "gini"):
        assert metrics[name] == pytest.approx(expected[name], abs=1e-3)
    for name in ("log_loss", "brier"):
        assert metrics[name] == pytest.approx(expected[name], rel=1e-9)


def test_calibration_error_sees_a_wrong_level(scored: tuple[Floats, Labels, NDArray[np.str_]]) -> None:
    """Against groups of equally many pooled rows: near 0 where probabilities come true, the gap where they do not."""
    odds, _, _ = scored
    rng = np.random.default_rng(1)
    drawn = (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    assert metrics_of(sums_of(odds, drawn))["ece"] < 0.006
    shifted = metrics_of(sums_of(odds + 1, drawn))["ece"]
    pd = 1 / (1 + np.exp(-np.sort(odds + 1)))
    groups = np.array_split(pd - drawn[np.argsort(odds, kind="stable")], 20)
    expected = sum(abs(group.sum()) for group in groups) / len(odds)
    assert shifted == pytest.approx(expected, abs=2e-3)


def test_ties_count_half() -> None:
    """Against the definition: the share of good-bad pairs in the right order."""
    rng = np.random.default_rng(3)
    odds = rng.integers(-4, 5, 300).astype(np.float64)
    bad = rng.integers(0, 2, 300)
    pairs = list(itertools.product(odds[bad == 1], odds[bad == 0]))
    expected = sum((high > low) + 0.5 * (high == low) for high, low in pairs) / len(pairs)
    assert metrics_of(sums_of(odds, bad))["auc"] == pytest.approx(expected)


def test_extreme_log_odds_stay_finite() -> None:
    """A model that is sure, rightly or wrongly, has a loss, not an infinity; far out scores count in the last bin."""
    metrics = metrics_of(sums_of(np.array([-900.0, 900.0, 900.0, -900.0]), np.array([0, 1, 0, 1])))
    assert metrics["log_loss"] == pytest.approx(450.0)
    assert metrics["auc"] == pytest.approx(0.5)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_ranking(label: int) -> None:
    """There is no AUC to tell; the losses are told."""
    metrics = metrics_of(sums_of(np.zeros(5), np.full(5, label)))
    assert set(metrics) == {"log_loss", "brier", "ece"}


def test_no_rows_have_no_figures() -> None:
    """Rather than a division by zero."""
    assert metrics_of(sums_of(np.empty(0), np.empty(0, dtype=np.int64))) == {}


def test_sums_have_the_form_that_is_checked() -> None:
    """Shapes and types are those that the aggregation seam expects; no sum of a single row names its score."""
    sums = sums_of(np.array([-1.25]), np.array([1]))
    assert {name: (array.shape, str(array.dtype)) for name, array in sums.items()} == FORM
    assert sums["histogram"].sum() == 1


def test_held_out_rows_are_a_fixed_share_that_grows_with_the_book() -> None:
    """About the share asked for; a row's part doesn't change when rows are added."""
    part = held_out(100_000, 0.1)
    assert abs(part.mean() - 0.1) < 0.005
    assert np.array_equal(held_out(1000, 0.1), part[:1000])
    assert abs(np.corrcoef(part[1:], part[:-1])[0, 1]) < 0.02
