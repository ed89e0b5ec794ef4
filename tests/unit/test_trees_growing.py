"""Trees grown on summed histograms: those of the pooled rows, within what the settings allow."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from jointrisk.errors import ConflictError, CorruptError
from jointrisk.learning.trees.bins import BinPlan, FeatureBins
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.gradients import Rounding, log_loss_gradients
from jointrisk.learning.trees.histograms import asked_nodes, open_nodes
from jointrisk.learning.trees.sampling import columns_of, draws, rows_of
from jointrisk.learning.trees.settings import TreeSettings
from jointrisk.learning.trees.stopping import Stopper
from jointrisk.learning.trees.tree import LEAF, Tree
from tree_sample import EXACT, NAN, PLAN, SEED, Sample, grow, grow_forest, grower, lenders, log_loss, sample, total

WHOLE = sample()


def with_settings(**changes: object) -> TreeSettings:
    """Return `EXACT` with changes."""
    return EXACT.model_validate(EXACT.model_dump() | changes)


@pytest.mark.parametrize("bits", [2, 4, 16])
def test_the_trees_are_those_of_the_pooled_rows_bit_for_bit(bits: int) -> None:
    """Three lenders, or one that has all rows: every byte of the forest is the same, also where rows are sampled."""
    settings = with_settings(bits=bits, row_share=0.8, column_share=0.7)
    apart, pooled = grow_forest(WHOLE, settings), grow_forest(WHOLE, settings, count=1)
    assert apart.encoded() == pooled.encoded()
    assert all(len(tree) > 1 for tree in apart.trees)


def plain_tree(whole: Sample, odds: NDArray[np.float64], settings: TreeSettings) -> dict[tuple[int, ...], float]:
    """Grow a tree of numbers on pooled rows, in floats and by brute force; return each leaf's rows and value."""
    gradients, hessians = log_loss_gradients(odds, whole.labels.astype(np.float64))
    binned = PLAN.bin_rows(whole.rows)

    def loss(rows: NDArray[np.intp]) -> float:
        return float(-(gradients[rows].sum() ** 2) / (hessians[rows].sum() + settings.l2))

    def leaves(rows: NDArray[np.intp], depth: int) -> dict[tuple[int, ...], float]:
        best = None
        for column in (0, 1, 3) if depth else ():
            missing = PLAN.features[column].missing
            for cut in range(missing):
                for gaps in (False, True):
                    bins = binned[column, rows]
                    left = np.where(bins == missing, gaps, bins <= cut)
                    parts = rows[left], rows[~left]
                    if min(map(len, parts)) < settings.minimum_leaf:
                        continue
                    gain = loss(rows) - loss(parts[0]) - loss(parts[1])
                    if gain > 0 and (best is None or gain > best[0] + 1e-9):
                        best = gain, parts
        if best is None:
            value = -gradients[rows].sum() / (hessians[rows].sum() + settings.l2) * settings.learning_rate
            return {tuple(rows): float(value)}
        return leaves(best[1][0], depth - 1) | leaves(best[1][1], depth - 1)

    return leaves(np.arange(len(whole)), settings.depth)


def test_the_trees_are_those_of_an_exhaustive_search_over_pooled_floats() -> None:
    """With fine rounding: the same leaves of the same rows, and values as near as rounding lets them be."""
    settings = with_settings(bits=16, depth=2, trees=3)
    only_numbers = Sample(WHOLE.rows.copy(), WHOLE.labels)
    only_numbers.rows[:, [2, 4]] = NAN
    members = lenders(only_numbers, settings)
    odds = np.full(len(WHOLE), members[0].log_odds[0])
    for number in range(settings.trees):
        expected = plain_tree(only_numbers, odds, settings)
        tree = grow(members, settings, number)
        found = tree.find(PLAN.bin_rows(only_numbers.rows))
        assert {tuple(np.flatnonzero(found == leaf)) for leaf in tree.leaves} == set(expected)
        for rows, value in expected.items():
            assert tree.value[found[rows[0]]] == pytest.approx(value, abs=2e-4)
            odds[list(rows)] += value


def test_four_bits_lose_next_to_nothing() -> None:
    """Rounding to 4 bits instead of 16 changes the log loss on other rows by less than one percent."""
    other, losses = sample(4000, seed=2), dict[int, float]()
    for bits in (4, 16):
        forest = grow_forest(WHOLE, with_settings(bits=bits, trees=20))
        losses[bits] = log_loss(forest.log_odds(other.rows), other.labels)
    assert losses[4] == pytest.approx(losses[16], rel=0.01)
    base = Forest.planted(PLAN, int((1 - WHOLE.labels).sum()), int(WHOLE.labels.sum()))
    assert losses[4] < 0.9 * log_loss(base.log_odds(other.rows), other.labels)


