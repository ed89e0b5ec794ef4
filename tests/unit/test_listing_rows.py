"""Files of listings: every rule of a row, and the report that says no value."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.listing.label import AmountBand, Category, Severity
from jointrisk_node.data.cells import CellFile
from jointrisk_node.data.settings import DataSettings
from jointrisk_node.listings.examining import MOST_TOLD, Examined, examine, sound_rows
from jointrisk_node.listings.rows import COLUMNS, KINDS, REQUIRED, BrokenRuleError, ListedRow, read_row
from jointrisk_node.listings.settings import ListingsSettings
from lender_at_test import TODAY, phone, resident_id, row

SETTINGS = ListingsSettings()


def _read(**changed: str) -> ListedRow:
    return read_row(row(1, **changed), SETTINGS, TODAY)


def _file(path: Path) -> CellFile:
    return CellFile(DataSettings(source=str(path)), COLUMNS, required=REQUIRED, textual=["reference", *KINDS])


def _csv(path: Path, rows: Sequence[Mapping[str, str]]) -> CellFile:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return _file(path)


def _examined(file: CellFile) -> Examined:
    return examine(file, SETTINGS, TODAY)


def test_the_first_identifier_in_the_order_of_kinds_is_the_primary_one() -> None:
    """A resident's number comes before a phone number, wherever the columns stand."""
    assert [one.kind.value for one in _read(email="li@example.com").identifiers] == ["resident_id", "phone", "email"]
    assert [one.kind.value for one in _read(resident_id="").identifiers] == ["phone"]


def test_each_kind_has_its_country_the_row_s_or_the_lender_s() -> None:
    """A passport's own country comes first, then the row's, then the setting."""
    assert _read(passport="E12345678").identifiers[1].country == "CN"
    assert _read(passport="E12345678", country="SG", resident_id="", phone="").identifiers[0].country == "SG"
    found = _read(passport="E12345678", country="CN", passport_country="FR").identifiers
    assert [one.country for one in found] == ["CN", "FR", ""]


def test_what_a_row_does_not_say_has_a_stated_default() -> None:
    """Expiry by category, no severity for credit events, no amount."""
    assert _read().expires_on == date(2026, 2, 1) + timedelta(days=1826)
    loan = _read(category="active_loan", severity="", amount="")
    assert (loan.severity, loan.band) == (Severity.NONE, AmountBand.NOT_STATED)
    assert loan.expires_on == date(2026, 2, 1) + timedelta(days=1095)
    assert _read(category="APPLICATION ", severity="").expires_on == date(2026, 2, 1) + timedelta(days=91)
    assert _read(expires_on="2026-03-02").expires_on == date(2026, 3, 2)


def test_a_row_has_one_byte_form_that_is_read_back() -> None:
    """Another spelling of the same content gives the same bytes; another content others."""
    said = _read()
    assert ListedRow.from_bytes(said.to_bytes()) == said
    assert _read(phone="+86 138 1234 0001", reference=" loan-1 ", amount="12000.00").to_bytes() == said.to_bytes()
    assert _read(amount="60000").to_bytes() != said.to_bytes()
    assert replace(said, category=Category.FRAUD).to_bytes() != said.to_bytes()


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"reference": " "}, "reference"),
        ({"reference": "x" * 201}, "reference"),
        ({"reference": "a\nb"}, "reference"),
        ({"resident_id": "110105194912310021"}, "resident_id"),
        ({"phone": "12"}, "phone"),
        ({"phone_country": "XX"}, "phone_country"),
        ({"resident_id": "", "phone": ""}, ""),
        ({"category": "bankrupt"}, "category"),
        ({"category": ""}, "category"),
        ({"severity": ""}, "severity"),
        ({"severity": "none"}, "severity"),
        ({"category": "active_loan"}, "severity"),
        ({"listed_on": "01.02.2026"}, "listed_on"),
        ({"listed_on": ""}, "listed_on"),
        ({"listed_on": "2026-03-03"}, "listed_on"),
        ({"listed_on": "1999-12-31"}, "listed_on"),
        ({"expires_on": "2026-01-31"}, "expires_on"),
        ({"expires_on": "2026-03-01"}, "expires_on"),
        ({"expires_on": "2037-01-31"}, "expires_on"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "12,000"}, "amount"),
        ({"amount": "inf"}, "amount"),
    ],
)
def test_a_broken_rule_names_its_column_and_never_the_value(changed: dict[str, str], column: str) -> None:
    """Each refusal is a sentence about one column."""
    with pytest.raises(BrokenRuleError) as refused:
        _read(**changed)
    assert refused.value.column == column
    values = [value for value in row(1, **changed).values() if len(value.strip()) > 5]
    assert not [value for value in values if value in str(refused.value)]


