"""A forest as LightGBM's model text (version v4 of its format), for LightGBM's own scoring and TreeSHAP.

Rows are the same: float [rows, features] in the contract's order, NaN for missing, codes or buckets for categories.

* A number goes left where it is at most the threshold: the greatest single-precision number below the bin's end.
* Of a category, LightGBM sends NaN right always, so children are swapped where our missing values go left; what goes
  left is a set of codes. "All others" are listed, up to the greatest code that there can be.
* The base is a tree of one leaf, the first.
* Covers are the rows of all members together that a node had in training. TreeSHAP's baseline is the expectation by
  these covers.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jointrisk.learning.encoding import BUCKETS
from jointrisk.learning.trees.bins import BinPlan, FeatureBins
from jointrisk.learning.trees.forest import Forest
from jointrisk.learning.trees.tree import LEAF, Tree

MOST_CODES: Final = 1024
"""A closed vocabulary has at most 1,000 words; greater codes are "all others" here and right in LightGBM."""

_CATEGORY, _DEFAULT_LEFT, _MISSING_IS_NAN = 1, 2, 8
_EVERYTHING = float(np.finfo(np.float64).max)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_WORD_BITS = 32


def lightgbm_text(forest: Forest) -> str:
    """Return the text that ``lightgbm.Booster(model_str=...)`` reads; ``raw_score=True`` gives the log odds."""
    base = f"num_leaves=1\nnum_cat=0\nleaf_value={forest.base!r}\nis_linear=0\nshrinkage=1\n\n"
    bodies = [base, *(_tree_text(tree, forest.plan) for tree in forest.trees)]
    trees = [f"Tree={number}\n{body}\n" for number, body in enumerate(bodies)]
    sizes = " ".join(str(len(tree)) for tree in trees)
    tail = "end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n\npandas_categorical:null\n"
    return f"{_head(forest.plan)}tree_sizes={sizes}\n\n{''.join(trees)}{tail}"


def _head(plan: BinPlan) -> str:
    names = [feature.name for feature in plan.features]
    if not all(_PLAIN_NAME.fullmatch(name) for name in names) or len(set(names)) < len(names):
        names = [f"Column_{place}" for place in range(len(names))]
    lines = {
        "version": "v4",
        "num_class": "1",
        "num_tree_per_iteration": "1",
        "label_index": "0",
        "max_feature_idx": str(len(names) - 1),
        "objective": "binary sigmoid:1",
        "feature_names": " ".join(names),
        "feature_infos": " ".join(_info(feature) for feature in plan.features),
    }
    return "tree\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


def _info(feature: FeatureBins) -> str:
    if feature.words is not None:
        return ":".join(str(word) for word in feature.words) or "none"
    return f"[{feature.cuts[0]!r}:{feature.cuts[-1]!r}]" if feature.cuts else "none"


def _tree_text(tree: Tree, plan: BinPlan) -> str:
    inner, leaves = np.flatnonzero(tree.feature != LEAF), tree.leaves
    if not len(inner):
        return f"num_leaves=1\nnum_cat=0\nleaf_value={float(tree.value[0])!r}\nis_linear=0\nshrinkage=1\n\n"
    numbers = np.zeros(len(tree), dtype=np.int64)
    numbers[inner] = np.arange(len(inner))
    numbers[leaves] = ~np.arange(len(leaves))
    rules = [_Rule(plan.features[tree.feature[node]], tree.goes_left()[node]) for node in inner]
    swapped = np.array([rule.swapped for rule in rules])
    first = tree.first[inner]
    sets = [rule.words for rule in rules if rule.words]
    lines = {
        "num_leaves": str(len(leaves)),
        "num_cat": str(len(sets)),
        "split_feature": _joined(tree.feature[inner]),
        "split_gain": _joined(tree.gain[inner]),
        "threshold": " ".join(_thresholds(rules)),
        "decision_type": _joined([rule.decision for rule in rules]),
        "left_child": _joined(numbers[first + swapped]),
        "right_child": _joined(numbers[first + ~swapped]),
        "leaf_value": _joined(tree.value[leaves]),
        "leaf_weight": _joined(tree.hessian[leaves]),
        "leaf_count": _joined(tree.count[leaves]),
        "internal_value": _joined(tree.value[inner]),
        "internal_weight": _joined(tree.hessian[inner]),
        "internal_count": _joined(tree.count[inner]),
    }
    if sets:
        lines["cat_boundaries"] = _joined(np.cumsum([0, *(len(words) for words in sets)]))
        lines["cat_threshold"] = _joined([word for words in sets for word in words])
    lines |= {"is_linear": "0", "shrinkage": "1"}
    return "".join(f"{key}={value}\n" for key, value in lines.items()) + "\n"


class _Rule:
    """One split, as LightGBM has it.

    Args:
        feature: by which.
        left: for each bin whether it goes left.
    """

    def __init__(self, feature: FeatureBins, left: NDArray[np.bool_]) -> None:
        missing_left = bool(left[feature.missing])
        category = feature.words is not None
        self.swapped = category and missing_left
        self.words = _bits(feature, left ^ self.swapped) if category else []
        self.decision = _MISSING_IS_NAN | (_CATEGORY if category else _DEFAULT_LEFT * missing_left)
        self.threshold = 0.0 if category else _threshold(feature, left)


def _threshold(feature: FeatureBins, left: NDArray[np.bool_]) -> float:
    bins = int(left[: feature.missing].sum())
    if bins > len(feature.cuts):
        return _EVERYTHING
    end = np.float32(feature.cuts[bins - 1]) if bins else np.float32(-np.inf)
    return float(np.nextafter(end, np.float32(-np.inf))) if bins else -_EVERYTHING


def _thresholds(rules: Sequence[_Rule]) -> list[str]:
    """Return thresholds; of categories, the number of the set."""
    texts, sets = list[str](), 0
    for rule in rules:
        texts.append(str(sets) if rule.words else repr(rule.threshold))
        sets += bool(rule.words)
    return texts


def _bits(feature: FeatureBins, left: NDArray[np.bool_]) -> list[int]:
    """Return the codes that go left as words of 32 bits, at least one word."""
    kept = np.array(feature.words, dtype=np.int64)
    limit = BUCKETS if feature.hashed else max([MOST_CODES, *(kept + 1)])
    codes = np.full(-(-int(limit) // _WORD_BITS) * _WORD_BITS, left[len(kept)])
    codes[kept] = left[: len(kept)]
    words = np.packbits(codes, bitorder="little").view("<u4")
    return [int(word) for word in words[: max(np.flatnonzero(words), default=0) + 1]]


def _joined(values: Sequence[object] | NDArray[np.generic]) -> str:
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return " ".join(repr(value) for value in plain)
