"""From a contract to SQL: for every column its value and the number of the rule that a row breaks.

The contract comes from outside: names and words of it stand in the SQL quoted only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jointrisk.federation.contract import Feature, FeatureContract
from jointrisk_node.data.report import Rule

ROW_RULES = (
    Rule.MISSING,
    Rule.NOT_A_NUMBER,
    Rule.NOT_FINITE,
    Rule.OUT_OF_RANGE,
    Rule.NOT_A_CATEGORY,
    Rule.NOT_A_FLAG,
    Rule.WRONG_TYPE,
    Rule.LABEL_MISSING,
    Rule.LABEL_NOT_BINARY,
)
"""The rules that one row can break. In the SQL each is its place here, from 1; 0 is none."""

_WHOLE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
_FRACTION = re.compile(r"FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)")
_TEXT = re.compile(r"VARCHAR|ENUM\(.*\)")
# What a model gets is single precision.
_GREATEST = "'3.4028234663852886e38'::DOUBLE"


@dataclass(frozen=True)
class Column:
    """One column of the contract, found in the loan book.

    Attributes:
        name: as the contract names it.
        value: SQL of what models get: FLOAT, VARCHAR for an open vocabulary, UTINYINT for the label.
        broken: SQL of the number of the broken rule, UTINYINT.
        expected: by rule, what the contract asks for.
    """

    name: str
    value: str
    broken: str
    expected: Mapping[Rule, str]


def plan(contract: FeatureContract, found: Mapping[str, str]) -> tuple[list[Column], list[str]]:
    """Return a column for each name of the contract that the book has, and the names that it has not.

    Args:
        contract: the contract. Its label column comes last in what is returned.
        found: the book's columns, name to SQL type.
    """
    by_name = {name.lower(): (quoted_name(name), kind) for name, kind in found.items()}
    label = contract.target.label_column
    wanted: list[Feature | None] = [*contract.features, None]
    columns, missing = [], []
    for feature in wanted:
        name = feature.name if feature else label
        if name.lower() not in by_name:
            missing.append(name)
        else:
            cell, kind = by_name[name.lower()]
            columns.append(_feature(feature, cell, kind) if feature else _label(label, cell, kind))
    return columns, missing


def quoted_name(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _feature(feature: Feature, cell: str, kind: str) -> Column:
    if feature.kind == "category":
        return _category(feature, cell, kind)
    number = _number(cell, kind, truth=feature.kind == "flag")
    if number is None:
        return _wrong_type(feature.name, kind, "NULL", "FLOAT")
    if feature.kind == "flag":
        rule = f"WHEN {number} NOT IN (0, 1) OR {number} IS NULL THEN {_code(Rule.NOT_A_FLAG)}"
    else:
        rule = _numeric_rules(feature, number)
    return Column(
        feature.name,
        f"TRY_CAST({number} AS FLOAT)",
        _case(_absent(cell, kind), feature, rule),
        {
            Rule.MISSING: "a value in every row",
            Rule.NOT_A_NUMBER: "a number",
            Rule.NOT_FINITE: "a finite number of single precision",
            Rule.OUT_OF_RANGE: str(feature.range),
            Rule.NOT_A_FLAG: "0 or 1",
        },
    )


def _numeric_rules(feature: Feature, number: str) -> str:
    rules = [
        f"WHEN {number} IS NULL THEN {_code(Rule.NOT_A_NUMBER)}",
        # A comparison alone does not find NaN: DuckDB leaves it out where a file's statistics promise that it holds.
        f"WHEN NOT isfinite({number}) OR abs({number}) > {_GREATEST} THEN {_code(Rule.NOT_FINITE)}",
    ]
    span = feature.range
    for end, sign in ((span.low, "<"), (span.high, ">")) if span else ():
        if end is not None:
            rules.append(f"WHEN {number} {sign} '{end!r}'::DOUBLE THEN {_code(Rule.OUT_OF_RANGE)}")
    return " ".join(rules)


def _category(feature: Feature, cell: str, kind: str) -> Column:
    word = _word(cell, kind)
    if word is None:
        return _wrong_type(feature.name, kind, "NULL", "FLOAT" if feature.categories else "VARCHAR")
    expected = {Rule.MISSING: "a value in every row", Rule.NOT_A_CATEGORY: "one of the contract's categories"}
    if feature.categories is None:
        return Column(feature.name, word, _case(f"{word} IS NULL", feature, ""), expected)
    vocabulary = ", ".join(quoted_text(category) for category in feature.categories)
    code = f"enum_code(TRY_CAST({word} AS ENUM({vocabulary})))"
    rule = f"WHEN {code} IS NULL THEN {_code(Rule.NOT_A_CATEGORY)}"
    return Column(feature.name, f"CAST({code} AS FLOAT)", _case(f"{word} IS NULL", feature, rule), expected)


def _label(name: str, cell: str, kind: str) -> Column:
    number = _number(cell, kind, truth=True)
    if number is None:
        return _wrong_type(name, kind, "0", "UTINYINT")
    broken = (
        f"CASE WHEN {_absent(cell, kind)} THEN {_code(Rule.LABEL_MISSING)} "
        f"WHEN {number} NOT IN (0, 1) OR {number} IS NULL THEN {_code(Rule.LABEL_NOT_BINARY)} ELSE 0 END"
    )
    value = f"CASE WHEN {number} = 1 THEN 1 ELSE 0 END"
    expected = {Rule.LABEL_MISSING: "0 or 1 in every row", Rule.LABEL_NOT_BINARY: "0 (good) or 1 (bad)"}
    return Column(name, f"CAST({value} AS UTINYINT)", f"CAST({broken} AS UTINYINT)", expected)


def _wrong_type(name: str, kind: str, value: str, wanted: str) -> Column:
    """Every row of such a column breaks the rule. The type is the database's own word for it, no value."""
    expected = f"a type that can be read as the contract says, the column is {kind.split('(', maxsplit=1)[0]}"
    return Column(
        name, f"CAST({value} AS {wanted})", f"CAST({_code(Rule.WRONG_TYPE)} AS UTINYINT)", {Rule.WRONG_TYPE: expected}
    )


