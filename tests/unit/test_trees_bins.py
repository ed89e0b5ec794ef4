"""Bins of features: from the run's encoding, the same for everybody."""

import numpy as np
import pytest

from contract_sample import sample_contract
from jointrisk.errors import InvalidInputError
from jointrisk.learning.encoding import CategoryEncoding, Encoding, FlagEncoding, NumericEncoding
from jointrisk.learning.trees.bins import BinPlan, FeatureBins
from jointrisk.learning.trees.histograms import Part, histograms

NAN = float("nan")
ENCODING = Encoding(
    features=(
        NumericEncoding(name="income", missing=True, edges=(0.0, 2.0, 10.0, 11.0)),
        CategoryEncoding(name="purpose", missing=True, hashed=False, kept=(0, 2), other=True),
        CategoryEncoding(name="branch", missing=True, hashed=True, kept=(77,), other=True),
        FlagEncoding(name="has_phone", missing=False),
    )
)


def test_every_kind_of_feature_has_bins() -> None:
    """Numbers between inner edges, flags, words that are kept, all others, and the last one for what is missing."""
    plan = BinPlan.of(ENCODING)
    assert plan.counts.tolist() == [4, 4, 3, 3]
    rows = [
        [-5.0, 0, 77, 0],
        [1.999, 1, 78, 1],
        [2.0, 2, 0, NAN],
        [10.0, 3, NAN, 1],
        [1e30, NAN, 4095, 0],
        [NAN, 900, 77, 0],
    ]
    binned = plan.bin_rows(np.array(rows, dtype=np.float32))
    assert binned.tolist() == [[0, 0, 1, 2, 2, 3], [0, 2, 1, 2, 3, 2], [0, 1, 1, 2, 1, 0], [0, 1, 2, 1, 0, 0]]
    assert binned.dtype == np.uint8


def test_directions_are_the_contracts() -> None:
    """Up, down or none, by the contract; an encoding of other features is refused."""
    plan = BinPlan.of(ENCODING, sample_contract())
    assert [feature.direction for feature in plan.features] == [-1, 0, 0, -1]
    assert not any(feature.direction for feature in BinPlan.of(ENCODING).features)
    with pytest.raises(InvalidInputError, match="contract's features"):
        BinPlan.of(Encoding(features=ENCODING.features[::-1]), sample_contract())


def test_a_feature_that_says_nothing_has_one_bin_and_gaps() -> None:
    """No edges: all values are one bin."""
    plan = BinPlan.of(Encoding(features=(NumericEncoding(name="flat", missing=True, edges=()),)))
    assert plan.bin_rows(np.array([[1.0], [NAN], [-7.0]], dtype=np.float32)).tolist() == [[0, 1, 0]]


def test_many_words_take_wider_numbers() -> None:
    """More than 256 bins do not fit a byte, and are still told apart."""
    plan = BinPlan((FeatureBins("branch", words=tuple(range(4096)), hashed=True),))
    binned = plan.bin_rows(np.arange(4096, dtype=np.float32)[:, None])
    assert binned.dtype == np.uint16
    assert binned[0].tolist() == list(range(4096))


def test_rows_of_another_width_are_refused() -> None:
    """As many columns as features."""
    with pytest.raises(InvalidInputError, match="expected 4 columns"):
        BinPlan.of(ENCODING).bin_rows(np.zeros((2, 3), dtype=np.float32))


@pytest.mark.parametrize("bits", [4, 7, 8, 16])
def test_histograms_are_the_sums_of_their_rows(bits: int) -> None:
    """Whatever the bits, and over more rows than are added up at once: exactly what a loop adds up."""
    rng, count, nodes = np.random.default_rng(bits), 40_000, 3
    counts = (5, 64, 300)
    binned = np.stack([rng.integers(0, bins, count) for bins in counts]).astype(np.uint16)
    begins = np.cumsum([0, *counts]).tolist()
    rows = np.sort(rng.choice(count, 36_000, replace=False))
    slots = rng.integers(0, nodes, len(rows))
    levels = [np.full(len(rows), (1 << bits) - 1), rng.integers(0, 1 << bits, len(rows))]
    found = histograms(binned, Part(rows, slots, levels[0], levels[1]), nodes, begins)
    expected = np.zeros((3, nodes, begins[-1]), dtype=np.int64)
    for column, begin in enumerate(begins[:-1]):
        for kind, values in enumerate((*levels, np.ones(len(rows), dtype=np.int64))):
            np.add.at(expected[kind], (slots, begin + binned[column, rows].astype(np.int64)), values)
    np.testing.assert_array_equal(found, expected)
