"""docs/feature-contract.md is true: its example is a contract, its report is what a check says, nothing is left out."""

import re
from pathlib import Path

import pytest

from jointrisk.federation.contract import Feature, FeatureContract, Target, contract_from_toml
from jointrisk.settings import parse_toml
from jointrisk_node.data import DataSettings, LoanBook, Rule
from jointrisk_node.settings import NodeSettings

_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "feature-contract.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


def test_the_example_is_a_contract() -> None:
    """The page's contract is read as it stands, with nothing left to confirm."""
    contract = contract_from_toml(_blocks("toml")[0])
    assert [feature.kind for feature in contract.features] == ["numeric", "category", "flag"]
    assert contract.unconfirmed() == ()


def test_the_report_is_what_the_check_of_the_example_says(tmp_path: Path) -> None:
    """The loan book on the page, checked against the contract on the page, gives the lines on the page."""
    (tmp_path / "loans.csv").write_text(_blocks("csv")[0], encoding="utf-8")
    book = LoanBook.open(DataSettings(source=str(tmp_path / "loans.csv")))
    report = book.check(contract_from_toml(_blocks("toml")[0]))
    assert [str(breach) for breach in report.breaches] == _blocks("text")[0].splitlines()


def test_the_settings_on_the_page_are_settings() -> None:
    """The example of [data] is taken by the node's settings."""
    settings = parse_toml(_blocks("toml")[1], NodeSettings, "docs")
    assert settings.data.source == "/srv/loans/2024-*.parquet"


@pytest.mark.parametrize(
    "key",
    [
        *(name for name in FeatureContract.model_fields if name not in {"target", "features"}),
        *(f"target.{name}" for name in Target.model_fields),
        *Feature.model_fields,
    ],
)
def test_every_key_is_explained(key: str) -> None:
    """A key without a line in the tables is a key that people guess about."""
    assert f"| `{key}` |" in _PAGE


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_is_explained(rule: Rule) -> None:
    """So is a rule."""
    assert f"| `{rule}` |" in _PAGE
