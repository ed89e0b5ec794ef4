"""What is drawn depends on whose seed it is; what is summed before has to fit under every feature."""

from dataclasses import replace

import numpy as np
import pytest

from jointrisk.errors import RefusedError
from jointrisk.learning.trees.sampling import columns_of, draws
from tree_sample import EXACT, PLAN, grow, grower, lenders, sample, total


def test_other_seeds_draw_other_rows_and_columns() -> None:
    """Nobody who knows tree and row alone knows how it was rounded; another run has other columns."""
    numbers = np.arange(100, dtype=np.uint64)
    mine, theirs = (draws(seed, 0, "rounding", numbers)[0] for seed in (b"mine" * 4, b"not mine" * 2))
    assert not (mine == theirs).any()
    assert [columns_of(1, tree, 20, 0.3) for tree in range(9)] != [columns_of(2, tree, 20, 0.3) for tree in range(9)]


def test_the_sum_before_fits_under_every_feature() -> None:
    """A row too many under a feature that nothing was split by is found."""
    whole = sample()
    members, work = lenders(whole, EXACT), grower(0, EXACT)
    work.take(total([member.answer(work.request()) for member in members]))
    request = work.request()
    begins = PLAN.begins(range(5))
    other = next(column for column in range(5) if column != request.tree.feature[0])
    before = request.before.copy()
    before[0, begins[other]] += 1
    with pytest.raises(RefusedError, match="sum before"):
        members[0].answer(replace(request, before=before))


def test_leaves_hold_the_smallest_hessian() -> None:
    """No leaf has less than is asked for, though smaller ones would gain."""
    whole, loose = sample(), grow(lenders(sample(), EXACT), EXACT)
    strict = EXACT.model_validate(EXACT.model_dump() | {"minimum_hessian": 80.0})
    tree = grow(lenders(whole, strict), strict)
    assert loose.hessian.min() < 80 <= tree.hessian.min()
    assert len(tree) > 1
