"""Means of a model's inputs follow from the counts: close to those of the pooled rows, and none of a few customers."""

import numpy as np
import pytest
from numpy.typing import NDArray

from contract_sample import sample_contract
from jointrisk.errors import CorruptError
from jointrisk.learning import preparation
from jointrisk.learning.means import roundest
from jointrisk.learning.preparation import Prepared, prepare
from tree_study import contract, gmsc, prepared

CONTRACT = sample_contract()


def fitted(table: NDArray[np.float32], minimum: int = 20) -> Prepared:
    """Return what the counts of one table give."""
    coarse = preparation.coarse_counts(CONTRACT, table, np.zeros(len(table), dtype=np.uint8))
    fine = preparation.fine_counts(CONTRACT, table, preparation.intervals_of(coarse, minimum))
    return prepare(CONTRACT, coarse, fine, bins=16, minimum=minimum)


def rows(count: int = 4000) -> NDArray[np.float32]:
    """Return rows under the sample contract, each kind of feature among them, some missing."""
    rng = np.random.default_rng(4)
    table = np.stack(
        [
            rng.lognormal(8, 1, count),
            rng.integers(0, 3, count),
            rng.choice([5, 77, 400], count),
            rng.random(count) < 0.7,
        ],
        axis=1,
    ).astype(np.float32)
    for place in range(3):
        table[rng.random(count) < 0.1, place] = np.nan
    return table


def test_real_loans_have_the_means_that_counts_say() -> None:
    """GMSC at five lenders: every input within a hundredth of the pooled rows' mean, and summed, not averaged."""
    books, _ = gmsc()
    made = prepared(contract(), books)
    inputs = np.concatenate([made.encoding.encode(book.features) for book in books]).astype(np.float64)
    assert len(made.means) == made.encoding.width
    assert np.abs(inputs.mean(axis=0) - made.means).max() < 0.01
    assert all(round(mean, 9) == mean for mean in made.means)


def test_every_kind_of_feature_has_means() -> None:
    """Numbers nearly, words, flags and missing values exactly."""
    table = rows()
    made = fitted(table)
    exact = made.encoding.encode(table).astype(np.float64).mean(axis=0)
    number = len(made.encoding.features[0].edges) - 1  # type: ignore[union-attr]
    assert np.abs(exact - made.means)[:number].max() < 0.01
    assert np.abs(exact - made.means)[number:].max() < 1e-8
    assert 0.05 < made.means[number] < 0.15


def test_a_share_of_a_few_customers_is_none() -> None:
    """Nineteen rows without a value and twenty are told apart by who may hear of them."""
    table = np.ones((1000, 4), dtype=np.float32)
    table[:500, 0] = 2
    for few, share in ((19, 0.0), (20, 0.02)):
        spoilt = table.copy()
        spoilt[:few, 0] = np.nan
        spoilt[few:, 3], spoilt[:few, 3] = 1, 0
        made = fitted(spoilt)
        number = len(made.encoding.features[0].edges) - 1  # type: ignore[union-attr]
        assert made.means[number] == share
        assert made.means[-1] == 1 - share


def test_the_roundest_number_of_a_cell_is_taken() -> None:
    """0 before all others, whole numbers before fractions; a cell never holds its upper end."""
    boundaries = np.array([-0.5, 0.5, 2.9, 3.0, 3.7, 5.2, 5.24, 4987.0, 5013.0])
    assert roundest(boundaries) == pytest.approx([0, 1, 2.9, 3, 4, 5.2, 1000 + 1000, 5000])


def test_means_are_read_back_or_refused() -> None:
    """With the outcome of a preparation; an old one has none; as many numbers as inputs and nothing else."""
    made = fitted(rows())
    assert Prepared.from_payload(made.payload()) == made
    old = Prepared(made.encoding, made.goods, made.bads)
    assert b"means" not in old.payload()
    assert Prepared.from_payload(old.payload()).means == ()
    for means in (made.means[:-1], (*made.means[:-1], "0.5")):
        with pytest.raises(CorruptError, match="mean of every input"):
            Prepared.from_payload(Prepared(made.encoding, 1, 1, means=means).payload())  # type: ignore[arg-type]