def test_rounding_is_right_on_average_and_exact_at_its_ends() -> None:
    """The mean of many rounded gradients and hessians is theirs; the ends and the middle are never off."""
    rounding, count = Rounding(4), 200_000
    chances = draws(SEED, 0, "rounding", np.arange(count, dtype=np.uint64))
    for gradient, hessian in ((0.3, 0.11), (-0.71, 0.013), (0.999, 0.249)):
        levels = rounding.levels(np.full(count, gradient), np.full(count, hessian), chances)
        assert max(len(np.unique(part)) for part in levels) <= 2
        rows = np.array(count)
        assert rounding.gradients(levels[0].sum(), rows) / count == pytest.approx(gradient, abs=1e-3)
        assert rounding.hessians(levels[1].sum()) / count == pytest.approx(hessian, abs=1e-3)
    ends = rounding.levels(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 0.25, 0.25]), (np.full(3, 0.999), np.zeros(3)))
    assert [part.tolist() for part in ends] == [[0, 7, 14], [0, 15, 15]]


def test_leaves_hold_the_minimum_and_trees_keep_their_depth() -> None:
    """No node is smaller than the minimum, none deeper than the depth; both limits are reached here."""
    forest = grow_forest(WHOLE, with_settings(depth=4, minimum_leaf=250))
    assert all(tree.count.min() >= 250 for tree in forest.trees)
    assert max(int(tree.levels().max()) for tree in forest.trees) == 4
    assert min(int(tree.count.min()) for tree in forest.trees) < 400
    assert all(int(tree.count[0]) == len(WHOLE) for tree in forest.trees)


def test_a_gain_that_is_too_small_splits_nothing() -> None:
    """A tree without a split is a leaf whose value is that of all rows, and ends after one sum."""
    settings = with_settings(minimum_gain=1e6)
    tree = grow(lenders(WHOLE, settings), settings)
    assert (len(tree), int(tree.count[0])) == (1, len(WHOLE))
    assert abs(float(tree.value[0])) < 0.02


@pytest.mark.parametrize("direction", [1, -1])
def test_scores_follow_the_features_direction(direction: int) -> None:
    """Where the contract says up or down, no higher value ever scores the other way; without it some do."""
    features = (PLAN.features[0], FeatureBins("age", PLAN.features[1].cuts, direction=direction), *PLAN.features[2:])
    plan, loose = BinPlan(features), with_settings(depth=4)
    sweep = np.tile(sample(200, seed=3).rows, (13, 1))
    sweep[:, 1] = np.repeat(np.linspace(-3, 3, 13), 200)

    def steps(settings: TreeSettings) -> NDArray[np.float64]:
        scores = grow_forest(WHOLE, settings, plan=plan).log_odds(sweep).reshape(13, 200)
        return np.diff(scores, axis=0) * direction

    kept = steps(with_settings(directions=True, depth=4))
    assert kept.min() >= -1e-12
    assert kept.max() > 0.01
    assert steps(loose).min() < -0.1


def test_missing_values_go_where_they_fit() -> None:
    """Rows without an income default more often, as those of high income do: they go right with them."""
    tree = grow(lenders(WHOLE, with_settings(depth=1)), with_settings(depth=1))
    income = PLAN.features[0]
    upside = sample(seed=4)
    upside.labels[np.isnan(upside.rows[:, 0])] = 0
    other = grow(lenders(upside, with_settings(depth=1)), with_settings(depth=1))
    assert (tree.feature[0], other.feature[0]) == (0, 0)
    assert [one.goes_left()[0, income.missing] for one in (tree, other)] == [False, True]


def test_where_nothing_is_missing_gaps_follow_the_many() -> None:
    """A split by a feature that every row has sends later gaps to the larger side."""
    full = Sample(np.nan_to_num(WHOLE.rows, nan=1.0), WHOLE.labels)
    for tree in grow_forest(full, EXACT).trees:
        for node in np.flatnonzero(np.isin(tree.feature, (0, 1, 3))):
            first = tree.first[node]
            missing = PLAN.features[tree.feature[node]].missing
            assert tree.goes_left()[node, missing] == (tree.count[first] >= tree.count[first + 1])