def test_a_row_shows_nothing_of_itself() -> None:
    """Neither reference nor identifiers nor label are in a row's text form."""
    assert repr(_read()) == "ListedRow()"


def test_a_whole_file_is_checked_and_each_broken_row_is_named_by_its_number(tmp_path: Path) -> None:
    """Broken rows and both of two with one reference are refused; the others are sent, with their numbers."""
    rows = [row(1), row(2, phone="1"), row(3), row(4, reference="loan-1 "), row(5, severity="none", reference="loan-3")]
    file = _csv(tmp_path / "rows.csv", rows)
    examined = _examined(file)
    assert (examined.rows, examined.refusals.count) == (5, 5)
    told = sorted((one.row, one.column) for one in examined.refusals.told)
    assert told == [(1, "reference"), (2, "phone"), (3, "reference"), (4, "reference"), (5, "severity")]
    assert list(sound_rows(file, examined)) == [[]]
    file = _csv(tmp_path / "better.csv", [*rows[:4], row(5), row(6)])
    sent = [one for batch in sound_rows(file, _examined(file)) for one in batch]
    assert [one.number for one in sent] == [3, 5, 6]
    assert dict(zip(_examined(file).columns, sent[1].cells, strict=True))["phone"] == phone(5)


def test_the_report_is_bounded_and_counts_all(tmp_path: Path) -> None:
    """A thousand refusals are told one by one; the rules count every one."""
    rows = [row(number % 900, reference=f"r{number}", category="?") for number in range(MOST_TOLD + 7)]
    file = _csv(tmp_path / "rows.csv", rows)
    refusals = _examined(file).refusals
    assert (refusals.count, len(refusals.told)) == (MOST_TOLD + 7, MOST_TOLD)
    assert list(refusals.rules.values()) == [MOST_TOLD + 7]


def test_parquet_columns_come_as_text_and_days_as_days(tmp_path: Path) -> None:
    """Dates and amounts may have their own types."""
    table = pa.table(
        {
            "reference": ["a", "b"],
            "resident_id": [resident_id(1), None],
            "phone": [None, phone(2)],
            "category": ["fraud", "application"],
            "severity": ["low", None],
            "listed_on": [date(2026, 1, 1), date(2026, 2, 1)],
            "amount": [1500.5, None],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    examined = _examined(_file(tmp_path / "rows.parquet"))
    assert (examined.rows, examined.refusals.told) == (2, [])


def test_identifiers_that_are_numbers_are_refused_as_a_column(tmp_path: Path) -> None:
    """A number has lost its leading zeros before it comes here."""
    table = pa.table({"reference": ["a"], "phone": [13812340001], "category": ["fraud"], "listed_on": ["2026-01-01"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(InvalidInputError, match=r"expected text in the column.s. phone"):
        _examined(_file(tmp_path / "rows.parquet"))


def test_columns_that_nobody_knows_or_that_are_missing_are_refused(tmp_path: Path) -> None:
    """A misspelt column would otherwise be left out in silence; its name is not repeated, it could be a cell."""
    with pytest.raises(InvalidInputError, match=r"got 1 other\(s\), the first is number 2") as refused:
        _examined(_csv(tmp_path / "a.csv", [{"reference": "a", "13812340001": "", "category": "", "listed_on": ""}]))
    assert "13812340001" not in str(refused.value)
    with pytest.raises(InvalidInputError, match="expected a column category, listed_on"):
        _examined(_csv(tmp_path / "b.csv", [{"reference": "a"}]))


def test_lines_that_are_no_rows_refuse_the_whole_file(tmp_path: Path) -> None:
    """Their numbers cannot be trusted, nor those of what follows."""
    path = tmp_path / "rows.csv"
    path.write_text("reference,phone,category,listed_on\na,1,fraud\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"1 line\(s\) of .* are no rows, the first is row 1"):
        _examined(_file(path))
