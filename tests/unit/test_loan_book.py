"""The loan book: every breach of the contract with its row, never a value; and the arrays that training sees."""

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract_sample import LABEL, sample_contract, sample_terms
from jointrisk.errors import DataBreachError, InvalidInputError, JointriskError, NotFoundError
from jointrisk.federation.contract import FeatureContract
from jointrisk_node.data import Breach, CheckReport, DataSettings, LoanBook, Rule

_HEADER = ("income", "purpose", "branch", "has_phone", LABEL)
_GOOD = [
    ("1000", "car", "north", "1", "0"),
    ("2000.5", "home", "south", "0", "1"),
    ("", "it's other", "north", "1", "0"),
    ("0", "", "", "0", "1"),
]


def _csv(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = _HEADER) -> Path:
    lines = [header, *rows]
    path.write_text("\n".join(",".join(f'"{cell}"' if cell else "" for cell in line) for line in lines) + "\n")
    return path


def _check(source: Path | str, contract: FeatureContract | None = None, **more: Any) -> CheckReport:
    return LoanBook.open(DataSettings(source=str(source), **more)).check(contract or sample_contract())


def _found(report: CheckReport) -> list[tuple[str, Rule, int, int | None]]:
    return [(breach.column, breach.rule, breach.count, breach.row) for breach in report.breaches]


def _with(column: str, *cells: str) -> list[tuple[str, ...]]:
    """Return good rows, followed by one for each cell in which the column holds that cell."""
    place = _HEADER.index(column)
    return _GOOD + [(*_GOOD[0][:place], cell, *_GOOD[0][place + 1 :]) for cell in cells]


def test_a_book_that_keeps_the_contract_has_no_breach(tmp_path: Path) -> None:
    """Rows are counted, and there is nothing to say."""
    assert _check(_csv(tmp_path / "a.csv", _GOOD)) == CheckReport(1, 4, ())


@pytest.mark.parametrize(
    ("column", "cells", "rule", "row"),
    [
        ("income", ["12", "twelve", "1,5"], Rule.NOT_A_NUMBER, 6),
        ("income", ["-1", "1000001"], Rule.OUT_OF_RANGE, 5),
        ("income", ["nan", "inf"], Rule.NOT_FINITE, 5),
        ("income", ["1e39", "-1e400"], Rule.NOT_FINITE, 5),
        ("purpose", ["Car", "boat"], Rule.NOT_A_CATEGORY, 5),
        ("has_phone", ["2", "yes"], Rule.NOT_A_FLAG, 5),
        ("has_phone", ["", "  "], Rule.MISSING, 5),
        (LABEL, ["", " "], Rule.LABEL_MISSING, 5),
        (LABEL, ["2", "no", "nan"], Rule.LABEL_NOT_BINARY, 5),
    ],
)
def test_each_rule_is_counted_with_its_first_row(
    tmp_path: Path, column: str, cells: list[str], rule: Rule, row: int
) -> None:
    """Column, rule, number of rows and the first row, from 1 after the header."""
    report = _check(_csv(tmp_path / "a.csv", _with(column, *cells)))
    assert _found(report) == [(column, rule, len(cells) - (row - 5), row)]


def test_an_open_vocabulary_takes_any_word_and_spaces_around_cells_do_not_count(tmp_path: Path) -> None:
    """Without a list of categories every word is one; cells are compared without the spaces around them."""
    rows = [*_with("branch", "anywhere"), *_with("purpose", " car "), *_with("income", " 7 ")]
    assert _check(_csv(tmp_path / "a.csv", rows)).ok


def test_missing_columns_are_named_and_the_others_still_checked(tmp_path: Path) -> None:
    """A missing column, the label too, is one breach each; breaches elsewhere are found as well."""
    path = _csv(tmp_path / "a.csv", [("-5", "north")] * 4, ("Income", "branch"))
    assert _found(_check(path)) == [
        ("purpose", Rule.COLUMN_MISSING, 0, None),
        ("has_phone", Rule.COLUMN_MISSING, 0, None),
        (LABEL, Rule.COLUMN_MISSING, 0, None),
        ("income", Rule.OUT_OF_RANGE, 4, 1),
    ]


