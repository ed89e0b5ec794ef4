"""The terms of a feature contract, and the rules that they must keep.

A contract names no federation: the coordinator of one signs its canonical payload, and so it holds there.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, ValidationError, ValidationInfo, field_validator

from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError, VersionMismatchError
from jointrisk.settings import Settings

CONTRACT = "contract"
"""The kind of a signed document that holds a feature contract."""

FORMAT: Final = 1
"""The only layout of a contract so far. A contract of a later layout is refused readably."""

MOST_VERSIONS: Final = 2**53
"""Version numbers stay below: every reader of JSON has them exactly."""

CONFIRM_EN = "TO CONFIRM"
CONFIRM_ZH = "待确认"
"""What a draft puts where only a person knows. A contract that still holds one cannot be published."""

_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_GROUP = re.compile(r"[a-z][a-z0-9-]{0,39}")
_WINDOW = re.compile(r"[1-9][0-9]{0,3} (days|months|years)")
_LONGEST_TEXT = 500


def _text(value: str) -> str:
    if not value or value != value.strip() or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"expected 1 to {_LONGEST_TEXT} characters on one line, with no space around them")
    return value


def _column(value: str) -> str:
    if not _COLUMN.fullmatch(value):
        raise ValueError("expected a column name: a letter, then letters, digits, _ and -, 63 at most")
    return value


def _group(value: str) -> str:
    if not _GROUP.fullmatch(value):
        raise ValueError("expected a group name: 1 to 40 small letters, digits and -, a letter first")
    return value


def _window(value: str) -> str:
    if value != CONFIRM_EN and not _WINDOW.fullmatch(value):
        raise ValueError('expected a time span such as "24 months", in days, months or years')
    return value


Text = Annotated[str, AfterValidator(_text)]
ColumnName = Annotated[str, AfterValidator(_column)]
Window = Annotated[str, AfterValidator(_window)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Kind = Literal["numeric", "category", "flag"]


class Range(Settings):
    """The values that a numeric feature can take, both ends included; an end left out is open.

    Attributes:
        low: the least value, in the feature's unit.
        high: the greatest value, in the feature's unit.
    """

    low: Number | None = None
    high: Number | None = None

    @field_validator("high")
    @classmethod
    def _not_below_low(cls, high: float | None, info: ValidationInfo) -> float | None:
        low = info.data.get("low")
        if high is None and low is None:
            raise ValueError("expected low, high or both in a range")
        if high is not None and low is not None and high < low:
            raise ValueError(f"expected at least low, which is {low:g}")
        return high

    def __str__(self) -> str:
        if self.low is None:
            return f"at most {self.high:.15g}"
        return f"at least {self.low:.15g}" if self.high is None else f"{self.low:.15g} to {self.high:.15g}"


class Reason(Settings):
    """What an applicant is told when this feature speaks against the application.

    Attributes:
        en: in English.
        zh: in Chinese.
    """

    en: Text
    zh: Text


class Feature(Settings):
    """One column of the table that every lender brings.

    Attributes:
        name: the column's name in the result of the lender's query.
        kind: "numeric", "category" (text) or "flag" (0 or 1).
        unit: what one unit of a numeric feature is, such as "years" or "USD per month".
        range: what a numeric feature can be; None for any finite number.
        categories: what a category can be, in the order of its codes; None for an open vocabulary.
        missing: whether a row may come without a value.
        direction: what a higher value (a set flag) is expected to do to the risk: "up", "down", or "none".
        sensitive: it describes a protected or intimate characteristic of a person.
        changeable_by_customer: a customer can change it, so that it can stand in advice.
        group: features of one group are explained together.
        as_of: at which moment, relative to application or observation, the value is taken, and from what.
        reason: what an applicant is told.
    """

    name: ColumnName
    kind: Kind
    unit: str = ""
    range: Range | None = None
    categories: Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)] | None = None
    missing: Literal["allowed", "refused"]
    direction: Literal["up", "down", "none"]
    sensitive: StrictBool
    changeable_by_customer: StrictBool
    group: Annotated[str, AfterValidator(_group)]
    as_of: Text
    reason: Reason

    @field_validator("unit")
    @classmethod
    def _numbers_have_units(cls, unit: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "numeric" or unit:
            return _text(unit)
        return unit

    @field_validator("range")
    @classmethod
    def _range_of_numbers(cls, value: Range | None, info: ValidationInfo) -> Range | None:
        if value is not None and info.data.get("kind") != "numeric":
            raise ValueError("expected no range: only a numeric feature has one")
        return value

    @field_validator("categories")
    @classmethod
    def _categories_of_categories(cls, value: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if value is not None and info.data.get("kind") != "category":
            raise ValueError("expected no categories: only a feature of kind category has them")
        if twice := _twice(value or ()):
            raise ValueError(f"expected every category once, {twice[0]!r} occurs more often")
        return value

    @field_validator("direction")
    @classmethod
    def _categories_have_no_direction(cls, value: str, info: ValidationInfo) -> str:
        if value != "none" and info.data.get("kind") == "category":
            raise ValueError('expected "none": categories have no order')
        return value


class Target(Settings):
    """What is predicted.

    Attributes:
        definition: when a loan counts as bad.
        observation_window: how far back, from the application, the features look.
        performance_window: how long after it the loan is watched for the bad event.
        label_column: the column with 1 for bad and 0 for good, in the result of the lender's query.
        positive: which label is the bad one; always 1.
    """

    definition: Text
    observation_window: Window
    performance_window: Window
    label_column: ColumnName
    positive: Literal[1] = 1


class FeatureContract(Settings):
    """What a federation's members have agreed to bring to training and scoring.

    Attributes:
        format: the layout of this document.
        version: 0 for a draft; the coordinator numbers what it publishes from 1.
        title: what people call it.
        minimum_rows: with fewer labelled rows a lender does not train.
        target: what is predicted.
        features: the columns, in the order in which models see them.
    """

    format: Literal[1] = FORMAT
    version: Annotated[int, Field(strict=True, ge=0, lt=MOST_VERSIONS)] = 0
    title: Text
    minimum_rows: Annotated[int, Field(strict=True, ge=1)]
    target: Target
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=2000)]

    @field_validator("features")
    @classmethod
    def _names_differ(cls, features: tuple[Feature, ...], info: ValidationInfo) -> tuple[Feature, ...]:
        # SQL does not tell Age from age.
        names = [feature.name.lower() for feature in features]
        if twice := _twice(names):
            raise ValueError(f"expected names that differ in more than capitals, {twice[0]!r} comes again")
        target = info.data.get("target")
        if target is not None and target.label_column.lower() in names:
            raise ValueError(f"expected features only, and {target.label_column!r} is the label column")
        return features

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(feature.name for feature in self.features)

    def payload(self) -> bytes:
        """Return the canonical bytes that are signed."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Return the SHA-256 of the payload, hex."""
        return hashlib.sha256(self.payload()).hexdigest()

    def with_version(self, version: int) -> Self:
        """Return the same terms under another version number."""
        return self.model_copy(update={"version": version})

    def same_terms(self, other: Self) -> bool:
        """Tell whether both say the same, whatever their version numbers."""
        return self.with_version(0) == other.with_version(0)

    def unconfirmed(self) -> tuple[str, ...]:
        """Return the keys that a draft left for a person to fill in."""
        return tuple(_unconfirmed(self.model_dump(exclude={"features"}), "")) + tuple(
            key for feature in self.features for key in _unconfirmed(feature.model_dump(), f"features.{feature.name}.")
        )


def contract_from_payload(payload: bytes) -> FeatureContract:
    """Read the payload of a contract whose signature has been verified.

    Raises:
        VersionMismatchError: it has a layout that this software does not know.
        CorruptError: it is no contract.
    """
    try:
        data = json.loads(payload)
    except ValueError:
        raise CorruptError("expected a feature contract, got something that is not JSON") from None
    if isinstance(data, dict) and data.get("format", FORMAT) != FORMAT:
        raise VersionMismatchError(
            f"the feature contract has another layout than {FORMAT}, the one known here",
            remedy="Install the version of jointrisk that the coordinator runs.",
        )
    try:
        return FeatureContract.model_validate(data)
    except ValidationError as error:
        places = {".".join(str(part) for part in one["loc"]) for one in error.errors(include_input=False)}
        raise CorruptError(f"expected a feature contract, got one that breaks its rules at {sorted(places)}") from None


def _twice(names: tuple[str, ...] | list[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _unconfirmed(data: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _unconfirmed(value, f"{prefix}{key}.")
        elif isinstance(value, str) and (CONFIRM_EN in value or CONFIRM_ZH in value):
            yield f"{prefix}{key}"
