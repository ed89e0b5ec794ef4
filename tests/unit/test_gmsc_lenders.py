"""The real loans of the demo: GMSC dealt out to three lenders, and the contract that all three keep."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import demo_data
from jointrisk.federation.contract import FeatureContract, contract_from_toml
from jointrisk_node.data import DataSettings, LoanBook


@pytest.fixture(scope="module")
def contract() -> FeatureContract:
    """The committed contract of the demo."""
    return contract_from_toml(demo_data.CONTRACT.read_text(encoding="utf-8"), str(demo_data.CONTRACT))


@pytest.fixture(scope="module")
def lenders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, demo_data.LenderFiles]:
    """The three lenders' files."""
    written = demo_data.write_lenders(tmp_path_factory.mktemp("lenders"))
    return {files.name: files for files in written}


def test_the_contract_is_finished_by_hand(contract: FeatureContract) -> None:
    """Nothing is left to confirm; age is sensitive and lowers the risk; every reason is in both languages."""
    features = {feature.name: feature for feature in contract.features}
    assert contract.unconfirmed() == ()
    assert contract.names == demo_data.FEATURES
    assert contract.target.label_column == demo_data.LABEL
    assert (features["age"].sensitive, features["age"].direction) == (True, "down")
    assert all(any("\u4e00" <= sign <= "\u9fff" for sign in feature.reason.zh) for feature in contract.features)


@pytest.mark.parametrize("name", demo_data.LENDERS)
def test_every_lenders_book_keeps_the_contract(
    contract: FeatureContract, lenders: dict[str, demo_data.LenderFiles], name: str
) -> None:
    """Loan book and held-out rows of every lender pass the check."""
    files = lenders[name]
    for path, rows in ((files.train, files.rows), (files.test, files.test_rows)):
        report = LoanBook.open(DataSettings(source=str(path))).check(contract)
        assert (report.breaches, report.rows) == ((), rows)


def test_lenders_differ_in_size_and_bad_rate(
    contract: FeatureContract, lenders: dict[str, demo_data.LenderFiles]
) -> None:
    """Each has thousands of loans; bad rates are far apart, as those of such lenders are."""
    books = {
        name: LoanBook.open(DataSettings(source=str(files.train))).arrays(contract) for name, files in lenders.items()
    }
    assert {name: len(book.labels) for name, book in books.items()} == {
        "bank": 76_715,
        "consumer-finance": 29_995,
        "instalment": 13_289,
    }
    rates = {name: round(float(book.labels.mean()), 3) for name, book in books.items()}
    assert rates == {"bank": 0.026, "consumer-finance": 0.173, "instalment": 0.065}


def test_no_row_is_lost_or_dealt_twice(lenders: dict[str, demo_data.LenderFiles]) -> None:
    """The lenders' files together are the 150,000 rows."""
    dealt = [pq.read_table(path) for files in lenders.values() for path in (files.train, files.test)]
    order = [(name, "ascending") for name in (demo_data.LABEL, *demo_data.FEATURES)]
    loans = demo_data.read_gmsc()
    assert sum(table.num_rows for table in dealt) == loans.num_rows == 150_000
    for name, _ in order:
        together = np.concatenate([table[name].to_numpy() for table in dealt])
        np.testing.assert_array_equal(np.sort(together), np.sort(loans[name].to_numpy()))


def test_a_fifth_of_each_class_is_held_out() -> None:
    """Of every class, the rows with the lowest hash of the row number; the hash itself is fixed."""
    labels = np.array([0] * 11 + [1] * 4, np.uint8)
    chosen = demo_data.held_out(labels)
    assert chosen[labels == 0].sum() == 3
    assert chosen[labels == 1].sum() == 1
    assert np.flatnonzero(chosen).tolist() == [2, 5, 10, 11]


def test_writing_twice_writes_the_same_rows(tmp_path: Path, lenders: dict[str, demo_data.LenderFiles]) -> None:
    """The deal is the same on every machine and every day."""
    for files in demo_data.write_lenders(tmp_path):
        assert pq.read_table(files.train).equals(pq.read_table(lenders[files.name].train))
