"""Which of a bundle's arrays are what: those of a blend's models, and those of a second model beside the first.

A bundle can hold, under ``picked/``, the same model as it was when validation chose it: fitted without the validation
rows. What a lender chooses on its own validation rows has to be chosen with that one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from jointrisk.errors import CorruptError
from jointrisk.learning.bundle import Arrays
from jointrisk.settings import Settings

PICKED: Final = "picked/"
"""Begins the names of the second model's arrays."""


class Part(Settings):
    """One model of a blend.

    Attributes:
        name: begins, with a slash, the names of its arrays.
        architecture: of the model; no blend again.
        weight: of its log odds.
        settings: the architecture's.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    architecture: str
    weight: float = Field(ge=0, le=1, allow_inf_nan=False)
    settings: dict[str, Any]


_PARTS = TypeAdapter(Annotated[tuple[Part, ...], Field(min_length=1, max_length=16)])


def parts_of(settings: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return what a blend is made of.

    Args:
        settings: the bundle's.

    Raises:
        CorruptError: they say no such thing, or weights do not sum to 1.
    """
    try:
        parts = _PARTS.validate_python(settings.get("parts"))
    except ValidationError:
        raise CorruptError("expected name, architecture, weight and settings of a blend's parts, got others") from None
    names = {part.name for part in parts}
    if len(names) < len(parts) or PICKED.removesuffix("/") in names:
        raise CorruptError("expected parts of a blend with a name of their own, got others")
    if not np.isclose(sum(part.weight for part in parts), 1):
        raise CorruptError("expected the weights of a blend to sum to 1, got others")
    return parts


def arrays_by_part(parts: tuple[Part, ...], arrays: Arrays) -> list[Arrays]:
    """Return each part's arrays, by the names that they have where it stands alone.

    Raises:
        CorruptError: there are arrays of no part.
    """
    found = [under(f"{part.name}/", arrays) for part in parts]
    if sum(map(len, found)) != len(arrays):
        raise CorruptError("expected arrays of the blend's parts in the model bundle, got others as well")
    return found


def of_all_rows(arrays: Arrays) -> Arrays:
    """Return the arrays of the model that scores, without those of the second one."""
    return {name: value for name, value in arrays.items() if not name.startswith(PICKED)}


def under(prefix: str, arrays: Arrays) -> Arrays:
    """Return the arrays whose names begin so, by what comes after."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
