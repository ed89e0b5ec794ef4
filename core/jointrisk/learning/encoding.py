"""How rows under a feature contract become a model's inputs: the part of a model that is fitted to summed counts.

A numeric feature becomes a piecewise-linear encoding (Gorishniy et al. 2022): input j is 0 below bin j, 1 above it, and
inside the share of the bin that lies below the value. A flag is itself. A category has one input for each word that
at least a minimum of rows holds, all members together, and one for all others. Where the contract lets a value be
missing there is an input that says so, and the others are 0.

Words: a closed vocabulary has the contract's codes. The words of an open one never leave their lender: a word is one of
4,096 buckets, by its hash (see :func:`bucket_of`), members send counts of buckets, and the encoding keeps buckets. Two
words that share a bucket are one to the model.

Rows are float32 [rows, features] in the contract's order: NaN for missing, the code or bucket for categories, as
:func:`with_buckets` makes them from a loan table.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from jointrisk.canonical import canonical_json
from jointrisk.errors import CorruptError, InvalidInputError
from jointrisk.federation.contract import Feature, FeatureContract
from jointrisk.settings import Settings

BUCKETS: Final = 4096
"""How many buckets the words of an open vocabulary fall into."""

Rows = NDArray[np.float32]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_FORMAT: Final = 1


class NumericEncoding(Settings):
    """A number as its place between edges.

    Attributes:
        name: the feature.
        missing: whether there is an input that says that the value is missing.
        edges: ascending single-precision numbers, one more than inputs; empty for a feature that says nothing.
    """

    kind: Literal["numeric"] = "numeric"
    name: str
    missing: bool
    edges: tuple[_Finite, ...]

    @field_validator("edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if len(edges) == 1 or any(low >= high for low, high in itertools.pairwise(edges)):
            raise ValueError("expected none, or two or more edges, each above the one before")
        if any(float(np.float32(edge)) != edge for edge in edges):
            raise ValueError("expected edges in single precision")
        return edges


class FlagEncoding(Settings):
    """A flag as itself.

    Attributes:
        name: the feature.
        missing: as with a number.
    """

    kind: Literal["flag"] = "flag"
    name: str
    missing: bool


class CategoryEncoding(Settings):
    """A category as one input for each word that is kept, and one for all others.

    Attributes:
        name: the feature.
        missing: as with a number.
        hashed: whether ``kept`` are buckets of an open vocabulary; else they are the contract's codes.
        kept: codes or buckets, ascending.
        other: whether there is an input for all other words.
    """

    kind: Literal["category"] = "category"
    name: str
    missing: bool
    hashed: bool
    kept: tuple[Annotated[int, Field(ge=0, lt=1 << 20)], ...]
    other: bool

    @field_validator("kept")
    @classmethod
    def _ascending(cls, kept: tuple[int, ...]) -> tuple[int, ...]:
        if list(kept) != sorted(set(kept)):
            raise ValueError("expected codes in order, each once")
        return kept


FeatureEncoding = Annotated[NumericEncoding | FlagEncoding | CategoryEncoding, Field(discriminator="kind")]


class Encoding(Settings):
    """The encoding of every feature of a contract, in its order.

    Attributes:
        format: the layout of this document.
        features: one encoding each.
    """

    format: Literal[1] = _FORMAT
    features: tuple[FeatureEncoding, ...]

    @classmethod
    def from_payload(cls, payload: bytes) -> "Encoding":
        """Read what :meth:`payload` wrote.

        Raises:
            CorruptError: it is something else.
        """
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            places = {".".join(str(part) for part in one["loc"]) for one in error.errors(include_input=False)}
            raise CorruptError(f"expected an encoding, got one that breaks its rules at {sorted(places)}") from None

    def payload(self) -> bytes:
        """Return the canonical bytes."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Return the SHA-256 of the payload, hex."""
        return hashlib.sha256(self.payload()).hexdigest()

    @property
    def width(self) -> int:
        """How many inputs a row becomes: for each feature its bins or words, then other, then missing."""
        return len(self._plan.source)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Where each feature's inputs begin and end."""
        widths = (len(_ramps(feature)) + feature.missing for feature in self.features)
        return tuple(itertools.pairwise(itertools.accumulate(widths, initial=0)))

    def encode(self, rows: Rows) -> Rows:
        """Return the inputs, float32 [rows, width], all between 0 and 1.

        Args:
            rows: see the module.

        Raises:
            InvalidInputError: there are not as many columns as features.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.features):  # noqa: PLR2004 - a matrix
            raise InvalidInputError(f"rows: expected {len(self.features)} columns, got {rows.shape[1:]}")
        return self._plan.apply(rows)

    @cached_property
    def _plan(self) -> "_Plan":
        return _Plan(self.features)


class _Plan:
    """All inputs as one formula: ``clip((column - low) * slope, 0, 1)``, and equality and absence where they differ."""

    def __init__(self, features: Sequence[NumericEncoding | FlagEncoding | CategoryEncoding]) -> None:
        source, low, slope = list[int](), list[float](), list[float]()
        self.codes, self.others, self.absent = list[tuple[int, int]](), list[tuple[int, int, Any]](), list[int]()
        for place, feature in enumerate(features):
            for start, rise in _ramps(feature):
                source.append(place)
                low.append(start)
                slope.append(rise)
            if isinstance(feature, CategoryEncoding):
                begin = len(source) - len(feature.kept) - feature.other
                self.codes += [(begin + offset, code) for offset, code in enumerate(feature.kept)]
                if feature.other:
                    self.others.append((len(source) - 1, place, np.array(feature.kept, dtype=np.float32)))
            if feature.missing:
                self.absent.append(len(source))
                source.append(place)
                low.append(0.0)
                slope.append(0.0)
        self.source = np.array(source, dtype=np.intp)
        self.low, self.slope = np.array(low, dtype=np.float32), np.array(slope, dtype=np.float32)

    def apply(self, rows: Rows) -> Rows:
        taken = rows[:, self.source]
        with np.errstate(over="ignore"):
            inputs: Rows = (taken - self.low) * self.slope
        np.clip(inputs, 0, 1, out=inputs)
        inputs[np.isnan(taken)] = 0
        for column, code in self.codes:
            inputs[:, column] = taken[:, column] == code
        for column, place, kept in self.others:
            inputs[:, column] = ~np.isnan(rows[:, place]) & ~np.isin(rows[:, place], kept)
        for column in self.absent:
            inputs[:, column] = np.isnan(taken[:, column])
        return inputs


def _ramps(feature: NumericEncoding | FlagEncoding | CategoryEncoding) -> list[tuple[float, float]]:
    """Return where each input of a feature begins to rise, and how steeply."""
    if isinstance(feature, FlagEncoding):
        return [(0.0, 1.0)]
    if isinstance(feature, CategoryEncoding):
        return [(0.0, 0.0)] * (len(feature.kept) + feature.other)
    return [(low, 1 / (high - low)) for low, high in zip(feature.edges, feature.edges[1:], strict=False)]


def bucket_of(word: str) -> int:
    """Return the bucket of a word of an open vocabulary: the first 12 bits of BLAKE2b of its UTF-8."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=2).digest(), "big") >> 4


def with_buckets(contract: FeatureContract, rows: Rows, vocabularies: Mapping[str, Sequence[str]]) -> Rows:
    """Return rows in which the codes of open vocabularies are replaced by buckets.

    Args:
        contract: what the columns are.
        rows: as a loan table has them: an open vocabulary's codes are the lender's own.
        vocabularies: name to words, in the order of their codes.
    """
    places = [place for place, feature in enumerate(contract.features) if is_open(feature)]
    if not places:
        return rows
    rows = rows.copy()
    for place in places:
        words = vocabularies.get(contract.features[place].name, ())
        buckets = np.array([*(bucket_of(word) for word in words), np.nan], dtype=np.float32)
        codes = np.where(np.isnan(rows[:, place]), len(words), rows[:, place]).astype(np.intp)
        rows[:, place] = buckets[codes]
    return rows


def is_open(feature: Feature) -> bool:
    """Tell whether a feature's words are not listed in the contract."""
    return feature.kind == "category" and feature.categories is None
