"""A draft of a feature contract from a sample file: what can be seen is proposed, what only people know is marked."""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import (
    CONFIRM_EN,
    CONFIRM_ZH,
    Feature,
    FeatureContract,
    Range,
    Reason,
    Target,
    contract_to_toml,
)
from jointrisk_coordinator.contracts.profiling import ColumnProfile, Sample, open_sample

_LABEL_WORDS = ("default", "bad", "target", "label", "delinq", "dlq", "chargeoff", "chargedoff", "overdue", "y")
_SENSITIVE_WORDS = re.compile(
    r"(?<![a-z])(age|sex|gender|marital|marriage|married|religion|race|ethnic|nation|dependent|child|health|disab|birth)"
)
_IDENTIFIER = re.compile(r"(?<![a-z])(id|uuid|key|number|no|phone|email|name|account|customer|client|index)(?![a-z])")
_MINIMUM_ROWS = 1000
_DIGITS = 2
_MANY = 50
_LONGEST_NAME = 55


@dataclass
class Draft:
    """A proposal, for people to finish.

    Attributes:
        contract: the terms; version 0, and with places to confirm that keep it from being published.
        notes: what to confirm, by key; comments of the TOML.
        left_out: columns of the sample that are no features, and why.
    """

    contract: FeatureContract
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def toml(self) -> str:
        """Return the draft as commented TOML."""
        return "".join(f"# {line}\n" for line in self._head()) + "\n" + contract_to_toml(self.contract, self.notes)

    def _head(self) -> Iterator[str]:
        yield "DRAFT. A person confirms every line with a CONFIRM comment, and replaces every"
        yield f'"{CONFIRM_EN}" and "{CONFIRM_ZH}": until then it cannot be published.'
        for name, why in self.left_out.items():
            yield f"Left out: {name if name.isprintable() else '(unprintable)'} ({why})"


def draft(path: Path, label: str | None = None) -> Draft:
    """Propose a contract from a sample of one lender's loans.

    Args:
        path: a Parquet or CSV file.
        label: the label column; None to guess it among the columns of 0 and 1.

    Raises:
        InvalidInputError: the file cannot be read, has no features, or no label column can be found.
        NotFoundError: there is no such file.
    """
    with open_sample(path) as sample:
        return draft_of(sample, path, label)


def draft_of(sample: Sample, path: Path, label: str | None = None) -> Draft:
    """Propose a contract from a sample that is open already.

    Args:
        sample: the loans.
        path: where they come from; gives the title.
        label: as with `draft`.

    Raises:
        InvalidInputError: it has no features, or no label column can be found.
    """
    columns = sample.columns()
    target = _label(columns, label)
    work = _Work(sample, target)
    for column in columns:
        if column.name != target.name:
            work.take(column)
    return work.finish(path, guessed=label is None)


def _label(columns: list[ColumnProfile], name: str | None) -> ColumnProfile:
    if name is not None:
        found = [column for column in columns if column.name.lower() == name.lower() and column.is_binary]
    else:
        found = _likely_labels([column for column in columns if column.is_binary and column.present == column.rows])
    if len(found) != 1:
        binary = ", ".join(column.name for column in columns if column.is_binary) or "none"
        raise InvalidInputError(
            f"expected one label column of 0 and 1 in every row; columns of 0 and 1: {binary}",
            remedy="Name it with --label.",
        )
    return found[0]


def _likely_labels(binary: list[ColumnProfile]) -> list[ColumnProfile]:
    """Return the columns with the best name; all of them when no name says anything."""

    def rank(column: ColumnProfile) -> int:
        name = re.sub(r"[^a-z]", "", column.name.lower())
        near = (place for place, word in enumerate(_LABEL_WORDS) if (word in name if len(word) > 1 else word == name))
        return next(near, len(_LABEL_WORDS))

    best = min(map(rank, binary), default=0)
    return [column for column in binary if rank(column) == best]


