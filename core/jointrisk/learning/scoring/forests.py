"""Boosted trees: scores and TreeSHAP in LightGBM's hands, which is imported when a scorer is made."""

from jointrisk.canonical import canonical_json
from jointrisk.errors import InvalidInputError
from jointrisk.learning.bundle import Arrays, Bundle
from jointrisk.learning.encoding import Encoding, Rows
from jointrisk.learning.reasons import Contributions
from jointrisk.learning.scoring.parts import of_all_rows
from jointrisk.learning.scoring.scorer import Floats, Scorer
from jointrisk.learning.trees.bins import BinPlan
from jointrisk.learning.trees.explaining import TreeModel
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.lightgbm_text import lightgbm_text


class TreeScorer(Scorer):
    """Log odds of rows under a forest.

    Args:
        encoding: gives the bins.
        forest: the trees.
    """

    def __init__(self, encoding: Encoding, forest: Forest) -> None:
        super().__init__(encoding)
        self._model = TreeModel(forest)

    def _block(self, rows: Rows) -> Floats:
        return self._model.log_odds(rows)

    def _explained(self, rows: Rows) -> Contributions:
        return self._model.contributions(rows)


def forest_of(encoding: Encoding, arrays: Arrays) -> Forest:
    """Return the forest that a bundle's arrays hold.

    Args:
        encoding: the bundle's.
        arrays: the bundle's.

    Raises:
        CorruptError: they are no forest over the encoding's bins.
    """
    return Forest.from_arrays(arrays, BinPlan.of(encoding))


def lightgbm_of(bundle: Bundle) -> str:
    """Return a model of trees as LightGBM's text; rows are those of :meth:`Scorer.log_odds`, raw scores its log odds.

    Raises:
        InvalidInputError: the model is of another architecture.
        CorruptError: its parts do not fit each other.
    """
    facts = bundle.manifest.facts
    if facts.architecture != "trees":
        raise InvalidInputError(f'expected a model of the architecture "trees", got "{facts.architecture}"')
    encoding = Encoding.from_payload(canonical_json(facts.encoding))
    return lightgbm_text(forest_of(encoding, of_all_rows(bundle.arrays)))