def test_a_book_with_none_of_the_columns_is_still_counted(tmp_path: Path) -> None:
    """Nothing to check, but rows and missing columns are said."""
    report = _check(_csv(tmp_path / "a.csv", [("1",)] * 3, ("other",)))
    assert (report.rows, len(report.breaches), report.breaches[-1].rule) == (3, 6, Rule.TOO_FEW_ROWS)


def test_few_rows_and_one_class_only_are_breaches(tmp_path: Path) -> None:
    """A lender with too few loans, or only good ones, does not train."""
    assert _found(_check(_csv(tmp_path / "a.csv", [_GOOD[0]] * 3))) == [
        ("", Rule.TOO_FEW_ROWS, 0, None),
        (LABEL, Rule.ONE_CLASS, 0, None),
    ]
    assert [breach.rule for breach in _check(_csv(tmp_path / "b.csv", [_GOOD[1]] * 4)).breaches] == [Rule.ONE_CLASS]
    assert [breach.rule for breach in _check(_csv(tmp_path / "c.csv", [])).breaches] == [Rule.TOO_FEW_ROWS]


_CELLS = st.sampled_from(
    ["", "0", "1", "2", "-1", "1e6", "1000000.5", "nan", "car", "Car", "it's other", "x,y", "ü", "1e39"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS, _CELLS, _CELLS), min_size=4, max_size=40))
