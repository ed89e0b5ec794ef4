"""What a member refuses: questions about few rows, beyond the run's settings, or about another tree than before."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jointrisk.errors import ConflictError, CorruptError, RefusedError
from jointrisk.learning.trees.bins import BinPlan, FeatureBins
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.lending import Lender
from jointrisk.learning.trees.request import Request, seedling
from jointrisk.learning.trees.tree import LEAF, Tree
from tree_sample import EXACT, PLAN, SEED, grow, grow_forest, grower, lenders, sample, total

WHOLE = sample()


def at_level(level: int) -> tuple[list[Lender], Request]:
    """Return lenders and the request that comes after so many sums."""
    members, work = lenders(WHOLE, EXACT), grower(0, EXACT)
    for _ in range(level):
        work.take(total([member.answer(work.request()) for member in members]))
    return members, work.request()


def changed(tree: Tree, **places: tuple[int, Any]) -> Tree:
    """Return a tree with one value of some arrays changed."""
    arrays = {name: value.copy() for name, value in tree.arrays().items()}
    for name, (place, value) in places.items():
        arrays[name][place] = value
    return Tree(**arrays)  # type: ignore[arg-type]


def test_a_leaf_of_few_rows_is_not_asked_about() -> None:
    """A split that leaves 150 rows to a leaf is refused, though every number in the request fits the others."""
    members, request = at_level(1)
    begins = PLAN.begins(range(5))
    column = PLAN.features[0]
    rows = request.before[0, begins[0] : begins[1]].copy()
    moved = int(rows[0]) - 150
    rows[0], rows[1] = 150, rows[1] + moved
    before = request.before.copy()
    before[0, begins[0] : begins[1]] = rows
    mask = np.zeros(8 * PLAN.mask_bytes, dtype=np.bool_)
    mask[0] = True
    small = changed(request.tree, feature=(0, 0), left=(0, np.packbits(mask)))
    small = changed(small, count=(1, 150))
    small = changed(small, count=(2, int(small.count[0]) - 150))
    assert column.words is None
    with pytest.raises(RefusedError, match="at least 200 rows in every leaf, got 150"):
        members[0].answer(Request(0, small, before))


def test_leaves_hold_what_the_sum_before_says() -> None:
    """Who announces 500 rows where the sum before has fewer is found out; so is a sum whose features differ."""
    members, request = at_level(1)
    count = request.tree.count
    liar = changed(request.tree, count=(1, int(count[1]) + 100))
    liar = changed(liar, count=(2, int(count[2]) - 100))
    before = request.before.copy()
    before[0, 0] += 1
    for one in (Request(0, liar, request.before), replace(request, before=before)):
        with pytest.raises(RefusedError, match="sum before"):
            members[0].answer(one)
    with pytest.raises(RefusedError, match="sum before"):
        members[0].answer(replace(request, before=request.before[:, :-1]))


def test_a_leaf_holds_at_least_ones_own_rows() -> None:
    """A coordinator that makes up a sum says of a leaf that it has fewer rows than this member alone has there."""
    whole = sample(5000, seed=8)
    (member,), work = lenders(whole, EXACT, count=1), grower(0, EXACT)
    request = work.request()
    work.take(member.answer(request))
    grown = work.request()
    halved = changed(grown.tree, count=(0, 0))
    before = grown.before.copy()
    for begin, end in zip(PLAN.begins(range(5))[:-1], PLAN.begins(range(5))[1:], strict=True):
        before[0, begin:end] //= 2
        before[0, end - 1] += int(grown.tree.count[0]) // 2 - int(before[0, begin:end].sum())
    begin, feature = PLAN.begins(range(5))[grown.tree.feature[0]], PLAN.features[grown.tree.feature[0]]
    left = int(before[0, begin : begin + feature.count][grown.tree.goes_left()[0, : feature.count]].sum())
    all_rows = int(grown.tree.count[0]) // 2
    halved = changed(changed(changed(halved, count=(0, all_rows)), count=(1, left)), count=(2, all_rows - left))
    with pytest.raises(RefusedError, match="this member alone"):
        member.answer(Request(0, halved, before))


def test_another_tree_than_before_is_refused() -> None:
    """Once a level is answered only that tree, grown on, is: no second look at the same rows by another split."""
    members, request = at_level(2)
    first = grower(0, EXACT).request()
    with pytest.raises(RefusedError, match="asked about before"):
        members[0].answer(first)
    with pytest.raises(RefusedError, match="asked about before"):
        members[0].follow(replace(seedling(PLAN), count=request.tree.count[:1]))
    same = members[0].answer(request)
    again = members[0].answer(request)
    assert all(np.array_equal(same[name], again[name]) for name in same)


def test_answers_are_the_same_after_a_restart() -> None:
    """A member that starts afresh in the middle of a tree answers the same bytes."""
    members, forest = lenders(WHOLE, EXACT), Forest.planted(PLAN, 1, 1)
    for number in range(2):
        forest = forest.with_tree(grow(members, EXACT, number))
    work = grower(2, EXACT)
    for _ in range(2):
        work.take(total([member.answer(work.request()) for member in members]))
    afresh = lenders(WHOLE, EXACT)[1]
    for tree in forest.trees:
        afresh.follow(tree)
    expected, found = members[1].answer(work.request()), afresh.answer(work.request())
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_a_member_catches_up_with_a_forest_that_only_grows() -> None:
    """Trees that are new are taken; a forest with another tree in the place of one, or without it, is refused."""
    settings = EXACT
    forest = grow_forest(WHOLE, settings)
    (member,) = lenders(WHOLE, settings, count=1)
    for count in (2, 2, 5):
        member.catch_up(forest.first(count))
        assert member.finished == count
    np.testing.assert_allclose(member.log_odds, forest.log_odds(WHOLE.rows))
    other = changed(forest.trees[1], value=(1, 3.0))
    swapped = replace(forest, trees=(forest.trees[0], other, *forest.trees[2:]))
    for wrong in (
        swapped,
        forest.first(4),
        replace(forest, base=0.0),
        replace(forest, plan=BinPlan(PLAN.features[:4])),
    ):
        with pytest.raises(RefusedError, match="grown on"):
            member.catch_up(wrong)


def test_trees_come_in_order_and_within_the_run() -> None:
    """A member answers about the tree after those that it was given, and about no more than the run has."""
    members, request = at_level(0)
    with pytest.raises(ConflictError, match="about tree 0"):
        members[0].answer(replace(request, number=1))
    for number in range(EXACT.trees):
        grow(members, EXACT, number)
    assert members[0].finished == 5
    with pytest.raises(RefusedError, match="run's 5"):
        members[0].answer(replace(request, number=5))


def test_deeper_trees_and_other_columns_are_refused() -> None:
    """A tree that other settings gave does not pass; neither does one by columns that are not this tree's."""
    for loose, what in (({"depth": 4}, "3 levels"), ({}, "columns")):
        settings = EXACT.model_validate(EXACT.model_dump() | loose)
        forest = grow_forest(WHOLE, settings.model_validate(settings.model_dump() | {"minimum_leaf": 200}))
        strict = EXACT.model_validate(EXACT.model_dump() | ({} if loose else {"column_share": 0.2}))
        member = lenders(WHOLE, strict)[0]
        with pytest.raises(RefusedError, match=what):
            member.follow(forest.trees[0])


