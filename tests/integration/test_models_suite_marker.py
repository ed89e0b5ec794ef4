"""No test row and no label of one reaches anything that suite ``models`` fits, chooses or calibrates.

A marker is planted: feature values beyond all others, a word that no other row has, and every label turned round. In
test rows it must change no byte of any model; in training rows it must change all of them, or this could not fail.
"""

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.models.jobs import Effort, Fitted, fit_all
from benchmarks.models.shared import offered
from benchmarks.models.splits import Split, split
from jointrisk.learning.tasks import MemberData
from loan_sample import WORDS, loans

_SEED = 3
_SMALL = {"hidden": 8, "networks": 1, "steps": 5}
_EFFORT = Effort(
    lightgbm=({"num_leaves": 4, "min_data_in_leaf": 20, "learning_rate": 0.1},),
    xgboost=({"max_depth": 2},),
    run={"rounds": 3, "task_settings": _SMALL},
)
_MARKER = np.float32(1e9)


def _marked(rows: MemberData) -> MemberData:
    """Return rows that are other rows altogether, their labels turned round."""
    features = np.full_like(rows.features, _MARKER)
    features[:, 2], features[:, 3] = 1, WORDS.index("nobody")
    return MemberData(features, 1 - rows.labels)


@cache
def _split() -> Split:
    sample = loans(4000)
    names = np.array([f"bank {number % 3}" for number in range(len(sample.labels))])
    return split(replace(sample, lenders=names), _SEED)


def _fitted(parts: Split) -> dict[str, bytes]:
    """Fit everything and return it as bytes, by what it is."""
    made = fit_all(parts, _SEED, _EFFORT, offered())
    return _shared_bytes(made) | _local_bytes(made) | {"best": made.best.encode()}


def _shared_bytes(made: Fitted) -> dict[str, bytes]:
    """Return encodings, edges, arrays, weights of blends and validation's figures: a scorer holds them all."""
    found = dict[str, bytes]()
    for name, one in made.shared.items():
        found[f"shared {name}"] = pickle.dumps(one.model)
        found[f"unseeing {name}"] = pickle.dumps(one.unseeing)
        found[f"loss {name}"] = repr(one.loss).encode()
    return found


def _local_bytes(made: Fitted) -> dict[str, bytes]:
    """Return the models of each lender, its choice, and the baselines; without the seconds that they took."""
    found = dict[str, bytes]()
    for name, alone in made.alone.items():
        for which, one in (("alone", alone.model), ("alone unseeing", alone.unseeing)):
            found[f"{which} {name}"] = pickle.dumps((one.model.model_to_string(), sorted(one.parameters.items())))
        found[f"choice {name}"] = repr(made.personalised[name].chosen).encode()
    for name, model in made.baselines.items():
        found[name] = pickle.dumps(replace(model, seconds=0.0) if name == "lightgbm" else model)  # type: ignore[type-var]
    return found


@pytest.fixture(scope="module")
def usual() -> dict[str, bytes]:
    """What is fitted to the sample as it is."""
    return _fitted(_split())


def test_values_of_test_rows_are_in_no_book() -> None:
    """Reading and splitting: a marker in every test row of the set leaves books, lenders and contract as they were."""
    sample, before = loans(4000), split(loans(4000), _SEED)
    tested = np.isin(sample.features[:, 0], before.test.features[:, 0])
    features = np.where(tested[:, np.newaxis], _MARKER, sample.features)
    after = split(replace(sample, features=features), _SEED)
    assert tested.sum() == len(before.test.labels)
    assert (after.test.features == _MARKER).all()
    for one, other in zip(before.lenders, after.lenders, strict=True):
        assert one.book.features.tobytes() == other.book.features.tobytes()
        assert one.book.labels.tobytes() == other.book.labels.tobytes()
    assert after.contract == before.contract


def test_other_test_rows_leave_every_byte_of_what_is_fitted(usual: dict[str, bytes]) -> None:
    """Edges, arrays of every architecture, blends, alone models, baselines and personal choices are the same."""
    parts = _split()
    marked = replace(parts, lenders=tuple(replace(one, test=_marked(one.test)) for one in parts.lenders))
    after = _fitted(marked)
    assert {name for name in usual if usual[name] != after[name]} == set()
    assert after.keys() == usual.keys()


def test_the_same_marker_in_training_rows_changes_everything(usual: dict[str, bytes]) -> None:
    """So that the test above can fail: a fifth of every book marked, and no model is what it was."""
    parts = _split()
    lenders = tuple(replace(one, book=_partly_marked(one.book)) for one in parts.lenders)
    after = _fitted(replace(parts, lenders=lenders))
    same = {name for name in usual if usual[name] == after[name]}
    choices = {name for name in usual if name.startswith("choice")}
    # A lender that is better off alone before and after chooses the same.
    assert same <= {"best", *choices}
    assert not choices <= same


def _partly_marked(book: MemberData) -> MemberData:
    marked, chosen = _marked(book), np.arange(len(book.labels)) % 5 == 0
    features = np.where(chosen[:, np.newaxis], marked.features, book.features)
    return MemberData(features, np.where(chosen, marked.labels, book.labels))
