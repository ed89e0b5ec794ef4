"""The encoding: bins from summed counts, rows as inputs between 0 and 1, words by code or bucket."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract_sample import sample_contract
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import binning, preparation
from jointrisk.learning.encoding import (
    BUCKETS,
    CategoryEncoding,
    Encoding,
    FlagEncoding,
    NumericEncoding,
    bucket_of,
    with_buckets,
)
from jointrisk.learning.preparation import Prepared, prepare

NAN = float("nan")
CONTRACT = sample_contract()
ENCODING = Encoding(
    features=(
        NumericEncoding(name="income", missing=True, edges=(0.0, 2.0, 10.0)),
        CategoryEncoding(name="purpose", missing=True, hashed=False, kept=(0, 2), other=True),
        CategoryEncoding(name="branch", missing=True, hashed=True, kept=(77,), other=True),
        FlagEncoding(name="has_phone", missing=False),
    )
)


def rows(*values: list[float]) -> NDArray[np.float32]:
    """Return rows as a loan table has them."""
    return np.array(values, dtype=np.float32)


def book(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a lender's rows under the sample contract, words as buckets, and labels."""
    rng = np.random.default_rng(seed)
    table = np.stack(
        [
            rng.lognormal(seed, 1, count),
            rng.integers(0, 2, count),
            rng.choice([5, 77, 400], count),
            rng.integers(0, 2, count),
        ],
        axis=1,
    ).astype(np.float32)
    table[rng.random(count) < 0.1, 0] = NAN
    return table, (rng.random(count) < 0.2).astype(np.uint8)


def fitted(*books: tuple[NDArray[np.float32], NDArray[np.uint8]], minimum: int = 20, bins: int = 16) -> Prepared:
    """Return what lenders' counts give when they are summed."""
    coarse = _total([preparation.coarse_counts(CONTRACT, *one) for one in books])
    intervals = preparation.intervals_of(coarse, minimum)
    fine = _total([preparation.fine_counts(CONTRACT, table, intervals) for table, _ in books])
    return prepare(CONTRACT, coarse, fine, bins=bins, minimum=minimum)


def _total(counts: list[dict[str, binning.Counts]]) -> dict[str, binning.Counts]:
    return {name: np.sum([one[name] for one in counts], axis=0) for name in counts[0]}


def test_every_kind_of_feature_becomes_inputs() -> None:
    """Numbers: 0, the share, 1, bin by bin; words one each and one for others; what is missing has its own input."""
    inputs = ENCODING.encode(
        rows([1, 0, 77, 1], [6, 1, 5, 0], [99, 2, 77, 1], [-1, NAN, NAN, 0], [NAN, 0, 77, 1]),
    )
    assert inputs.dtype == np.float32
    assert inputs.tolist() == [
        # income, missing | car, other purpose, other, missing | branch, other, missing | phone
        [0.5, 0.0, 0, 1, 0, 0, 0, 1, 0, 0, 1],
        [1.0, 0.5, 0, 0, 0, 1, 0, 0, 1, 0, 0],
        [1.0, 1.0, 0, 0, 1, 0, 0, 1, 0, 0, 1],
        [0.0, 0.0, 0, 0, 0, 0, 1, 0, 0, 1, 0],
        [0.0, 0.0, 1, 1, 0, 0, 0, 1, 0, 0, 1],
    ]
    assert ENCODING.width == inputs.shape[1]


@given(st.lists(st.one_of(st.floats(width=32, allow_nan=True, allow_infinity=False)), min_size=1, max_size=50))
def test_numbers_rise_from_0_to_1_whatever_they_are(values: list[float]) -> None:
    """Any single-precision number: inputs lie between 0 and 1, and a greater value has no smaller input."""
    table = np.zeros((len(values), 4), dtype=np.float32)
    table[:, 0] = np.sort(np.array(values, dtype=np.float32))
    inputs = ENCODING.encode(table)[~np.isnan(table[:, 0])][:, :2]
    assert ((inputs >= 0) & (inputs <= 1)).all()
    assert (np.diff(inputs, axis=0) >= 0).all()


def test_rows_of_another_width_are_refused() -> None:
    """Not encoded as something else."""
    with pytest.raises(InvalidInputError, match="expected 4 columns"):
        ENCODING.encode(np.zeros((2, 3), dtype=np.float32))