def test_breaches_are_those_of_a_plain_reading_row_by_row(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    """Whatever the cells hold, counts and first rows are what a loop over the rows finds."""
    expected: dict[tuple[str, Rule], list[int]] = {}
    for number, row in enumerate(rows, start=1):
        for column, cell in zip(_HEADER, row, strict=True):
            if rule := _rule_of(column, cell):
                expected.setdefault((column, rule), []).append(number)
    report = _check(_csv(tmp_path / "a.csv", rows))
    found = {(b.column, b.rule): (b.count, b.row) for b in report.breaches if b.rule is not Rule.ONE_CLASS}
    assert found == {key: (len(numbers), numbers[0]) for key, numbers in expected.items()}


def _rule_of(column: str, cell: str) -> Rule | None:
    if column == "branch" or (not cell and column in {"income", "purpose"}):
        return None
    if column == "purpose":
        return None if cell in {"car", "home", "it's other"} else Rule.NOT_A_CATEGORY
    if column == "income":
        return _rule_of_number(cell)
    if not cell:
        return Rule.MISSING if column == "has_phone" else Rule.LABEL_MISSING
    if cell in {"0", "1"}:
        return None
    return Rule.NOT_A_FLAG if column == "has_phone" else Rule.LABEL_NOT_BINARY


def _rule_of_number(cell: str) -> Rule | None:
    try:
        number = float(cell)
    except ValueError:
        return Rule.NOT_A_NUMBER
    if math.isnan(number) or abs(number) > float(np.finfo(np.float32).max):
        return Rule.NOT_FINITE
    return None if 0 <= number <= 1e6 else Rule.OUT_OF_RANGE


def test_no_value_of_a_cell_is_in_any_report_or_error(tmp_path: Path) -> None:
    """What stands in a broken cell is not repeated: not in the report, its JSON, its error or a failed query's."""
    secret = "Zhang-Wei-110101199003070011"
    path = _csv(tmp_path / "a.csv", [row for column in _HEADER for row in _with(column, secret)])
    report = _check(path)
    assert {breach.column for breach in report.breaches} == {"income", "purpose", "has_phone", LABEL}
    with pytest.raises(DataBreachError) as breach:
        LoanBook.open(DataSettings(source=str(path))).arrays(sample_contract())
    converting = "SELECT CAST(branch AS INTEGER) AS income FROM loans"
    with pytest.raises(InvalidInputError) as failure:
        _check(_parquet(tmp_path / "a.parquet", branch=[secret] * 4), query=converting)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__
    report_of_rejects = _check(path, query=converting)
    assert _found(report_of_rejects)[0][1] is Rule.UNREADABLE
    said = f"{report} {report_of_rejects} {json.dumps(report.as_dict())} {breach.value} {failure.value}"
    assert secret not in said
    assert "1101" not in said


def test_rows_are_numbered_across_batches_and_files(tmp_path: Path) -> None:
    """The row number counts through all files, in the order of their names."""
    _csv(tmp_path / "b.csv", _with("income", "-1"))
    _csv(tmp_path / "a.csv", _GOOD * 20_000)
    assert _found(_check(tmp_path / "*.csv")) == [("income", Rule.OUT_OF_RANGE, 1, 80_005)]


def test_progress_is_told_until_the_last_row(tmp_path: Path) -> None:
    """A long check says how far it is."""
    told: list[int] = []
    book = LoanBook.open(DataSettings(source=str(_csv(tmp_path / "a.csv", _GOOD * 40_000))))
    book.check(sample_contract(), told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == 160_000


# CSV as it comes


def test_rows_that_are_no_rows_are_reported_alone(tmp_path: Path) -> None:
    """Short, long and non-UTF-8 lines are counted, with the first; other breaches wait, as numbers would be shifted."""
    path = tmp_path / "a.csv"
    lines = [b"income,purpose,branch,has_phone,bad", b"1,car,n,1,0", b"1,car,n,1,1", b"1,car", b"-1,car,n,1,0,9"]
    path.write_bytes(b"\n".join([*lines, b"-1,car,\xff,1,0", b"-1,car,n,1,0"]) + b"\n")
    report = _check(path)
    assert _found(report) == [("", Rule.UNREADABLE, 3, 3)]
    with pytest.raises(DataBreachError, match="unreadable row"):
        LoanBook.open(DataSettings(source=str(path))).arrays(sample_contract())


def test_byte_order_mark_line_ends_quotes_and_gzip_are_read(tmp_path: Path) -> None:
    """A file that a spreadsheet wrote and somebody packed reads like any other."""
    text = '\ufeffincome,purpose,branch,has_phone,bad\r\n1,car,"a ""b"",\nc",1,0\r\n2,home,d,0,1\r\n'
    with gzip.open(tmp_path / "a.csv.gz", "wt", encoding="utf-8", newline="") as file:
        file.write(text * 1)
    contract = sample_contract(minimum_rows=2)
    table = LoanBook.open(DataSettings(source=str(tmp_path / "a.csv.gz"))).arrays(contract)
    assert table.vocabularies["branch"] == ('a "b",\nc', "d")
    assert table.labels.tolist() == [0, 1]


def test_delimiter_and_missing_values_are_settings(tmp_path: Path) -> None:
    """A semicolon file with NA for no value is read as it is meant."""
    path = tmp_path / "a.csv"
    path.write_text("income;purpose;branch;has_phone;bad\n" + "NA;car;;1;0\nNA;home;x;0;1\n" * 2)
    assert _check(path, delimiter=";", missing_values=["", "NA"]).ok
    assert _found(_check(path, delimiter=";")) == [("income", Rule.NOT_A_NUMBER, 4, 1)]


@pytest.mark.parametrize("text", ["", "a,,b\n1,2,3\n", "a,A\n1,2\n", "income\ufffe".encode("utf-16").decode("latin-1")])
def test_a_file_without_a_header_is_refused(tmp_path: Path, text: str) -> None:
    """Each column has a name, once: otherwise it is unclear what a column is."""
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInputError, match="expected a CSV header line"):
        _check(tmp_path / "a.csv")


def test_files_with_other_headers_are_refused(tmp_path: Path) -> None:
    """Files of one book have the same columns in the same order."""
    _csv(tmp_path / "a.csv", _GOOD)
    _csv(tmp_path / "b.csv", _GOOD, _HEADER[::-1])
    with pytest.raises(InvalidInputError, match="expected the same header line in all 2 CSV files"):
        _check(tmp_path / "*.csv")


# Parquet, and types


def _parquet(path: Path, **columns: Any) -> Path:
    table = {
        "income": pa.array([1.0, 2.0, None, 3.0]),
        "purpose": ["car", "home", None, "car"],
        "branch": ["a", "b", "a", None],
        "has_phone": [True, False, True, False],
        LABEL: [0, 1, 0, 1],
    }
    pq.write_table(pa.table(table | columns), path)
    return path


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("income", pa.array([1, 2, None, 3], pa.decimal128(9, 2))),
        ("income", pa.array(["1", "2.5", None, ""])),
        ("income", pa.array([1, 2, None, 3], pa.uint8())),
        ("income", pa.array(["1", "2", "1", "2"]).dictionary_encode()),
        ("branch", pa.array([1.0, 2.0, None, 3.0])),
        ("branch", pa.array([True, False, None, True])),
        ("has_phone", pa.array([1.0, 0.0, 1.0, 0.0])),
        ("has_phone", pa.array(["1", "0", "1", "0"])),
        (LABEL, pa.array([True, False, True, False])),
        (LABEL, pa.array(["1", "0", "1", "0.0"])),
    ],
)
def test_types_that_say_the_same_are_taken(tmp_path: Path, column: str, cells: pa.Array) -> None:
    """Warehouses store the same number in many types; what can be read without guessing is read."""
    assert _check(_parquet(tmp_path / "a.parquet", **{column: cells})).ok


