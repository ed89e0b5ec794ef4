"""Suite ``models``: who has which rows, how calibration is judged, and what figures become measures and goals."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.models import baselines
from benchmarks.models.calibration import calibration_error, error_by_chance
from benchmarks.models.cpu_seconds import Spent, told_apart
from benchmarks.models.figures import measures_of
from benchmarks.models.jobs import Found
from benchmarks.models.own_books import OwnBook
from benchmarks.models.sets import LoanSet
from benchmarks.models.splits import DEALT, LARGEST, lenders_of, split
from benchmarks.report import Measure
from jointrisk.learning.areas import area
from jointrisk.learning.flower import ArrayRecord, RecordDict, encode, pack
from jointrisk.learning.tasks import MemberData
from jointrisk.learning.validation import sums_of
from loan_sample import loans


def _figures(measures: list[Measure]) -> dict[str, Measure]:
    return {measure.name: measure for measure in measures}


def test_of_every_class_a_fifth_is_for_testing_and_nobody_trains_on_it() -> None:
    """Every row of the set is in one book or one test, and the tests hold the fifth of each class, rounded up."""
    sample = loans(3000)
    parts = split(sample, 1)
    numbers = [part.features[:, 0] for one in parts.lenders for part in (one.book, one.test)]
    assert sorted(np.concatenate(numbers)) == sorted(sample.features[:, 0])
    for label in (0, 1):
        assert (parts.test.labels == label).sum() == math.ceil(0.2 * int((sample.labels == label).sum()))
    assert len(parts.pooled.labels) + len(parts.test.labels) == len(sample.labels)


def test_another_seed_is_another_split_and_another_deal() -> None:
    """The same seed gives the same rows again."""
    sample = loans(3000)
    one, same, other = split(sample, 1), split(sample, 1), split(sample, 2)
    np.testing.assert_array_equal(one.test.features, same.test.features)
    assert set(one.test.features[:, 0]) != set(other.test.features[:, 0])
    assert [len(each.book.labels) for each in one.lenders] != [len(each.book.labels) for each in other.lenders]
    assert len(one.lenders) == DEALT


def test_of_named_lenders_the_largest_take_part() -> None:
    """Rows of others, and of nobody, are in no book and no test."""
    names = np.array([f"bank {number:02d}" for number in range(10) for _ in range(100 + 10 * number)] + [""] * 500)
    sample = replace(loans(len(names)), lenders=names)
    kept = [f"bank {number:02d}" for number in range(10 - LARGEST, 10)]
    assert [lender.name for lender in split(sample, 1).lenders] == kept
    assert set(lenders_of(sample, 1)) == {"", *kept}


def test_a_calibration_error_is_the_mean_gap_of_ten_equal_groups() -> None:
    """PDs of one half in ten groups, of which one is bad altogether and the others half: a tenth of one half."""
    pd = np.linspace(0.4999, 0.5001, 1000)
    labels = np.arange(1000) % 2
    assert calibration_error(pd, labels) == pytest.approx(0, abs=1e-4)
    labels[:100] = 1
    assert calibration_error(pd, labels) == pytest.approx(0.05, abs=1e-4)
    shuffled = np.random.default_rng(1).permutation(1000)
    assert calibration_error(pd[shuffled], labels[shuffled]) == pytest.approx(0.05, abs=1e-4)


def test_chance_alone_makes_the_error_that_it_is_said_to_make() -> None:
    """Labels drawn by the PDs themselves stay below the bar in about 95 of 100 draws; more rows, a lower bar."""
    rng = np.random.default_rng(7)
    pd = rng.uniform(0.01, 0.4, 2000)
    bar = error_by_chance(pd, 1)
    below = [calibration_error(pd, (rng.random(2000) < pd).astype(np.uint8)) <= bar for _ in range(400)]
    assert 0.91 <= np.mean(below) <= 0.98
    assert error_by_chance(np.tile(pd, 16), 1) == pytest.approx(bar / 4, rel=0.15)


def test_transport_and_learning_are_told_apart() -> None:
    """Packing of messages is transport, sums over rows are learning, to a quarter; what is neither is transport."""
    odds, labels = np.linspace(-3, 3, 200_000), np.arange(200_000) % 2
    record = RecordDict({"arrays": ArrayRecord({"one": pack(np.zeros(1_000_000))})})
    with told_apart() as learning:
        _until(learning, lambda: sums_of(odds, labels))
    with told_apart() as transport:
        _until(transport, lambda: encode(record))
    assert learning.learning > 3 * learning.transport
    assert transport.transport > 3 * transport.learning


def _until(spent: Spent, work: object) -> None:
    """Work for half a second of processor time."""
    assert callable(work)
    while spent.learning + spent.transport < 0.5:
        work()


def test_a_linear_model_gets_numbers_filled_and_words_as_inputs() -> None:
    """Medians, missing flags and words are those of the rows that it is fitted to; an unknown word is none of them."""
    rows = np.array([[1, 0], [3, 1], [np.nan, 0], [2, 1]] * 20, dtype=np.float32)
    inputs = baselines.Inputs(rows, [1])
    found = inputs.of(np.array([[np.nan, 7], [2, 1]], dtype=np.float32))
    assert found.shape == (2, 4)
    assert found[0, 0] == found[1, 0]
    assert found[0, 1] > found[1, 1]
    assert (found[0, 2:] < 0).all()
    assert found[1, 2] < 0 < found[1, 3]


def test_small_books_are_tuned_by_folds_and_large_ones_by_inner_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both give a model that ranks rows that it has not seen."""
    parts = split(loans(3000), 1)
    book, words = parts.lenders[0].book, parts.categories
    models = [baselines.lightgbm_alone(book, words, 1)]
    monkeypatch.setattr(baselines, "SMALL_BOOK", 10)
    models.append(baselines.lightgbm_alone(book, words, 1))
    assert {model.parameters["learning_rate"] for model in models} == {0.04, models[1].parameters["learning_rate"]}
    for model in models:
        assert area(parts.test.labels, model.log_odds(parts.test.features)).value > 0.6


