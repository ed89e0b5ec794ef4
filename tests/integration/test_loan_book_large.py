"""A loan book of five million rows: checked in one pass, in memory that does not grow with it."""

import subprocess
import sys
from pathlib import Path

import duckdb
import psycopg
import pytest

import demo_data
from postgres import private_postgres

_CHECK = """
import sys
from jointrisk.federation.contract import contract_from_toml
from jointrisk_node.data import DataSettings, LoanBook
contract = contract_from_toml(open(sys.argv[1], encoding="utf-8").read())
report = LoanBook.open(DataSettings(source=sys.argv[2], memory="256MiB")).check(contract)
found = [(str(b.column), str(b.rule), b.count, b.row) for b in report.breaches]
print(report.rows, found, sep="|")
# Not ru_maxrss: a process inherits it from the one that started it.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def _write(path: Path, rows: int) -> Path:
    """Write rows that keep GMSC's contract, but for one age, in the form that the file's name says."""
    cells = {name: f"(i * 7919 + {place}) % 90" for place, name in enumerate(demo_data.FEATURES)}
    cells["age"] = "CASE WHEN i = 4000000 THEN 121 ELSE 18 + i % 80 END"
    cells["NumberOfDependents"] = "i % 20"
    cells["MonthlyIncome"] = "CASE WHEN i % 5 = 0 THEN NULL ELSE random() * 1e5 END"
    cells[demo_data.LABEL] = "CAST(i % 15 = 0 AS INT)"
    listed = ", ".join(f'{cell} AS "{name}"' for name, cell in cells.items())
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT {listed} FROM range({rows}) t(i)) TO '{path}'")  # noqa: S608 - figures of ours
    return path


def _check(path: Path | str) -> tuple[str, int]:
    """Check in a process of its own; return what it found, and its peak memory in MiB."""
    command = [sys.executable, "-c", _CHECK, str(demo_data.CONTRACT), str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return printed[0], int(printed[1])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_five_million_rows_are_checked_in_bounded_memory(tmp_path: Path, form: str) -> None:
    """The one broken row is found, and 50 times the rows take at most 150 MiB more."""
    found, peak = _check(_write(tmp_path / f"large.{form}", 5_000_000))
    assert found == "5000000|[('age', 'out of range', 1, 4000001)]"
    _, small = _check(_write(tmp_path / f"small.{form}", 100_000))
    assert peak < small + 150


@pytest.mark.slow
def test_a_large_table_of_a_server_is_streamed() -> None:
    """Three million rows of a PostgreSQL server are checked without holding them."""
    columns = ", ".join(f'i % 90 AS "{name}"' for name in demo_data.FEATURES if name != "NumberOfDependents")
    table = f'SELECT {columns}, i % 20 AS "NumberOfDependents", i % 9 / 8 AS "{demo_data.LABEL}"'
    with private_postgres() as url:
        with psycopg.connect(url) as connection:
            connection.execute(f"CREATE TABLE loans AS {table} FROM generate_series(1, 3000000) i")
        found, peak = _check(url)
    assert found == "3000000|[]"
    assert peak < 350
