"""docs/identifiers.md is true: its tables and its example are run, no rule and no kind is left out."""

import doctest
import re
from pathlib import Path

import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.identifiers import Kind, Rule, canonicalise
from jointrisk.identifiers.resident import resident_countries

_PATH = Path(__file__).resolve().parents[2] / "docs" / "identifiers.md"
_PAGE = _PATH.read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(\w+)` \| (\w\w) \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def _rows(heading: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of the table under a heading: kind, country, written, outcome."""
    section = _PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [(kind, country, written, outcome) for kind, country, written, outcome in _ROW.findall(section)]


@pytest.mark.parametrize(("kind", "country", "written", "canonical"), _rows("What counts as the same"))
def test_what_the_page_calls_the_same_is(kind: str, country: str, written: str, canonical: str) -> None:
    """The spelling of a row gives the canonical form of the row."""
    assert f"`{canonicalise(kind, country, written).canonical}`" == canonical


@pytest.mark.parametrize(("kind", "country", "written", "rule"), _rows("What is refused"))
def test_what_the_page_calls_refused_is(kind: str, country: str, written: str, rule: str) -> None:
    """By the rule of the row."""
    with pytest.raises(InvalidInputError) as caught:
        canonicalise(kind, country, written)
    assert caught.value.message.partition(": ")[2] == rule


def test_the_tables_are_found() -> None:
    """Every kind has a row of what is the same and of what is refused."""
    for heading in ("What counts as the same", "What is refused"):
        assert {kind for kind, *_ in _rows(heading)} == set(Kind)


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_is_on_the_page(rule: Rule) -> None:
    """A rule that people meet in a report is explained."""
    assert rule.value in " ".join(_PAGE.split())


def test_the_countries_of_residents_are_on_the_page() -> None:
    """All of them, and no other."""
    assert f"the issuing country: {', '.join(resident_countries())} |" in _PAGE


def test_the_example_runs() -> None:
    """What the page shows is what Python answers."""
    example = doctest.DocTestParser().get_doctest(_PAGE.split("```python\n")[1].split("```")[0], {}, "page", None, 0)
    assert len(example.examples) == 5
    assert doctest.DocTestRunner().run(example).failed == 0