@pytest.mark.parametrize(
    ("column", "cells", "found"),
    [
        ("income", pa.array([0, 0, 0, 0], pa.date32()), ("income", Rule.WRONG_TYPE, 4, 1)),
        ("income", pa.array([True, True, False, True]), ("income", Rule.WRONG_TYPE, 4, 1)),
        ("income", pa.array([1.0, 2.0, float("nan"), -1.0]), ("income", Rule.NOT_FINITE, 1, 3)),
        ("purpose", pa.array([0, 0, 0, 0], pa.timestamp("s")), ("purpose", Rule.WRONG_TYPE, 4, 1)),
        ("has_phone", pa.array([[1], [0], [1], [0]]), ("has_phone", Rule.WRONG_TYPE, 4, 1)),
        (LABEL, pa.array([0, 0, 0, 0], pa.date32()), (LABEL, Rule.WRONG_TYPE, 4, 1)),
    ],
)
def test_types_that_cannot_be_read_are_a_breach(
    tmp_path: Path, column: str, cells: pa.Array, found: tuple[str, Rule, int, int]
) -> None:
    """A column of another type is named with its type, and NaN is no missing value."""
    assert found in _found(_check(_parquet(tmp_path / "a.parquet", **{column: cells})))


def test_whole_numbers_stored_as_fractions_are_the_same_category(tmp_path: Path) -> None:
    """A column of codes with gaps is often stored as fractions: 3.0 is the category "3"."""
    terms = sample_terms()
    terms["features"][1]["categories"] = ["3", "12"]
    contract = FeatureContract.model_validate(terms)
    path = _parquet(tmp_path / "a.parquet", purpose=pa.array([3.0, None, 12.0, 3.0]))
    table = LoanBook.open(DataSettings(source=str(path))).arrays(contract)
    np.testing.assert_array_equal(table.features[:, 1], np.array([0, np.nan, 1, 0], np.float32))


