"""One applicant's values, checked against the feature contract by the rules that loan books are checked by."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import Feature, FeatureContract
from jointrisk.learning.encoding import bucket_of
from jointrisk_node.data.report import Breach, Rule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = float | str | bool | None
_GREATEST: Final = 3.4028234663852886e38  # of single precision
_LARGEST_WORD = 10_000


@dataclass(frozen=True)
class Checked:
    """What came of an applicant's values.

    Attributes:
        row: float32 [features] for the scorer; of no use where there are breaches.
        breaches: what breaks the contract; never a value.
    """

    row: "NDArray[np.float32]"
    breaches: tuple[Breach, ...]


class _Broken(Exception):  # noqa: N818 - no error: an outcome
    def __init__(self, rule: Rule, expected: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.expected = expected


class ApplicantCheck:
    """The check of single applicants under one contract.

    Args:
        contract: the contract.
    """

    def __init__(self, contract: FeatureContract) -> None:
        self._features = [(feature, _reader(feature)) for feature in contract.features]
        self._names = frozenset(contract.names)

    def check(self, values: Mapping[str, Value]) -> Checked:
        """Check an applicant's values; those that are absent are missing.

        Raises:
            InvalidInputError: there are names that the contract does not have.
        """
        import numpy as np

        if strangers := set(values) - self._names:
            raise InvalidInputError(
                f"expected features of the contract, got {len(strangers)} other name(s)",
                remedy=f"The contract's features are: {', '.join(sorted(self._names))}.",
            )
        row = np.full(len(self._features), np.nan, dtype=np.float32)
        breaches = []
        for place, (feature, read) in enumerate(self._features):
            try:
                row[place] = _read(feature, read, values.get(feature.name))
            except _Broken as broken:
                breaches.append(Breach(feature.name, broken.rule, broken.expected, 1))
        return Checked(row, tuple(breaches))


def _read(feature: Feature, read: Callable[[float | str | bool], float], value: Value) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        if feature.missing == "refused":
            raise _Broken(Rule.MISSING, "a value in every row")
        return math.nan
    return read(value)


def _reader(feature: Feature) -> Callable[[float | str | bool], float]:
    if feature.kind == "category":
        codes = {word: float(code) for code, word in enumerate(feature.categories or ())}
        return lambda value: _category(feature, codes, value)
    if feature.kind == "flag":
        return _flag
    return lambda value: _number(feature, value)


def _number(feature: Feature, value: float | str | bool) -> float:
    if isinstance(value, bool):
        raise _Broken(Rule.WRONG_TYPE, "a number")
    number = _parsed(value)
    if number is None:
        raise _Broken(Rule.NOT_A_NUMBER, "a number")
    if not abs(number) <= _GREATEST:
        raise _Broken(Rule.NOT_FINITE, "a finite number of single precision")
    low, high = (feature.range.low, feature.range.high) if feature.range else (None, None)
    if (low is not None and number < low) or (high is not None and number > high):
        raise _Broken(Rule.OUT_OF_RANGE, str(feature.range))
    return number


def _flag(value: float | str | bool) -> float:
    number = float(value) if isinstance(value, bool) else _parsed(value)
    if number not in {0.0, 1.0}:
        raise _Broken(Rule.NOT_A_FLAG, "0 or 1")
    return number


def _parsed(value: float | str) -> float | None:
    if not isinstance(value, str):
        return float(value)
    try:
        return None if "_" in value else float(value)
    except ValueError:
        return None


def _category(feature: Feature, codes: Mapping[str, float], value: float | str | bool) -> float:
    word = _word(value)
    if feature.categories is None:
        if len(word) > _LARGEST_WORD:
            raise _Broken(Rule.NOT_A_CATEGORY, f"at most {_LARGEST_WORD} characters")
        return float(bucket_of(word))
    if word not in codes:
        raise _Broken(Rule.NOT_A_CATEGORY, "one of the contract's categories")
    return codes[word]


def _word(value: float | str | bool) -> str:
    """Return a category's text: 3.0 is "3", as where books are read."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()
    return str(int(value)) if math.isfinite(value) and value == math.trunc(value) else repr(value)
