"""What a member checks before it answers: a coordinator may not ask about few rows, nor beyond the run's settings.

Who is asked for the histogram of a leaf learns from it what few customers are like, if the leaf holds few. So every
leaf that is asked about has to hold a minimum of rows of all members together, as the sum before says, in whole numbers
that a member adds up itself. A coordinator could announce a sum that never was; a member's own rows bound what it can
announce (see `Lender.answer`), and the sums are what it signs for and has to keep.
"""

import numpy as np

from jointrisk.errors import CorruptError, RefusedError
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.histograms import asked_nodes, open_nodes, require_whole
from jointrisk.learning.trees.request import Request
from jointrisk.learning.trees.sampling import columns_of
from jointrisk.learning.trees.settings import TreeSettings
from jointrisk.learning.trees.tree import LEAF, Nodes, Tree

_REMEDY = "Tell the coordinator's operator; do not take part in the run until it is explained."


def check_request(request: Request, plan: BinPlan, settings: TreeSettings, run_seed: int) -> Nodes:
    """Return the leaves that are asked about, when a member may answer.

    Args:
        request: as it came.
        plan: the bins.
        settings: the run's.
        run_seed: the run's.

    Raises:
        RefusedError: it asks about too few rows, or beyond the run's settings.
        CorruptError: it is no tree.
    """
    tree = request.tree
    tree.check(plan)
    if len(tree) > 1:
        _check_grown(tree, request.number, plan, settings, run_seed)
        _check_before(request, plan, settings, run_seed)
    else:
        _require_number(request.number, settings)
    found = open_nodes(tree, depth=settings.depth, minimum=settings.minimum_leaf)
    if not len(found):
        raise RefusedError("expected a tree with leaves that can be split, got one without", remedy=_REMEDY)
    return asked_nodes(tree, found)


def check_tree(tree: Tree, number: int, plan: BinPlan, settings: TreeSettings, run_seed: int) -> None:
    """Do nothing when a finished tree keeps to the run's settings.

    Raises:
        RefusedError: it does not.
        CorruptError: it is no tree.
    """
    tree.check(plan)
    _check_grown(tree, number, plan, settings, run_seed)


def check_rows(rows: int, settings: TreeSettings) -> None:
    """Do nothing when all members together use rows enough for a leaf.

    Args:
        rows: training rows of all members.
        settings: the run's.

    Raises:
        RefusedError: they have too few.
    """
    if (used := int(rows * settings.row_share)) < settings.minimum_leaf:
        raise RefusedError(
            f"expected at least {settings.minimum_leaf} rows of all members together in a tree, got {used}",
            remedy="More members, or those with more rows, have to take part.",
        )


def _require_number(number: int, settings: TreeSettings) -> None:
    if not 0 <= number < settings.trees:
        raise RefusedError(f"expected a tree of the run's {settings.trees}, got number {number}", remedy=_REMEDY)


def _check_grown(tree: Tree, number: int, plan: BinPlan, settings: TreeSettings, run_seed: int) -> None:
    """Refuse a tree that is too deep, has small nodes, or is split by columns that it may not use."""
    _require_number(number, settings)
    if (level := int(tree.levels().max())) > settings.depth:
        raise RefusedError(f"expected at most {settings.depth} levels of splits, got {level}", remedy=_REMEDY)
    if len(tree) > 1 and (fewest := int(tree.count.min())) < settings.minimum_leaf:
        raise RefusedError(
            f"expected at least {settings.minimum_leaf} rows in every leaf, got {fewest}", remedy=_REMEDY
        )
    columns = columns_of(run_seed, number, len(plan.features), settings.column_share)
    if not np.isin(tree.feature[tree.feature != LEAF], columns).all():
        raise RefusedError("expected splits by the columns of this tree, got others", remedy=_REMEDY)


def _check_before(request: Request, plan: BinPlan, settings: TreeSettings, run_seed: int) -> None:
    """Refuse leaves whose rows are not what the sum before says."""
    tree, columns = request.tree, columns_of(run_seed, request.number, len(plan.features), settings.column_share)
    begins, levels, table = plan.begins(columns), tree.levels(), tree.goes_left()
    parents = np.flatnonzero((tree.feature != LEAF) & (levels == levels.max() - 1))
    if request.before.shape != (len(parents), begins[-1]) or request.before.min(initial=0) < 0:
        raise RefusedError("expected the sum before of every leaf that was split, got others", remedy=_REMEDY)
    try:
        rows = require_whole(request.before, begins)
    except CorruptError as error:
        raise RefusedError(f"the sum before: {error.message}", remedy=_REMEDY) from None
    for place, node in enumerate(parents.tolist()):
        column = int(tree.feature[node])
        begin, bins = begins[columns.index(column)], plan.features[column].count
        left = int(request.before[place, begin : begin + bins][table[node, :bins]].sum())
        if (int(rows[place]), left) != (int(tree.count[node]), int(tree.count[tree.first[node]])):
            raise RefusedError("expected leaves of as many rows as the sum before says, got others", remedy=_REMEDY)