def test_words_of_a_contract_are_never_sql(tmp_path: Path) -> None:
    """A contract from outside can hold any word as a category: it is compared, not run."""
    hostile = "x')); DROP VIEW book; --"
    terms = sample_terms()
    terms["features"][1]["categories"] = [hostile, 'a"b']
    contract = FeatureContract.model_validate(terms)
    path = _parquet(tmp_path / "a.parquet", purpose=[hostile, 'a"b', None, "car"])
    assert _found(_check(path, contract)) == [("purpose", Rule.NOT_A_CATEGORY, 1, 4)]


# Arrays


def test_arrays_are_the_rows_in_the_contracts_order(tmp_path: Path) -> None:
    """Numbers as they are, missing as NaN, categories as codes: the contract's or, open, in the order of coming."""
    rows = [(row[4], *row[:4]) for row in _GOOD]
    path = _csv(tmp_path / "a.csv", rows, (LABEL, *_HEADER[:4]))
    table = LoanBook.open(DataSettings(source=str(path))).arrays(sample_contract())
    nan = np.nan
    expected = [[1000, 0, 0, 1], [2000.5, 1, 1, 0], [nan, 2, 0, 1], [0, nan, nan, 0]]
    np.testing.assert_array_equal(table.features, np.array(expected, np.float32))
    assert (str(table.features.dtype), str(table.labels.dtype)) == ("float32", "uint8")
    assert table.labels.tolist() == [0, 1, 0, 1]
    assert table.names == ("income", "purpose", "branch", "has_phone")
    assert table.vocabularies == {"purpose": ("car", "home", "it's other"), "branch": ("north", "south")}


def test_arrays_keep_the_order_of_a_large_file(tmp_path: Path) -> None:
    """Rows come in the file's order, however many threads read, and a second reading gives the same bytes."""
    rows = 300_000
    with duckdb.connect() as database:
        database.execute(
            "COPY (SELECT i AS income, 'car' AS purpose, 'b' || (i % 97) AS branch, i % 2 AS has_phone, "  # noqa: S608
            f"i % 3 = 0 AS bad FROM range({rows}) t(i)) TO '{tmp_path}/a.parquet' (ROW_GROUP_SIZE 20000)"
        )
    book = LoanBook.open(DataSettings(source=str(tmp_path / "a.parquet"), threads=4))
    first, again = book.arrays(sample_contract()), book.arrays(sample_contract())
    np.testing.assert_array_equal(first.features[:, 0], np.arange(rows, dtype=np.float32))
    np.testing.assert_array_equal(first.features[:, 2], np.arange(rows) % 97)
    assert first.features.tobytes() == again.features.tobytes()
    assert first.vocabularies["branch"][3] == "b3"


def test_arrays_of_a_broken_book_are_refused(tmp_path: Path) -> None:
    """A node whose data breaks the contract does not train, and says why."""
    path = _csv(tmp_path / "a.csv", _with("income", "-1", "x"))
    with pytest.raises(DataBreachError) as caught:
        LoanBook.open(DataSettings(source=str(path))).arrays(sample_contract(version=3))
    assert caught.value.message == (
        "the data breaks the feature contract version 3; "
        "income: not a number (expected a number), in 1 row, first row 6; "
        "income: out of range (expected 0 to 1000000), in 1 row, first row 5"
    )
    assert caught.value.exit_code == 9


def test_identifiers_are_no_categories(tmp_path: Path) -> None:
    """An open vocabulary that every row extends is refused before it fills the memory."""
    with duckdb.connect() as database:
        database.execute(
            "COPY (SELECT 1 AS income, 'car' AS purpose, 'c' || i AS branch, 1 AS has_phone, i % 2 AS bad "  # noqa: S608
            f"FROM range(150000) t(i)) TO '{tmp_path}/a.parquet'"
        )
    with pytest.raises(InvalidInputError, match="branch: expected at most 100000 different categories"):
        LoanBook.open(DataSettings(source=str(tmp_path / "a.parquet"))).arrays(sample_contract())


# The query, and sources that cannot be read