def test_words_are_split_by_their_risk() -> None:
    """The bad purposes, and they alone, stand on one side; rare words have no side of their own."""
    known = Sample(WHOLE.rows.copy(), WHOLE.labels)
    known.rows[:, [0, 1, 3, 4]] = NAN
    settings = with_settings(depth=1, minimum_leaf=200, category_rows=50)
    tree = grow(lenders(known, settings), settings)
    mask = tree.goes_left()[0, : PLAN.features[2].count]
    sides = {word: bool(side) for word, side in zip(PLAN.features[2].words or (), mask, strict=False)}
    assert tree.feature[0] == 2
    assert {word for word, side in sides.items() if side == sides[6]} == {0, 6, 12, 18}
    strict = with_settings(depth=1, category_rows=1000)
    assert not grow(lenders(known, strict), strict).goes_left()[0, :10].any()


def test_few_words_are_split_off_one_by_one() -> None:
    """Of a category of three words one goes left alone."""
    known = Sample(WHOLE.rows.copy(), WHOLE.labels)
    known.rows[:, :4] = NAN
    settings = with_settings(depth=1)
    tree = grow(lenders(known, settings), settings)
    assert tree.feature[0] == 4
    assert tree.goes_left()[0, :5].tolist() == [False, True, False, False, False]


def test_columns_and_rows_are_drawn_by_seeds() -> None:
    """Everybody finds the same columns; rows are the same whenever they are drawn, other ones for another tree."""
    drawn = [columns_of(3, tree, 10, 0.4) for tree in range(200)]
    assert drawn == [columns_of(3, tree, 10, 0.4) for tree in range(200)]
    assert all(len(columns) == 4 and list(columns) == sorted(set(columns)) for columns in drawn)
    assert np.bincount(np.concatenate(drawn), minlength=10).min() > 50
    numbers = np.arange(20_000, dtype=np.uint64)
    rows = rows_of(SEED, 1, numbers, 0.8)
    np.testing.assert_array_equal(rows, rows_of(SEED, 1, numbers, 0.8))
    assert len(rows) / 20_000 == pytest.approx(0.8, abs=0.015)
    assert len(np.intersect1d(rows, rows_of(SEED, 2, numbers, 0.8))) / 20_000 == pytest.approx(0.64, abs=0.02)


def test_trees_split_by_their_columns_only() -> None:
    """A tree whose columns are two uses no other."""
    settings = with_settings(column_share=0.4)
    for number, tree in enumerate(grow_forest(WHOLE, settings).trees):
        used = set(tree.feature[tree.feature != LEAF].tolist())
        assert used <= set(columns_of(7, number, 5, 0.4))


def test_a_tree_can_be_cut_at_any_level() -> None:
    """After each sum the tree so far is a tree, better than the one before, and the next one goes on from it."""
    members, work, losses = lenders(WHOLE, EXACT), grower(0, EXACT), list[float]()
    binned = PLAN.bin_rows(WHOLE.rows)
    for _ in range(2):
        work.take(total([member.answer(work.request()) for member in members]))
        work.tree.check(PLAN)
        losses.append(log_loss(members[0].log_odds[0] + work.tree.value[work.tree.find(binned)], WHOLE.labels))
    for member in members:
        member.follow(work.tree)
    grow(members, EXACT, number=1)
    losses.append(log_loss(np.concatenate([m.log_odds for m in members]), WHOLE.labels[_dealt(len(WHOLE))]))
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 3


def _dealt(count: int) -> NDArray[np.intp]:
    return np.concatenate([np.arange(place, count, 3) for place in range(3)])


def test_only_the_smaller_of_two_leaves_is_asked_for() -> None:
    """A sum of level 1 has one leaf, though two are split."""
    members, work = lenders(WHOLE, EXACT), grower(0, EXACT)
    work.take(total([member.answer(work.request()) for member in members]))
    assert work.form()["counts"] == ((1, sum(feature.count for feature in PLAN.features)), "int64")
    answers = total([member.answer(work.request()) for member in members])
    assert int(answers["counts"][0, :14].sum()) == int(work.tree.count[1:].min())
    work.take(answers)
    assert len(work.tree) == 7