def test_leaves_are_never_larger_than_a_small_book_allows() -> None:
    """With 30 rows the fewest rows of a leaf are five, not the grid's 20."""
    parts = split(loans(3000), 1)
    tiny = MemberData(parts.pooled.features[:60], parts.pooled.labels[:60])
    assert baselines.lightgbm_alone(tiny, parts.categories, 1).parameters["min_data_in_leaf"] == 5


def _found(seed: int, shared: float, lightgbm: float, **changed: object) -> Found:
    own = (OwnBook("elm", 900, 0.70, 0.70, 0.71, 0.72, 0.004), OwnBook("oak", 90, 0.70, 0.60, 0.66, 0.70, 0.03))
    figures = {
        "loans": "gmsc", "seed": seed, "shared": "trees", "lightgbm_seconds": 2.0, "own": own, "ece": 0.01,
        "ece_by_chance": 0.012, "spent": {"mlp": Spent(20.0, 4.0), "trees": Spent(30.0, 50.0)},
        "auc": {"shared": shared, "lightgbm": lightgbm, "xgboost": 0.8, "logistic": 0.7, "alone_mean": 0.75,
                "mlp": 0.79, "trees": shared},
    }  # fmt: skip
    return Found(**(figures | changed))  # type: ignore[arg-type]


def test_measures_are_means_and_spreads_with_their_goals() -> None:
    """Two seeds: mean and spread of each; the goal of the shared model follows LightGBM; CPU is without transport."""
    found = _figures(measures_of([_found(1, 0.80, 0.81), _found(2, 0.82, 0.81)]))
    shared = found["auc_shared_gmsc"]
    assert shared.value == pytest.approx(0.81)
    assert shared.goal == pytest.approx(0.808)
    assert shared.spread == pytest.approx(0.02 / 2**0.5)
    assert shared.met is True
    assert found["train_cpu_ratio_to_lightgbm_mlp_gmsc"].value == 10
    assert found["train_cpu_ratio_to_lightgbm_trees_gmsc"].met is False
    assert found["auc_alone_mean_gmsc"].value == 0.75
    assert {"auc_mlp_gmsc", "auc_trees_gmsc", "auc_xgboost_gmsc", "auc_logistic_gmsc"} < found.keys()
    assert "auc_blend_gmsc" not in found


def test_the_shared_model_is_compared_pair_by_pair_over_all_sets() -> None:
    """Differences of +0.01 and -0.01 on two sets are no gain, and the error is that of their mean."""
    pairs = [_found(1, 0.82, 0.81), _found(1, 0.70, 0.71, loans="sba")]
    found = _figures(measures_of(pairs))
    assert found["auc_shared_over_lightgbm"].value == pytest.approx(0)
    assert found["auc_shared_over_lightgbm_se"].value == pytest.approx(0.01)
    worse = _figures(measures_of([*pairs, _found(1, 0.70, 0.71, loans="pakdd")]))
    assert worse["auc_shared_over_lightgbm"].met is False


def test_own_books_below_the_bar_are_counted_and_named() -> None:
    """A loss within two errors is chance; one beyond is below, with lender and size."""
    found = _figures(measures_of([_found(1, 0.8, 0.8)]))
    assert found["own_book_below_gmsc"].value == 0
    assert found["own_book_gain_mean_gmsc"].value == pytest.approx((0.01 - 0.04) / 2)
    assert found["own_book_gain_mean_gmsc"].goal == pytest.approx((0.02 + 0.0) / 2)
    assert found["own_book_gain_min_gmsc"].value == pytest.approx(-0.04)
    bad = OwnBook("fir", 1234, 0.70, 0.70, 0.69, 0.7, 0.004)
    below = _figures(measures_of([_found(1, 0.8, 0.8, own=(bad,))]))["own_book_below_gmsc"]
    assert (below.value, below.met) == (1, False)
    assert "fir" in below.note
    assert "1234 rows" in below.note
    assert not OwnBook("fir", 1234, 0.70, 0.70, 0.6985, 0.7, 0.0001).below


def test_calibration_is_judged_by_the_worst_seed_and_the_strictest_bar() -> None:
    """The bar is 0.015, or what chance makes where that is more in every seed."""
    seeds = [_found(1, 0.8, 0.8, ece=0.02, ece_by_chance=0.03), _found(2, 0.8, 0.8, ece=0.018, ece_by_chance=0.019)]
    measure = _figures(measures_of(seeds))["ece_max_gmsc"]
    assert (measure.value, measure.goal) == (0.02, 0.019)
    assert _figures(measures_of([_found(1, 0.8, 0.8)]))["ece_max_gmsc"].goal == 0.015


def test_a_quick_measurement_says_so() -> None:
    """What was left out stands beside the figures."""
    found = _figures(measures_of([_found(1, 0.8, 0.8)], "quick: the first 9 rows"))
    assert "first 9 rows" in found["auc_shared_gmsc"].note
    assert found["auc_shared_gmsc"].spread is None


def test_sets_do_not_show_their_rows() -> None:
    """A set in an error's text is its name and size."""
    sample: LoanSet = loans(30)
    assert repr(sample) == "LoanSet(sample, 30 rows)"