def test_the_query_maps_the_lenders_own_columns(tmp_path: Path) -> None:
    """Other names, units and joins are the query's business."""
    path = _csv(tmp_path / "a.csv", [("5", "x", "1")] * 2 + [("6", "y", "0")] * 2, ("k_income", "filiale", "y"))
    columns = (
        "TRY_CAST(k_income AS DOUBLE) * 1000 AS income, 'car' AS purpose, filiale AS branch, 1 AS has_phone, y bad"
    )
    query = f"SELECT {columns} FROM loans;"  # noqa: S608 - a lender's own query
    book = LoanBook.open(DataSettings(source=str(path), query=query))
    assert book.arrays(sample_contract()).features[:, 0].tolist() == [5000, 5000, 6000, 6000]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1; SELECT 2", "expected one SELECT"),
        ("DROP VIEW loans", "expected one SELECT"),
        ("COPY loans TO '/tmp/x.csv'", "expected one SELECT"),
        ("SELEKT 1", "does not fit the data: Parser Error"),
        ("SELECT wage AS income FROM loans", '"wage" not found'),
        ("SELECT * FROM clients", "clients does not exist"),
        ("SELECT * FROM 'https://127.0.0.1:1/x.parquet'", "cannot be read"),
    ],
)
def test_a_query_that_cannot_run_is_refused(tmp_path: Path, query: str, said: str) -> None:
    """One SELECT over what is there; nothing is written, nothing comes from the network."""
    path = _csv(tmp_path / "a.csv", _GOOD)
    with pytest.raises(InvalidInputError) as caught:
        _check(path, query=query)
    assert said in caught.value.message
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_too_little_memory_is_said_and_nothing_is_spilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that needs more memory fails with the setting to change; no row gets into a temporary file."""
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as database:
        database.execute("COPY (SELECT random() AS income, uuid()::VARCHAR AS u FROM range(2000000)) TO 'a.parquet'")
    with pytest.raises(InvalidInputError, match="needs more than 32MiB of memory"):
        _check("a.parquet", query="SELECT * FROM loans ORDER BY u", memory="32MiB", threads=1)
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def test_no_source_no_file_and_no_parquet_are_told_apart(tmp_path: Path) -> None:
    """Each says what is wrong, and what to set."""
    with pytest.raises(InvalidInputError, match="no loan book is set"):
        _check("")
    with pytest.raises(NotFoundError, match="got no file"):
        _check(tmp_path / "none.parquet")
    (tmp_path / "a.parquet").write_bytes(b"income\n1\n")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        _check(tmp_path / "a.parquet")


# Settings


@pytest.mark.parametrize(
    "source", ["loans.xlsx", "postgresql://u:pa/ss@host/db", "postgresql://u:p@ss@host/db", "postgresql://h:0/d"]
)
def test_a_source_of_no_known_kind_is_refused(source: str) -> None:
    """Another kind of file, or an address that libpq would take apart wrongly."""
    with pytest.raises(ValueError, match="expected"):
        DataSettings(source=source)


def test_an_address_is_shown_without_user_and_password() -> None:
    """Neither printing the settings nor naming the source shows more than server and database."""
    settings = DataSettings(source="postgresql://risk:s3cret@db.example:5433/loans?sslmode=require")
    assert settings.place == "postgresql://db.example:5433/loans"
    assert "s3cret" not in f"{settings!r} {settings}"


def test_a_report_is_one_line_a_breach() -> None:
    """For people: column, rule, what is expected, how many rows, the first."""
    assert str(Breach("age", Rule.OUT_OF_RANGE, "0 to 120", 3, 17)) == (
        "age: out of range (expected 0 to 120), in 3 rows, first row 17"
    )
    assert str(Breach("", Rule.TOO_FEW_ROWS, "at least 5, there are 4")) == (
        "too few rows (expected at least 5, there are 4)"
    )


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    """A truncated file ends in a typed error, not in a stack trace of the reader's."""
    path = _parquet(tmp_path / "a.parquet")
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(JointriskError):
            _check(path)