def test_payload_reads_back_and_names_its_digest() -> None:
    """The same bytes at every party, and another digest for another edge."""
    assert Encoding.from_payload(ENCODING.payload()) == ENCODING
    moved = ENCODING.features[0].model_copy(update={"edges": (0.0, 2.0, 11.0)})
    assert Encoding(features=(moved, *ENCODING.features[1:])).digest() != ENCODING.digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[0.0,2.0,10.0]", b"[0.0,10.0,2.0]"),
        (b"[0.0,2.0,10.0]", b"[0.0,2.0000000001]"),
        (b"[0.0,2.0,10.0]", b"[0.0]"),
        (b"[0.0,2.0,10.0]", b"[0.0,Infinity]"),
        (b'"kept":[0,2]', b'"kept":[2,0]'),
        (b'"format":1', b'"format":2'),
        (b'"kind":"flag"', b'"kind":"number"'),
        (b'"other":true', b'"another":true'),
    ],
)
def test_encoding_that_breaks_its_rules_is_refused(old: bytes, new: bytes) -> None:
    """Edges out of order or of another precision, unknown layouts, unknown kinds and keys."""
    payload = ENCODING.payload()
    assert old in payload
    with pytest.raises(CorruptError):
        Encoding.from_payload(payload.replace(old, new))


def test_lenders_together_get_the_edges_that_one_with_all_rows_gets() -> None:
    """Counts add up: who has which rows makes no difference, not to a single bit."""
    first, second = book(900, 1), book(1700, 3)
    together = (np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]]))
    assert fitted(first, second).payload() == fitted(together).payload()
    made = fitted(first, second)
    assert (made.goods, made.bads) == (int((together[1] == 0).sum()), int(together[1].sum()))
    assert Prepared.from_payload(made.payload()) == made


def test_edges_are_close_to_exact_quantiles() -> None:
    """Bins hold about equally many rows, over six orders of magnitude and on both sides of 0."""
    rng = np.random.default_rng(5)
    table = np.zeros((20_000, 4), dtype=np.float32)
    table[:, 0] = rng.normal(0, 3, 20_000) * 10 ** rng.uniform(-3, 3, 20_000)
    edges = np.array(_income(fitted((table, np.zeros(20_000, dtype=np.uint8)))).edges)
    held, _ = np.histogram(np.clip(table[:, 0], edges[0], edges[-1]), bins=edges)
    assert len(edges) == 17
    assert held.min() > 0.7 * 20_000 / 16
    assert held.max() < 1.4 * 20_000 / 16


def test_values_that_many_share_do_not_use_up_the_bins() -> None:
    """Nine tenths are 0; the rest, from 1 to 12, is still told apart."""
    rng = np.random.default_rng(6)
    table = np.zeros((20_000, 4), dtype=np.float32)
    table[:2000, 0] = rng.integers(1, 13, 2000)
    made = fitted((table, np.zeros(20_000, dtype=np.uint8)))
    inputs = made.encoding.encode(np.array([[value, 0, 0, 0] for value in range(13)], dtype=np.float32))
    filled = inputs[:, : len(_income(made).edges) - 1].sum(axis=1)
    assert (np.diff(filled) > 0.9).all()


def test_no_edge_rests_on_fewer_rows_than_the_minimum() -> None:
    """A few customers' values, however far out, move nothing: nobody learns them from the edges."""
    table, labels = book(3000, 2)
    outlier = table.copy()
    outlier[:19, 0] = 987_654.5
    edges = np.array(_income(fitted((outlier, labels))).edges)
    assert edges.max() < 1000
    present = outlier[:, 0][~np.isnan(outlier[:, 0])]
    assert (np.histogram(np.clip(present, edges[0], edges[-1]), bins=edges)[0] >= 20).all()
    assert (present >= edges[-2]).sum() >= 20


@pytest.mark.parametrize("values", [[3.5] * 100, [NAN] * 100, [1.0] * 10 + [2.0] * 10])
def test_feature_that_says_nothing_has_hardly_any_inputs(values: list[float]) -> None:
    """One value, no value, or too few rows: there is an encoding, and it stays small."""
    table = np.zeros((len(values), 4), dtype=np.float32)
    table[:, 0] = values
    made = fitted((table, np.zeros(len(values), dtype=np.uint8)))
    assert len(_income(made).edges) in {0, 2}
    assert made.encoding.encode(table).shape[1] == made.encoding.width


