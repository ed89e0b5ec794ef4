"""Boosted trees in a run: a round grows one tree, one sum a level. Arrays in, arrays out; sending is the task's.

The arrays of a round are the forest's (`Forest.arrays`). Members are asked for a level with the forest so far, under
"forest/", and with what is asked about the tree in work, under "request/". So a member that begins again needs nothing
but the question.
"""

import hashlib
from collections.abc import Generator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import CorruptError, RefusedError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.tasks import MemberData, Query, Totals
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.forest import Forest, grown_on
from jointrisk.learning.trees.gradients import Floats, Rounding
from jointrisk.learning.trees.growing import Grower
from jointrisk.learning.trees.lending import Book, Follower, Lender, Terms
from jointrisk.learning.trees.request import Request
from jointrisk.learning.trees.settings import MOST_LEVELS, MOST_TREES, TreeSettings
from jointrisk.learning.trees.tree import Arrays

KINDS: Final = tuple(f"level_{level}" for level in range(1, MOST_LEVELS + 1))
"""What "train" messages ask for: the sums of a tree's levels, the root's first."""

_FOREST, _REQUEST = "forest/", "request/"
_SEED_DOMAIN = b"jointrisk/v1/tree-draws"


def terms_of(
    settings: DefaultModelSettings,
    contract: FeatureContract,
    prepared: Prepared,
    *,
    run_seed: int,
    rounds: int = MOST_TREES,
) -> Terms:
    """Return what trees of a run go by.

    Args:
        settings: the task's.
        contract: says in which directions scores may go.
        prepared: gives the bins, and how many rows there are.
        run_seed: the run's.
        rounds: how many trees there may be.
    """
    plan = BinPlan.of(prepared.encoding, contract)
    chosen = TreeSettings(**settings.trees.model_dump(), trees=min(rounds, MOST_TREES))
    base = Forest.planted(plan, prepared.goods, prepared.bads).base
    return Terms(plan, chosen, run_seed, prepared.goods + prepared.bads, base)


def initial_arrays(terms: Terms) -> Arrays:
    """Return a forest without trees."""
    return Forest(terms.plan, terms.base).arrays()


def grow(terms: Terms, arrays: Arrays) -> Generator[Query, Totals | None, Arrays]:
    """Grow one more tree: yield the sum of each level, be sent its totals, return the forest with the tree.

    Sent None, the tree is what the levels before give.

    Args:
        terms: of the run.
        arrays: the forest's.
    """
    grower = Grower(terms.plan, terms.settings, run_seed=terms.run_seed, number=len(arrays["ends"]))
    most = Rounding(terms.settings.bits).most(terms.rows)
    for kind in KINDS:
        if grower.done:
            break
        sent = _named(_FOREST, arrays) | _named(_REQUEST, grower.request().arrays())
        totals = yield Query(f"train.{kind}", grower.form(), sent, most)
        if totals is None:
            break
        grower.take(totals)
    return grown_on(arrays, grower.tree)


class TreeMember:
    """A member's part of a run of trees.

    Args:
        terms: what it goes by.
        training: rows that trees are grown on.
        held_out: rows that only evaluation uses.
        offset: added to log odds in training, for label shift.

    Raises:
        RefusedError: all members together have too few rows.
    """

    def __init__(self, terms: Terms, training: MemberData, held_out: MemberData, offset: float = 0.0) -> None:
        self._terms = terms
        book = Book(terms.plan.bin_rows(training.features), training.labels, offset)
        self._lender = Lender(terms, book, _seed(training))
        self._known = Forest(terms.plan, terms.base)
        self._held_out = terms.plan.bin_rows(held_out.features)
        self._follower = Follower(self._held_out, terms.base)
        self._followed = 0

    def level(self, kind: str, arrays: Arrays) -> dict[str, NDArray[np.int64]]:
        """Return the member's sums for one level of the tree in work.

        Args:
            kind: one of `KINDS`; the tree has to be as deep as it says, so that a question has one name only.
            arrays: what was asked.

        Raises:
            RefusedError: a member must not answer that.
            CorruptError: it is no question about a tree.
        """
        parts = {prefix: _under(prefix, arrays) for prefix in (_FOREST, _REQUEST)}
        if sum(map(len, parts.values())) != len(arrays):
            raise CorruptError("expected a forest and a question about a tree, got something else as well")
        forest, request = self._read(parts[_FOREST]), Request.from_arrays(parts[_REQUEST], self._terms.plan)
        if int(request.tree.levels().max()) != KINDS.index(kind):
            raise RefusedError(f"expected a tree whose leaves are of {kind}, got another")
        self._lender.catch_up(forest)
        return self._lender.answer(request)

    def held_out_log_odds(self, arrays: Arrays) -> Floats:
        """Return the log odds of the held-out rows.

        Args:
            arrays: a forest's.

        Raises:
            CorruptError: they are none.
        """
        before = self._known.trees[: self._followed]
        trees = self._read(arrays).trees
        if len(trees) < len(before) or any(one is not other for one, other in zip(trees, before, strict=False)):
            self._follower, self._followed = Follower(self._held_out, self._terms.base), 0
        for tree in trees[self._followed :]:
            self._follower.follow(tree)
        self._followed = len(trees)
        return self._follower.log_odds

    def _read(self, arrays: Arrays) -> Forest:
        """Return a forest; its trees are known from then on."""
        forest = Forest.from_arrays(arrays, self._terms.plan, self._known)
        if forest.base != self._terms.base:
            raise RefusedError("expected a forest over the rows that were counted, got another")
        self._known = forest
        return forest


def _seed(training: MemberData) -> bytes:
    """Return the member's seed: of its rows alone, so that they are sampled and rounded alike in every run.

    Who asks the same in many runs gets the same answer, and can average nothing out.
    """
    digest = hashlib.blake2b(_SEED_DOMAIN, digest_size=32)
    digest.update(np.ascontiguousarray(training.features).data)
    digest.update(np.ascontiguousarray(training.labels).data)
    return digest.digest()


def _named(prefix: str, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    return {prefix + name: value for name, value in arrays.items()}


def _under(prefix: str, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
