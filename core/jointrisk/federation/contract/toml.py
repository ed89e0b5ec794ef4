"""Feature contracts as people write and read them: commented TOML."""

import json
from collections.abc import Iterator, Mapping

from jointrisk.federation.contract.terms import Feature, FeatureContract
from jointrisk.settings import parse_toml

_HEAD = """\
# Feature contract: the columns that every lender of the federation brings, and what is predicted.
# Every key is explained in docs/feature-contract.md.
"""
_FEATURES = """
# The features, in the order in which models see them.
#   kind       numeric | category | flag (0 or 1)
#   range      what a number can be, both ends included; leave an end, or the key, out for an open one
#   categories what a category can be; leave it out for an open vocabulary
#   missing    allowed | refused
#   direction  what a higher value (a set flag) is expected to do to the risk: up | down | none
#   as_of      at which moment the value is taken, and from what
#   reason     what an applicant is told when this speaks against the application
"""


def contract_from_toml(text: str, where: str = "the contract") -> FeatureContract:
    """Read a contract.

    Args:
        text: the TOML.
        where: the name of its source, for messages.

    Raises:
        InvalidInputError: it is not TOML or breaks the rules of a contract; the message names the keys.
    """
    return parse_toml(text, FeatureContract, where)


def contract_to_toml(contract: FeatureContract, notes: Mapping[str, str] | None = None) -> str:
    """Write a contract so that `contract_from_toml` reads the same one back.

    Args:
        contract: the contract.
        notes: comments by key, such as ``target.label_column`` or ``features.age.range``; put behind the key.
    """
    return "\n".join(_lines(contract, notes or {})) + "\n"


def _lines(contract: FeatureContract, notes: Mapping[str, str]) -> Iterator[str]:
    yield _HEAD
    top = contract.model_dump(exclude={"target", "features"}, exclude_none=True)
    if not contract.version:
        del top["version"]
    yield from _keys(top, "", notes)
    yield "\n[target]"
    yield from _keys(contract.target.model_dump(), "target.", notes)
    yield _FEATURES.rstrip("\n")
    for feature in contract.features:
        yield "\n[[features]]"
        yield from _keys(_plain(feature), f"features.{feature.name}.", notes)


def _plain(feature: Feature) -> dict[str, object]:
    plain = {key: value for key, value in feature if value is not None and value != ""}
    plain["reason"] = feature.reason.model_dump()
    if feature.range is not None:
        plain["range"] = feature.range.model_dump(exclude_none=True)
    return plain


def _keys(table: Mapping[str, object], prefix: str, notes: Mapping[str, str]) -> Iterator[str]:
    for key, value in table.items():
        note = notes.get(prefix + key)
        yield f"{key} = {_value(value)}" + (f"  # {note}" if note else "")


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return _number(value)
        case dict():
            return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
        case tuple():
            return "[" + ", ".join(_value(inner) for inner in value) + "]"
        case _:
            # A JSON string without control characters is a TOML string.
            return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """Write 120.0 as 120: a whole number reads back as the same float."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)  # noqa: PLR2004 - all digits