def test_rare_words_are_others() -> None:
    """A word that fewer rows hold than the minimum, all members together, has no input and is in no encoding."""
    table = np.zeros((100, 4), dtype=np.float32)
    table[:19, 1], table[:19, 2], table[19:50, 2] = 2, 77, 3000
    made = fitted((table[:40], np.zeros(40, dtype=np.uint8)), (table[40:], np.zeros(60, dtype=np.uint8)))
    purpose, branch = made.encoding.features[1:3]
    assert isinstance(purpose, CategoryEncoding)
    assert isinstance(branch, CategoryEncoding)
    assert (purpose.kept, purpose.other, purpose.hashed) == ((0,), True, False)
    assert (branch.kept, branch.other, branch.hashed) == ((0, 3000), True, True)


def test_words_of_an_open_vocabulary_become_buckets() -> None:
    """The same word is the same bucket at every lender, whatever its code there; missing stays missing."""
    table = rows([1, 0, 0, 1], [1, 0, 1, 1], [1, 0, NAN, 1])
    here = with_buckets(CONTRACT, table, {"branch": ("south", "north")})
    there = with_buckets(CONTRACT, table, {"branch": ("north", "south")})
    assert here[:2, 2].tolist() == [bucket_of("south"), bucket_of("north")]
    assert here[:2, 2].tolist() == there[1::-1, 2].tolist()
    assert np.isnan(here[2, 2])
    assert table[0, 2] == 0
    assert {bucket_of(f"branch {number}") for number in range(50_000)} == set(range(BUCKETS))


def test_only_whole_numbers_of_rows_leave_a_lender() -> None:
    """Of a row with marked values the replies hold counts: integers that add up to rows, and the marks nowhere."""
    table, labels = book(500, 1)
    table[7] = [271828.1875, 1, 77, 1]
    coarse = preparation.coarse_counts(CONTRACT, table, labels)
    intervals = preparation.intervals_of(coarse, 20)
    fine = preparation.fine_counts(CONTRACT, table, intervals)
    assert _form(coarse) == preparation.coarse_form(CONTRACT)
    assert _form(fine) == preparation.fine_form(CONTRACT)
    present = int((~np.isnan(table[:, 0])).sum())
    assert [int(coarse["labels"].sum()), int(coarse["coarse"].sum()), int(fine["fine"].sum())] == [
        500,
        present,
        present,
    ]
    for counts in (*coarse.values(), *fine.values()):
        assert counts.dtype == np.int64
        assert counts.min() >= 0
        for mark in (np.float32(271828.1875), np.float64(271828.1875)):
            assert mark.tobytes() not in counts.tobytes()


def _form(counts: dict[str, binning.Counts]) -> preparation.Form:
    return {name: (array.shape, str(array.dtype)) for name, array in counts.items()}


def _income(made: Prepared) -> NumericEncoding:
    first = made.encoding.features[0]
    assert isinstance(first, NumericEncoding)
    return first


def test_grid_has_a_boundary_at_zero_and_cells_finer_than_a_twentieth() -> None:
    """No range has to be declared: every single-precision number has a cell, narrow for its size."""
    grid = binning.coarse_boundaries()
    assert 0.0 in grid.tolist()
    assert grid[0] <= -np.finfo(np.float32).max * (1 - 1e-6)
    large = grid[grid > 0.1]
    assert (large[1:] / large[:-1]).max() < 1.05


def test_contract_without_numbers_can_be_prepared() -> None:
    """Nothing to bin is no special case."""
    flags = [feature for feature in CONTRACT.features if feature.kind == "flag"]
    contract = FeatureContract.model_validate(CONTRACT.model_dump() | {"features": flags})
    table = np.ones((30, 1), dtype=np.float32)
    coarse = preparation.coarse_counts(contract, table, np.zeros(30, dtype=np.uint8))
    fine = preparation.fine_counts(contract, table, preparation.intervals_of(coarse, 20))
    assert prepare(contract, coarse, fine, bins=8, minimum=20).encoding.encode(table).tolist() == [[1.0]] * 30