class _Work:
    """A draft in the making.

    Args:
        sample: the file.
        label: its label column.
    """

    def __init__(self, sample: Sample, label: ColumnProfile) -> None:
        self._sample = sample
        self._label = label
        self._features: dict[str, Feature] = {}
        self._notes: dict[str, str] = {}
        self._left_out: dict[str, str] = {}

    def take(self, column: ColumnProfile) -> None:
        """Make a feature of a column, or leave it out."""
        if why := _unfit(column):
            self._left_out[column.name] = why
            return
        name = self._usable_name(column.name)
        feature = self._features[name] = self._feature(name, column)
        self._notes |= {f"features.{name}.{key}": note for key, note in _notes(feature, column).items()}

    def finish(self, path: Path, *, guessed: bool) -> Draft:
        """Return the draft."""
        if not self._features:
            raise InvalidInputError(f"no column of {path} can be a feature: {self._left_out}")
        label = self._usable_name(self._label.name)
        target = Target(
            definition=CONFIRM_EN,
            observation_window=CONFIRM_EN,
            performance_window=CONFIRM_EN,
            label_column=label,
        )
        title = "".join(sign for sign in path.name.split(".")[0] if sign.isprintable()).strip()
        contract = FeatureContract(
            title=title or CONFIRM_EN,
            minimum_rows=_MINIMUM_ROWS,
            target=target,
            features=tuple(self._features.values()),
        )
        notes = {"title": "CONFIRM", "minimum_rows": "CONFIRM: fewer labelled rows, no training"} | self._notes
        if guessed:
            notes["target.label_column"] = "CONFIRM: guessed; 1 must be the bad loan"
        return Draft(contract, notes, self._left_out)

    def _usable_name(self, name: str) -> str:
        """Return a name that contracts allow and no feature has; lenders rename the column in their query."""
        return usable_name(name, self._features)

    def _feature(self, name: str, column: ColumnProfile) -> Feature:
        kind = "flag" if column.is_binary else "numeric" if column.is_number else "category"
        low, high = column.low, column.high
        return Feature(
            name=name,
            kind=kind,
            unit=CONFIRM_EN if kind == "numeric" else "",
            range=_outward(low, high) if kind == "numeric" and low is not None and high is not None else None,
            categories=column.words or None,
            missing="refused" if column.present == column.rows else "allowed",
            direction="none" if kind == "category" else self._sample.direction(column.name, self._label.name),
            sensitive=bool(_SENSITIVE_WORDS.search(_spaced(column.name).lower())),
            changeable_by_customer=False,
            group="general",
            as_of=CONFIRM_EN,
            reason=Reason(en=f"{CONFIRM_EN}: {_spaced(name)}", zh=f"{CONFIRM_ZH} {name}"),
        )


def usable_name(name: str, taken: Iterable[str]) -> str:
    """Return a name that contracts allow and that is none of those ``taken``."""
    base = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:_LONGEST_NAME]
    if not base[:1].isalpha():
        base = f"column_{base}".rstrip("_")
    others = {other.lower() for other in taken}
    numbered = (f"{base}_{number}" for number in itertools.count(2))
    return next(
        usable for usable in (base, *itertools.islice(numbered, len(others) + 1)) if usable.lower() not in others
    )


def _unfit(column: ColumnProfile) -> str:
    """Return why a column can be no feature; an empty text when it can."""
    if not column.present:
        return "no value in any row"
    if not (column.is_number or column.is_text or column.is_binary or column.type == "BOOLEAN"):
        return f"type {column.type.split('(', maxsplit=1)[0]}"
    if column.distinct == 1:
        return "the same value in every row"
    return "looks like an identifier or free text" if _is_identifier(column) else ""


def _is_identifier(column: ColumnProfile) -> bool:
    """Tell whether a value could point to one person: the draft is published to all members."""
    if column.is_text:
        return column.distinct * 2 > column.present or (not column.words and column.distinct <= _MANY)
    if column.low is None or column.high is None:
        return False
    whole = not column.type.startswith(("FLOAT", "DOUBLE", "DECIMAL"))
    dense = column.high - column.low < 2 * column.present
    if whole and dense and column.distinct == column.present >= _MANY:
        return True
    return column.distinct * 2 > column.present and bool(_IDENTIFIER.search(_spaced(column.name).lower()))


def _notes(feature: Feature, column: ColumnProfile) -> dict[str, str]:
    notes = {"name": "CONFIRM: named otherwise in the sample"} if feature.name != column.name else {}
    notes |= {"group": "CONFIRM", "changeable_by_customer": "CONFIRM", "sensitive": "CONFIRM: guessed from the name"}
    notes["missing"] = f"CONFIRM: {column.rows - column.present} of {column.rows} rows of the sample have no value"
    if feature.kind != "category":
        notes["direction"] = "CONFIRM: from the rank correlation in the sample"
    if feature.range is not None:
        notes["range"] = "CONFIRM: the sample's, rounded outwards"
    if feature.categories is not None:
        notes["categories"] = "CONFIRM: the words of 5 rows of the sample or more"
    elif feature.kind == "category":
        notes["kind"] = f"CONFIRM: {column.distinct} different words in the sample, so the vocabulary is open"
    return notes


def _outward(low: float, high: float) -> Range:
    """Return a range around what was seen, ends rounded to two digits: the sample's extremes are somebody's."""
    if low >= 0 and low < high / 10:
        return Range(low=0.0, high=_rounded(high, math.ceil))
    return Range(low=_rounded(low, math.floor), high=_rounded(high, math.ceil))


def _rounded(value: float, whole: Callable[[float], int]) -> float:
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - _DIGITS + 1)
    outer = float(f"{whole(value / step) * step:.{_DIGITS}g}")
    return outer if math.isfinite(outer) else value


def _spaced(name: str) -> str:
    """Return ``MonthlyIncome`` and ``monthly_income`` as "Monthly income" and "monthly income"."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name.replace("_", " ")).split()
    return " ".join(word if at == 0 or word.isupper() else word.lower() for at, word in enumerate(words))