def _number(cell: str, kind: str, *, truth: bool) -> str | None:
    """Return SQL of a cell as DOUBLE, NULL where it is no number; None where the type has no numbers."""
    if _WHOLE.fullmatch(kind) or _FRACTION.fullmatch(kind) or (truth and kind == "BOOLEAN"):
        return f"CAST({cell} AS DOUBLE)"
    return f"TRY_CAST(trim(CAST({cell} AS VARCHAR)) AS DOUBLE)" if _TEXT.fullmatch(kind) else None


def _word(cell: str, kind: str) -> str | None:
    """Return SQL of a cell as a category's text; 3.0 is "3", as a column of whole numbers with gaps is often stored."""
    if _TEXT.fullmatch(kind):
        return f"nullif(trim(CAST({cell} AS VARCHAR)), '')"
    if _WHOLE.fullmatch(kind) or kind == "BOOLEAN":
        return f"CAST({cell} AS VARCHAR)"
    if _FRACTION.fullmatch(kind):
        whole, text = f"CAST(TRY_CAST({cell} AS HUGEINT) AS VARCHAR)", f"CAST({cell} AS VARCHAR)"
        return f"CASE WHEN {cell} = trunc({cell}) THEN coalesce({whole}, {text}) ELSE {text} END"
    return None


def _absent(cell: str, kind: str) -> str:
    return f"{_word(cell, kind) if _TEXT.fullmatch(kind) else cell} IS NULL"


def _case(absent: str, feature: Feature, rule: str) -> str:
    missing = _code(Rule.MISSING) if feature.missing == "refused" else 0
    return f"CAST(CASE WHEN {absent} THEN {missing} {rule} ELSE 0 END AS UTINYINT)"


def _code(rule: Rule) -> int:
    return ROW_RULES.index(rule) + 1
