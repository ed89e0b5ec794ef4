"""The feature contract: TOML both ways, canonical bytes, and every rule that a contract must keep."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract_sample import sample_contract, sample_terms
from jointrisk.errors import CorruptError, InvalidInputError, VersionMismatchError
from jointrisk.federation.contract import (
    CONFIRM_EN,
    CONFIRM_ZH,
    FeatureContract,
    Range,
    contract_from_payload,
    contract_from_toml,
    contract_to_toml,
)

_GOOD = contract_to_toml(sample_contract())


def _refusal(toml: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        contract_from_toml(toml)
    return caught.value.message


def _changed(place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the sample's terms with one of them replaced; None removes it."""
    terms = deepcopy(sample_terms())
    table: Any = terms
    for part in place[:-1]:
        table = table[part]
    if value is None:
        del table[place[-1]]
    else:
        table[place[-1]] = value
    return terms


def _as_toml(terms: dict[str, Any]) -> str:
    """Write terms as TOML, broken ones too."""

    def inline(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {inline(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(inline(inner) for inner in value) + "]"
        # What JSON writes of a string, a number or a truth value is TOML too.
        return json.dumps(value)

    return "\n".join(f"{key} = {inline(value)}" for key, value in terms.items())


def test_toml_reads_back_as_the_same_contract() -> None:
    """What is written is read as the very same terms, version included."""
    assert contract_from_toml(_GOOD) == sample_contract()


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(min_size=1, max_size=30),
)
def test_any_number_and_any_text_survive_toml(one: float, other: float, text: str) -> None:
    """Numbers come back bit by bit, and text whatever it holds, or the text is refused before."""
    terms = sample_terms()
    terms["features"][0]["range"] = {"low": min(one, other), "high": max(one, other)}
    if text == text.strip() and text.isprintable():
        terms["title"] = text
    contract = FeatureContract.model_validate(terms)
    assert contract_from_toml(contract_to_toml(contract)) == contract


def test_a_comment_stands_behind_its_key() -> None:
    """Notes are comments: a person sees them, a parser does not."""
    written = contract_to_toml(sample_contract(), {"features.income.range": "is this in USD?"})
    assert "range = { low = 0, high = 1000000 }  # is this in USD?" in written
    assert contract_from_toml(written) == sample_contract()


def test_a_draft_has_no_version_line() -> None:
    """Version 0 is not written: the coordinator numbers what it publishes."""
    assert "version" not in contract_to_toml(sample_contract(version=0))


def test_the_payload_depends_on_the_terms_alone() -> None:
    """Order and form of the TOML do not change the signed bytes; a term does."""
    lines = _GOOD.splitlines()
    title = next(line for line in lines if line.startswith("title"))
    moved = "\n".join([title, *(line for line in lines if line != title)]).replace("1000000", "1e6")
    assert contract_from_toml(moved).payload() == sample_contract().payload()
    assert sample_contract(title="another").digest() != sample_contract().digest()


def test_the_payload_reads_back() -> None:
    """A member reads from the signed bytes the contract that the coordinator published."""
    assert contract_from_payload(sample_contract().payload()) == sample_contract()


def test_versions_do_not_change_the_terms() -> None:
    """Two versions with the same terms are known as the same; another term is not."""
    assert sample_contract(1).same_terms(sample_contract(7))
    assert not sample_contract(1).same_terms(sample_contract(1, minimum_rows=5))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            ("features", 0, "range"),
            {"low": 9, "high": 3},
            "features[0].range.high: expected at least low, which is 9, got 3",
        ),
        (("features", 0, "range"), {}, "features[0].range.high: expected low, high or both"),
        (("features", 0, "unit"), None, "features[0].unit: expected 1 to 500 characters"),
        (("features", 1, "range"), {"low": 1}, "features[1].range: expected no range"),
        (("features", 0, "categories"), ["a"], "features[0].categories: expected no categories"),
        (("features", 1, "categories"), ["a", "a"], "features[1].categories: expected every category once, 'a'"),
        (("features", 1, "categories"), [], "features[1].categories"),
        (("features", 1, "direction"), "up", 'features[1].direction: expected "none"'),
        (
            ("features", 0, "direction"),
            "upwards",
            "features[0].direction: expected 'up', 'down' or 'none', got 'upwards'",
        ),
        (("features", 0, "kind"), "number", "features[0].kind: expected 'numeric', 'category' or 'flag', got 'number'"),
        (("features", 0, "missing"), None, "features[0].missing: expected a value, got none"),
        (("features", 0, "sensitive"), "yes", "features[0].sensitive: expected"),
        (("features", 0, "name"), 'a"; DROP', "features[0].name: expected a column name"),
        (("features", 0, "group"), "Big Group", "features[0].group: expected a group name"),
        (("features", 0, "reason", "zh"), None, "features[0].reason.zh: expected a value, got none"),
        (("features", 0, "reason", "zh"), "", "features[0].reason.zh: expected 1 to 500 characters"),
        (("features", 0, "as_of"), "two\nlines", "features[0].as_of: expected 1 to 500 characters on one line"),
        (("features", 0, "meaning"), "x", "features[0].meaning: unknown key"),
        (("features", 1, "name"), "Income", "features: expected names that differ in more than capitals, 'income'"),
        (("features", 1, "name"), "BAD", "features: expected features only, and 'bad' is the label column"),
        (("features",), [], "features"),
        (("target", "performance_window"), "a while", "target.performance_window: expected a time span"),
        (("target", "positive"), 0, "target.positive: expected 1, got 0"),
        (("minimum_rows",), 0, "minimum_rows: expected"),
        (("format",), 2, "format: expected 1, got 2"),
    ],
)
def test_each_rule_names_key_expected_and_got(place: tuple[str | int, ...], value: object, said: str) -> None:
    """A broken rule is refused with the key, what was expected and, for plain values, what was there."""
    assert said in _refusal(_as_toml(_changed(place, value)))


def test_infinite_ends_are_refused() -> None:
    """An open end is left out: JSON has no infinity to sign."""
    assert "features[0].range.high" in _refusal(_GOOD.replace("high = 1000000", "high = inf"))


def test_a_contract_of_a_later_layout_is_refused_readably() -> None:
    """A member with older software is told to update, not that the document is broken."""
    later = sample_contract().payload().replace(b'"format":1', b'"format":2')
    with pytest.raises(VersionMismatchError, match="another layout"):
        contract_from_payload(later)


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"format":1}', b"\xff", b'{"format":1,"title":7}'])
def test_signed_nonsense_is_corrupt(payload: bytes) -> None:
    """A verified document that is no contract is refused as such."""
    with pytest.raises(CorruptError, match="feature contract"):
        contract_from_payload(payload)


def test_what_a_draft_left_open_is_listed() -> None:
    """Every place that a person still has to fill in is named by its key."""
    terms = sample_terms()
    terms["target"]["observation_window"] = CONFIRM_EN
    terms["features"][2]["reason"]["zh"] = f"{CONFIRM_ZH}: branch"
    contract = FeatureContract.model_validate(terms)
    assert contract.unconfirmed() == ("target.observation_window", "features.branch.reason.zh")
    assert sample_contract().unconfirmed() == ()


@pytest.mark.parametrize(
    ("span", "text"),
    [(Range(low=0, high=120), "0 to 120"), (Range(low=0.5), "at least 0.5"), (Range(high=1e6), "at most 1000000")],
)
def test_a_range_is_written_for_people(span: Range, text: str) -> None:
    """Reports say the allowed range in words."""
    assert str(span) == text
