"""`jointrisk lab`: what it reads, what it leaves out and says so, what it refuses, and that test rows stay unseen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from jointrisk.cli import command
from jointrisk.errors import DataBreachError, InvalidInputError, JointriskError, NotFoundError
from jointrisk.federation.contract import contract_to_toml
from jointrisk_lab.reading import TEST_SHARE, Split, Wanted, open_tables
from jointrisk_lab.report import write
from jointrisk_lab.study import Result, architectures, of_split, study

_EACH = 300


def _table(seed: int = 1, lenders: int = 3) -> pa.Table:
    rng = np.random.default_rng(seed)
    count = _EACH * lenders
    income, noise = rng.normal(size=count), rng.normal(size=count)
    job = rng.choice(["clerk", "smith", "baker"], count)
    odds = 1.5 * income + np.where(job == "baker", 1.0, -0.5) - 0.5
    return pa.table(
        {
            "income": income,
            "noise": noise,
            "job": job,
            "bank": [f"bank {number % lenders}" for number in range(count)],
            "bad": (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int8),
        }
    )


def _wanted(tmp_path: Path, table: pa.Table, **changed: Any) -> Wanted:
    path = tmp_path / "loans.parquet"
    pq.write_table(table, path)
    return replace(Wanted((path,), "bad", "bank"), **changed)


def _split(wanted: Wanted, said: list[str] | None = None) -> Split:
    with open_tables(wanted, (said if said is not None else []).append) as tables:
        return tables.split(1)


def _with_marker(table: pa.Table, test: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Table:
    income = np.where(test, 1e9, table["income"].to_numpy())
    job = np.where(test, "marker", table["job"].to_numpy(zero_copy_only=False))
    return table.set_column(0, "income", pa.array(income)).set_column(2, "job", pa.array(job.tolist()))


def test_values_of_test_rows_reach_neither_contract_nor_books(tmp_path: Path) -> None:
    """A marker in every test row, an extreme number and a word, changes nothing of what models are made of."""
    table = _table()
    before = _split(_wanted(tmp_path, table))
    kept = {float(value) for lender in before.lenders for value in lender.test.features[:, 0]}
    test = np.array([float(np.float32(value)) in kept for value in table["income"].to_pylist()])
    assert abs(test.mean() - TEST_SHARE) < 0.01
    after = _split(_wanted(tmp_path, _with_marker(table, test)))
    assert after.contract == before.contract
    for one, other in zip(before.lenders, after.lenders, strict=True):
        assert (one.book.features == other.book.features).all()
        assert not (one.test.features == other.test.features).any(axis=0)[0]
        assert np.isnan(other.test.features[:, 2]).all()


def test_labels_of_test_rows_reach_no_model_and_no_choice(tmp_path: Path) -> None:
    """With every test label turned round, every area is one less what it was: all models are the same."""
    split = _split(_wanted(tmp_path, _table()))
    turned = replace(
        split,
        lenders=tuple(replace(one, test=replace(one.test, labels=1 - one.test.labels)) for one in split.lenders),
    )
    before, after = (of_split(each, 1, ["scorecard"], 2, lambda _: None) for each in (split, turned))
    assert before["common"]["scorecard"] == pytest.approx(1 - after["common"]["scorecard"], abs=1e-12)
    assert before["pooled_lightgbm"] == pytest.approx(1 - after["pooled_lightgbm"], abs=1e-12)
    for one, other in zip(before["own"], after["own"], strict=True):
        for name in ("alone", "shared", "personalised"):
            assert one[name] == pytest.approx(1 - other[name], abs=1e-12)


def test_the_command_shows_tables_and_writes_figures_and_a_page(tmp_path: Path) -> None:
    """One file a lender; the figures are per seed and mean; the page has a line and three points for each lender."""
    table = _table()
    paths: list[str] = []
    for name in ("elm", "fir", "oak"):
        own = table.filter(pa.compute.equal(table["bank"], f"bank {len(paths)}"))
        paths.append(str(tmp_path / f"{name}.parquet"))
        pq.write_table(own, paths[-1])
    out = tmp_path / "out"
    said = [
        "lab",
        *paths,
        "--label",
        "bad",
        "--drop",
        "bank",
        "--arch",
        "scorecard",
        "--rounds",
        "3",
        "--out",
        str(out),
    ]
    done = CliRunner().invoke(command, [*said, "--seeds", "1"], catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads((out / "lab.json").read_text())
    assert found["common"].keys() == {"scorecard"}
    assert found["common"]["scorecard"] > 0.75
    assert found["alone"].keys() == {"elm", "fir", "oak"}
    assert [one["lender"] for one in found["own"]] == ["elm", "fir", "oak"]
    assert {"lender", "rows", "alone", "shared", "personalised", "se"} <= found["own"][0].keys()
    assert found["own"][0]["rows"] == _EACH
    assert found["seeds"][0]["common"] == found["common"]
    assert "shared, scorecard" in done.output
    page = (out / "lab.html").read_text()
    assert page.count("<circle") == 3 * 3 + 3


def test_lenders_names_are_no_markup(tmp_path: Path) -> None:
    """A lender's name stands in the page as text."""
    own = {"lender": "<b>", "rows": 1, "alone": 0.5, "shared": 0.6, "personalised": 0.6, "se": 0.1}
    mean = {"test_rows": 9, "common": {"mlp": 0.6}, "common_se": 0.1, "alone": {"<b>": 0.5}, "pooled_lightgbm": 0.6}
    write(Result(mean | {"own": [own]}, ({},)), tmp_path)
    page = (tmp_path / "lab.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_what_is_no_feature_is_left_out_aloud(tmp_path: Path) -> None:
    """Constant columns, dates, free text, rows without a label and small lenders: said, each once."""
    table = _table()
    count = len(table)
    days = pa.array(np.arange(count) % 900, pa.int32()).cast(pa.date32())
    notes = pa.array([f"note {number}" for number in range(count)])
    for name, values in (("same", pa.array([7] * count)), ("day", days), ("notes", notes)):
        table = table.append_column(name, values)
    banks = ["small" if number < 30 else name for number, name in enumerate(table["bank"].to_pylist())]
    labels = [None if number == count - 1 else value for number, value in enumerate(table["bad"].to_pylist())]
    table = table.set_column(3, "bank", pa.array(banks)).set_column(4, "bad", pa.array(labels, pa.int8()))
    said: list[str] = []
    split = _split(_wanted(tmp_path, table), said)
    assert split.contract.names == ("income", "noise", "job")
    assert len(split.lenders) == 3
    for part in ("same (the same value", "day (type DATE", "notes (looks like", "1 rows without a label", "1 of 4 len"):
        assert sum(part in text for text in said) == 1, part


def test_numbers_that_are_stored_as_text_are_numbers(tmp_path: Path) -> None:
    """Said aloud; a text column with one word is none."""
    table = _table()
    texts = [str(value) for value in table["noise"].to_pylist()]
    said: list[str] = []
    split = _split(_wanted(tmp_path, table.set_column(1, "noise", pa.array(texts))), said)
    assert split.contract.features[1].kind == "numeric"
    assert any("read as numbers: noise" in text for text in said)
    mixed = pa.array(["a word", *texts[1:]])
    assert "noise" not in _split(_wanted(tmp_path, table.set_column(1, "noise", mixed))).contract.names


def test_a_contract_of_ones_own_is_kept_or_refused(tmp_path: Path) -> None:
    """Its features are taken; rows that break it are refused with the column's name and no value."""
    wanted = _wanted(tmp_path, _table())
    contract = _split(wanted).contract
    path = tmp_path / "contract.toml"
    for word, refused in (("clerk", False), ("nobody", True)):
        words = tuple(word if one == "clerk" else one for one in contract.features[2].categories or ())
        wide = contract.features[0].model_copy(update={"range": None})
        job = contract.features[2].model_copy(update={"categories": words})
        path.write_text(contract_to_toml(contract.model_copy(update={"features": (wide, job)}), {}))
        own = replace(wanted, contract=path)
        if refused:
            with pytest.raises(DataBreachError, match="job in") as error:
                _split(own)
            assert "clerk" not in str(error.value)
        else:
            assert _split(own).contract.names == ("income", "job")


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"label": "defaulted"}, InvalidInputError, "expected a column defaulted"),
        ({"label": "income"}, InvalidInputError, "expected 0"),
        ({"label": "job"}, InvalidInputError, "expected 0"),
        ({"lender": "branch"}, InvalidInputError, "expected a column branch"),
        ({"drop": frozenset({"nothing"})}, InvalidInputError, "expected a column nothing"),
        ({"lender": None}, InvalidInputError, "two or more lenders"),
        ({"files": (Path("/nowhere.csv"),)}, NotFoundError, "no file"),
    ],
)
def test_a_wrong_question_is_refused(
    tmp_path: Path, changed: dict[str, Any], kind: type[JointriskError], words: str
) -> None:
    """Each with what was expected."""
    with pytest.raises(kind, match=words):
        _split(_wanted(tmp_path, _table(), **changed))


def test_five_rows_and_one_class_are_refused(tmp_path: Path) -> None:
    """The error says how many rows would do."""
    with pytest.raises(InvalidInputError, match="at least 100 rows"):
        _split(_wanted(tmp_path, _table().take([0, 1, 2, 3, 4]).set_column(4, "bad", pa.array([0, 1, 0, 1, 0]))))
    table = _table()
    with pytest.raises(InvalidInputError, match="one class"):
        _split(_wanted(tmp_path, table.set_column(4, "bad", pa.array([0] * len(table)))))


def test_an_unknown_architecture_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """The names that there are come from the task's settings."""
    assert {"mlp", "scorecard", "trees"} <= set(architectures())
    with pytest.raises(InvalidInputError, match="got oracle"):
        study(Wanted((tmp_path / "none.csv",), "bad"), ["oracle"], [1], None, say=lambda _: None)