def test_too_few_rows_of_all_members_are_refused_at_once() -> None:
    """A run of fewer rows than a leaf needs does not begin; sampling counts."""
    few = sample(240)
    assert lenders(few, EXACT)
    with pytest.raises(RefusedError, match="got 192"):
        lenders(few, EXACT.model_validate(EXACT.model_dump() | {"row_share": 0.8}))


BREAKS: dict[str, Callable[[Tree], Tree]] = {
    "a column that there is not": lambda tree: changed(tree, feature=(0, 5)),
    "a column below none": lambda tree: changed(tree, feature=(0, -2)),
    "a child twice": lambda tree: changed(tree, first=(2, 1)),
    "a child before its parent": lambda tree: changed(tree, first=(0, 0)),
    "a child of a leaf": lambda tree: changed(tree, first=(len(tree) - 1, 1)),
    "a value that is no number": lambda tree: changed(tree, value=(1, np.nan)),
    "rows from nowhere": lambda tree: changed(tree, count=(0, 10**6)),
    "rows below none": lambda tree: changed(tree, count=(len(tree) - 1, -1)),
    "a bin that there is not": lambda tree: changed(tree, feature=(0, 3), left=(0, [0xFF, 0xFF])),
    "a number in pieces": lambda tree: changed(tree, feature=(0, 0), left=(0, [0b10100000, 0])),
    "bins of a leaf": lambda tree: changed(tree, left=(len(tree) - 1, [1, 0])),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_no_tree_is_refused(name: str) -> None:
    """Every way to break a tree's form is found, when it is read and when it is asked about."""
    members, request = at_level(2)
    broken = BREAKS[name](request.tree)
    with pytest.raises(CorruptError):
        Tree.from_arrays(broken.arrays(), PLAN)
    with pytest.raises(CorruptError):
        members[0].answer(replace(request, tree=broken))


def test_requests_cross_the_wire_as_arrays() -> None:
    """A request read back is answered alike; one with an array too few, of another type or shape is refused."""
    members, request = at_level(1)
    arrays = request.arrays()
    read = Request.from_arrays(arrays, PLAN)
    expected, found = members[0].answer(request), members[0].answer(read)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    for name, value in arrays.items():
        without = {key: other for key, other in arrays.items() if key != name}
        for wrong in (without, arrays | {name: value.astype(np.float32)}, arrays | {name: value[..., None]}):
            with pytest.raises(CorruptError):
                Request.from_arrays(wrong, PLAN)
    with pytest.raises(CorruptError):
        Request.from_arrays(arrays | {"more": np.zeros(1)}, PLAN)


def test_a_request_about_leaves_that_cannot_be_split_is_refused() -> None:
    """A finished tree, as a request, asks about nothing."""
    members = lenders(WHOLE, EXACT)
    settings = EXACT.model_validate(EXACT.model_dump() | {"depth": 1})
    tree = grow(lenders(WHOLE, settings), settings)
    work = grower(0, EXACT)
    work.take(total([member.answer(work.request()) for member in members]))
    assert np.array_equal(work.tree.count, tree.count)
    with pytest.raises(RefusedError, match="can be split"):
        lenders(WHOLE, settings)[0].answer(work.request())


def test_errors_and_names_show_no_row() -> None:
    """What a book is shown as has neither labels nor values in it."""
    book = lenders(WHOLE, EXACT)[0]._book
    assert repr(book) == "Book(1000 rows)"
    assert SEED.decode() not in repr(lenders(WHOLE, EXACT)[0])


def test_forests_are_bytes_and_arrays_and_back() -> None:
    """The same forest gives the same bytes; reading them gives the same scores; broken ones are refused."""
    forest = grow_forest(WHOLE, EXACT)
    data = forest.encoded()
    again = Forest.decoded(data, PLAN)
    assert again.encoded() == data == grow_forest(WHOLE, EXACT).encoded()
    np.testing.assert_array_equal(again.log_odds(WHOLE.rows), forest.log_odds(WHOLE.rows))
    assert Forest.decoded(forest.first(0).encoded(), PLAN).trees == ()
    assert len(forest.first(2).trees) == 2
    arrays = forest.arrays()
    for name, value in arrays.items():
        for wrong in (value[:-1], value.astype(np.float16)):
            with pytest.raises(CorruptError):
                Forest.from_arrays(arrays | {name: wrong}, PLAN)
    narrow = BinPlan((FeatureBins("income", cuts=(0.0,)), *PLAN.features[1:]))
    for wrong_plan in (narrow, BinPlan(PLAN.features[:2])):
        with pytest.raises(CorruptError):
            Forest.decoded(data, wrong_plan)
    with pytest.raises(CorruptError, match="safetensors"):
        Forest.decoded(data[:-3], PLAN)
    assert LEAF in forest.trees[0].feature