@pytest.mark.parametrize("kind", ["gradients", "hessians", "counts"])
def test_sums_that_no_rows_have_are_refused(kind: str) -> None:
    """One feature that adds up to something else, a negative sum, or one beyond its rows: nothing changes."""
    members, work = lenders(WHOLE, EXACT), grower(0, EXACT)
    answers = total([member.answer(work.request()) for member in members])
    for bin_, change in ((0, 1), (3, -(10**6)), (20, 10**6)):
        wrong = {name: value.copy() for name, value in answers.items()}
        wrong[kind][0, bin_] += change
        with pytest.raises(CorruptError):
            work.take(wrong)
    with pytest.raises(CorruptError, match="form"):
        work.take(answers | {kind: answers[kind].astype(np.float64)})
    assert len(work.tree) == 1
    work.take(answers)
    assert len(work.tree) == 3


def test_sums_of_other_rows_than_the_leaf_has_are_refused() -> None:
    """Every feature agrees, but the leaf held other rows by the sum before."""
    members, work = lenders(WHOLE, EXACT), grower(0, EXACT)
    work.take(total([member.answer(work.request()) for member in members]))
    answers = [member.answer(work.request()) for member in members]
    with pytest.raises(CorruptError, match="parent"):
        work.take(total(answers[:2]))


def test_a_leaf_with_more_rows_in_a_bin_than_its_parent_is_refused() -> None:
    """All features agree with the leaf's rows, but they lie where the parent has none."""
    members, work = lenders(WHOLE, EXACT), grower(0, EXACT)
    work.take(total([member.answer(work.request()) for member in members]))
    answers = total([member.answer(work.request()) for member in members])
    begins = PLAN.begins(range(5))
    for value in answers.values():
        whole = value[0, : begins[1]].sum()
        value[0] = 0
        value[0, begins[:-1]] = whole
    with pytest.raises(CorruptError, match="from 0"):
        work.take(answers)


def test_leaves_too_small_for_two_are_not_asked_about() -> None:
    """Twice the minimum of rows can be split, one less cannot; where one of two is open, it is asked for itself."""
    settings = with_settings(depth=1)
    tree = grow(lenders(WHOLE, settings), settings)
    for counts, asked in (((400, 399), [1]), ((400, 2600), [1]), ((2600, 400), [2]), ((399, 2601), [2]), ((9, 9), [])):
        one = replace(tree, count=np.array([sum(counts), *counts]))
        assert asked_nodes(one, open_nodes(one, depth=2, minimum=200)).tolist() == asked
    assert not len(open_nodes(tree, depth=1, minimum=200))


def test_a_finished_tree_asks_nothing() -> None:
    """There is no request after the last level."""
    members, work = lenders(WHOLE, EXACT), grower(0, EXACT)
    while not work.done:
        work.take(total([member.answer(work.request()) for member in members]))
    with pytest.raises(ConflictError):
        work.request()


def test_validation_ends_a_run_that_gets_no_better() -> None:
    """After as many trees without an improvement as the patience is; the best number of trees is kept."""
    stopper = Stopper(patience=2)
    for loss, ended in ((0.5, False), (0.4, False), (0.41, False), (0.39, False), (0.4, False), (0.39, True)):
        stopper = stopper.after(loss)
        assert stopper.ended == ended
    assert (stopper.best, stopper.trees, stopper.seen) == (0.39, 4, 6)


def test_a_forest_of_no_trees_scores_the_common_rate() -> None:
    """Every row has the log odds of the bad rate."""
    forest = Forest.planted(PLAN, goods=900, bads=100)
    np.testing.assert_allclose(forest.log_odds(WHOLE.rows[:3]), np.log(100.5 / 900.5))


def test_label_shift_leaves_a_common_offset_to_the_lender() -> None:
    """A lender that trains against an offset adds gradients as if its log odds were higher by it."""
    members = lenders(WHOLE, EXACT, count=1)
    book = members[0]._book
    shifted = type(members[0])(members[0]._terms, type(book)(book.binned, book.labels, offset=1.0), SEED)
    request = grower(0, EXACT).request()
    plain, more = (int(one.answer(request)["gradients"][0, :14].sum()) for one in (members[0], shifted))
    odds = np.full(len(WHOLE), members[0].log_odds[0])
    labels = WHOLE.labels.astype(np.float64)
    expected = [7 * log_loss_gradients(odds + offset, labels)[0].sum() for offset in (0.0, 1.0)]
    assert more - plain == pytest.approx(expected[1] - expected[0], rel=0.05)


def test_trees_are_arrays_that_a_record_holds() -> None:
    """A tree's arrays are of plain types, and reading them gives the same tree."""
    tree = grow(lenders(WHOLE, EXACT), EXACT)
    again = Tree.from_arrays(tree.arrays(), PLAN)
    assert all(np.array_equal(value, again.arrays()[name]) for name, value in tree.arrays().items())
