"""Forests as LightGBM's model text: LightGBM scores as we do, and explains what we score."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from jointrisk.learning.trees.bins import BinPlan, FeatureBins
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.lightgbm_text import lightgbm_text
from jointrisk.learning.trees.request import seedling
from jointrisk.learning.trees.settings import TreeSettings
from jointrisk.learning.trees.tree import LEAF, Tree
from tree_sample import EXACT, NAN, PLAN, grow_forest, sample

WIDE = BinPlan(
    (
        FeatureBins("amount", cuts=(-3.5, -1e-3, 0.0, 0.1, 7.0, 1e30)),
        FeatureBins("nothing to tell"),
        FeatureBins("branch", words=(5, 77, 400, 4095), hashed=True),
        FeatureBins("purpose", words=(0, 31, 32, 63, 64, 999)),
        FeatureBins("flag", cuts=(0.5,)),
        FeatureBins("empty vocabulary", words=(), hashed=True),
    )
)
"""All kinds of features, and numbers and words at the ends of what they can be."""


def booster(forest: Forest) -> lightgbm.Booster:
    """Return what LightGBM reads."""
    return lightgbm.Booster(model_str=lightgbm_text(forest))


def raw(model: lightgbm.Booster, rows: NDArray[np.float32], **more: bool) -> NDArray[np.float64]:
    """Return what LightGBM predicts, on one thread."""
    return np.asarray(model.predict(rows.astype(np.float64), num_threads=1, **more))


def random_tree(rng: np.random.Generator, plan: BinPlan, splits: int) -> Tree:
    """Return a tree with random splits of random leaves, in the order that trees have."""
    count, hessian = [int(rng.integers(10_000, 100_000))], [1.0]
    feature, first, left = [LEAF], [0], [np.zeros(8 * plan.mask_bytes, dtype=np.bool_)]
    node = -1
    while len(first) < 1 + 2 * splits and node < len(first) - 1:
        node += 1
        if count[node] < 2 or (rng.random() < 0.2 and len(first) > node + 1):
            continue
        column = int(rng.integers(len(plan.features)))
        bins, mask = plan.features[column], np.zeros(8 * plan.mask_bytes, dtype=np.bool_)
        mask[: bins.count] = rng.random(bins.count) < 0.5
        if bins.words is None:
            mask[: bins.missing] = np.arange(bins.missing) < rng.integers(0, bins.missing + 1)
        part = int(rng.integers(1, count[node]))
        feature[node], first[node], left[node] = column, len(first), mask
        for rows in (part, count[node] - part):
            count.append(rows)
            hessian.append(rows / 10)
            feature.append(LEAF)
            first.append(0)
            left.append(np.zeros_like(mask))
    return Tree(
        np.array(feature, np.int32),
        np.array(first, np.int32),
        np.packbits(np.array(left), axis=1),
        rng.normal(size=len(first)),
        np.array(count, np.int64),
        np.array(hessian),
        np.where(np.array(feature) == LEAF, 0.0, 1.0),
    )


def edge_rows(rng: np.random.Generator, plan: BinPlan, count: int) -> NDArray[np.float32]:
    """Return rows of values at, just below and just above every cut, words that are kept, that are not, and gaps."""
    columns = []
    for feature in plan.features:
        if feature.words is None:
            cuts = np.array([0.0, *feature.cuts], np.float32)
            # LightGBM takes numbers within 1e-35 of zero for zero: just below it, here, is further away.
            near = np.where(cuts == 0, np.float32(-1e-30), np.nextafter(cuts, np.float32(-np.inf)))
            values = np.concatenate([cuts, near, np.nextafter(cuts, np.float32(np.inf)) * 1.5, [-9e9, 9e37]])
        else:
            values = np.array([*feature.words, 1, 33, 998, 1000, 4094 if feature.hashed else 500], np.float32)
        columns.append(rng.choice(np.append(values, [NAN, NAN]).astype(np.float32), count))
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_lightgbm_scores_any_forest_alike(seed: int) -> None:
    """Random trees over all kinds of features, rows at the ends of every bin, gaps and unknown words."""
    rng = np.random.default_rng(seed)
    trees = tuple(random_tree(rng, WIDE, splits) for splits in (0, 1, 7, 30))
    for tree in trees:
        tree.check(WIDE)
    forest, rows = Forest(WIDE, float(rng.normal()), trees), edge_rows(rng, WIDE, 400)
    model = booster(forest)
    np.testing.assert_allclose(raw(model, rows, raw_score=True), forest.log_odds(rows), atol=1e-9)
    for row in rows[:5]:
        np.testing.assert_allclose(raw(model, row[None], raw_score=True), forest.log_odds(row[None]), atol=1e-9)


def test_lightgbm_scores_trained_trees_alike() -> None:
    """To 1e-6 log odds, and its probabilities are ours."""
    forest, rows = grow_forest(sample(), EXACT), sample(2000, seed=5).rows
    odds, model = forest.log_odds(rows), booster(forest)
    np.testing.assert_allclose(raw(model, rows, raw_score=True), odds, atol=1e-6)
    np.testing.assert_allclose(raw(model, rows), 1 / (1 + np.exp(-odds)), atol=1e-6)


def test_contributions_come_to_the_log_odds() -> None:
    """TreeSHAP sums to the score; its baseline is the expectation by federated counts; unused features are 0."""
    settings = EXACT.model_validate(EXACT.model_dump() | {"column_share": 0.4})
    forest, rows = grow_forest(sample(), settings), sample(300, seed=6).rows
    found = raw(booster(forest), rows, pred_contrib=True)
    np.testing.assert_allclose(found.sum(axis=1), forest.log_odds(rows), atol=1e-4)
    expected = forest.base + sum(
        float(np.average(tree.value[tree.leaves], weights=tree.count[tree.leaves])) for tree in forest.trees
    )
    np.testing.assert_allclose(found[:, -1], expected, atol=1e-9)
    used = {int(column) for tree in forest.trees for column in tree.feature if column != LEAF}
    assert {column for column in range(5) if found[:, column].any()} == used
    assert used


def test_contributions_are_shapley_values_by_covers() -> None:
    """Of two features, by hand: the mean of what each adds alone and after the other, expectations by covers."""
    plan = BinPlan((FeatureBins("one", cuts=(0.0,)), FeatureBins("two", words=(3,))))
    tree = Tree(
        feature=np.array([0, 1, -1, -1, -1], np.int32),
        first=np.array([1, 3, 0, 0, 0], np.int32),
        left=np.array([[0b10000000], [0b10000000], [0], [0], [0]], np.uint8),
        value=np.array([0.0, 0.0, 1.0, 2.0, 5.0]),
        count=np.array([100, 40, 60, 30, 10], np.int64),
        hessian=np.ones(5),
        gain=np.array([1.0, 1.0, 0, 0, 0]),
    )
    tree.check(plan)
    left = (30 * 2 + 10 * 5) / 40
    nothing, only_one, only_two, both = 0.4 * left + 0.6, left, 0.4 * 5 + 0.6, 5.0
    one = ((only_one - nothing) + (both - only_two)) / 2
    two = ((only_two - nothing) + (both - only_one)) / 2
    found = raw(booster(Forest(plan, 0.5, (tree,))), np.array([[-1.0, 4.0]], np.float32), pred_contrib=True)
    np.testing.assert_allclose(found, [[one, two, nothing + 0.5]], atol=1e-12)


def test_the_text_is_the_same_and_silent() -> None:
    """The same forest gives the same text, and LightGBM reads it without a warning, on threads too."""
    forest = grow_forest(sample(), TreeSettings(trees=3, depth=3))
    text = lightgbm_text(forest)
    assert text == lightgbm_text(Forest.decoded(forest.encoded(), PLAN))
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        model = lightgbm.Booster(model_str=text)
    assert said.getvalue() == ""
    assert (model.num_trees(), model.feature_name()) == (4, [feature.name for feature in PLAN.features])


def test_sizes_of_trees_are_those_of_the_text() -> None:
    """LightGBM cuts the text by the sizes in its head."""
    text = lightgbm_text(grow_forest(sample(), EXACT))
    found = re.search(r"tree_sizes=([0-9 ]+)\n\n", text)
    assert found is not None
    at = found.end()
    for number, size in enumerate(found[1].split()):
        assert text[at : at + int(size)].startswith(f"Tree={number}\n")
        at += int(size)
    assert text[at:].startswith("end of trees\n")


def test_names_that_would_break_the_text_are_not_in_it() -> None:
    """A name with a blank or a line end becomes the number of its column."""
    for name in ("two words", "line\nend", ""):
        plan = BinPlan((FeatureBins(name, cuts=(0.0,)), FeatureBins("plain", cuts=(0.0,))))
        model = booster(Forest(plan, 0.25, (seedling(plan),)))
        assert model.feature_name() == ["Column_0", "Column_1"]
        assert raw(model, np.zeros((1, 2), np.float32), raw_score=True).tolist() == [0.25]


def test_the_text_is_read_again_after_lightgbm_has_written_it() -> None:
    """What LightGBM saves of it scores alike: nothing in it is ours alone."""
    rng = np.random.default_rng(3)
    forest = Forest(WIDE, -1.5, tuple(random_tree(rng, WIDE, 12) for _ in range(5)))
    rows = edge_rows(rng, WIDE, 200)
    again = lightgbm.Booster(model_str=booster(forest).model_to_string())
    np.testing.assert_allclose(raw(again, rows, raw_score=True), forest.log_odds(rows), atol=1e-9)
