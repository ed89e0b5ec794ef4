"""What trees on summed histograms are worth: GMSC among five lenders, beside LightGBM on the pooled rows."""

import numpy as np
import pytest

import tree_study
from jointrisk.learning.trees.settings import TreeSettings
from tree_study import Rows

TREES_OF_LIGHTGBM = 250


@pytest.fixture(scope="module")
def books() -> tuple[list[Rows], Rows]:
    """The lenders' loan books and the common test."""
    return tree_study.gmsc()


@pytest.mark.slow
def test_summed_histograms_equal_centralised_lightgbm(
    books: tuple[list[Rows], Rows],
) -> None:
    """Two seeds: AUC on the common test within 0.002 of LightGBM's; at most ten times the CPU of one of its fits."""
    lenders, test = books
    ours, theirs, ratios = list[float](), list[float](), list[float]()
    for seed in (1, 2):
        fitted = tree_study.fit(lenders, TreeSettings(), seed)
        model, seconds = tree_study.fit_lightgbm(lenders, TREES_OF_LIGHTGBM, seed)
        ours.append(tree_study.auc(fitted.forest.log_odds(test.features), test.labels))
        theirs.append(tree_study.auc(np.asarray(model.predict(test.features, num_threads=1)), test.labels))
        ratios.append(fitted.seconds / seconds)
    assert np.mean(ours) >= np.mean(theirs) - 0.002
    assert max(ratios) <= 10


@pytest.mark.slow
def test_four_bits_are_as_good_as_sixteen(books: tuple[list[Rows], Rows]) -> None:
    """Rounding gradients to 4 bits costs less than 0.001 of AUC."""
    lenders, test = books
    found = {}
    for bits in (4, 16):
        settings = TreeSettings(trees=60, learning_rate=0.1, bits=bits, patience=60)
        forest = tree_study.fit(lenders, settings, 1).forest
        found[bits] = tree_study.auc(forest.log_odds(test.features), test.labels)
    assert found[4] == pytest.approx(found[16], abs=0.001)
    assert found[4] > 0.86


def test_deals_are_skewed_and_fair() -> None:
    """Every row has a lender; bad rates are far apart; nobody has too few rows of a class."""
    labels = (np.arange(20_000) % 10 == 0).astype(np.uint8)
    lender = tree_study.skewed(labels, 5)
    rates = [float(labels[lender == place].mean()) for place in range(5)]
    assert sorted(set(lender.tolist())) == [0, 1, 2, 3, 4]
    assert max(rates) > 3 * min(rates)
    np.testing.assert_array_equal(lender, tree_study.skewed(labels, 5))


def test_the_area_under_the_curve_is_the_share_of_pairs() -> None:
    """Of all pairs of a bad and a good row, in how many the bad one scores higher; ties are halves."""
    rng = np.random.default_rng(1)
    odds, labels = rng.integers(0, 5, 60).astype(np.float64), rng.integers(0, 2, 60).astype(np.uint8)
    pairs = [(bad > good) + (bad == good) / 2 for bad in odds[labels == 1] for good in odds[labels == 0]]
    assert tree_study.auc(odds, labels) == pytest.approx(float(np.mean(pairs)))
