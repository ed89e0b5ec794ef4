"""Persons as they are asked about: identifiers in any spelling become canonical ones, each once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jointrisk.errors import InvalidInputError

if TYPE_CHECKING:
    from jointrisk.identifiers import Identifier

MOST_IDENTIFIERS: Final = 16
"""Identifiers of one person, at most."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person, or a firm. The `repr` shows nothing.

    Attributes:
        identifiers: canonical, 1 to 16, each once.
    """

    identifiers: "tuple[Identifier, ...]" = field(repr=False)


@dataclass(frozen=True, slots=True)
class Given:
    """An identifier in any of its spellings; it is in no `repr`.

    Attributes:
        kind: such as ``phone``.
        country: ISO 3166-1 alpha-2.
        value: the identifier.
    """

    kind: str
    country: str
    value: str = field(repr=False)


def person_of(given: Iterable[Given]) -> Person:
    """Return the person that these identifiers are of.

    Raises:
        InvalidInputError: one of them breaks a rule of its kind, or there are none or too many. The message names kind
            and rule, never the value.
    """
    from jointrisk.identifiers import canonicalise

    identifiers = tuple(dict.fromkeys(canonicalise(one.kind, one.country, one.value) for one in given))
    if not 1 <= len(identifiers) <= MOST_IDENTIFIERS:
        raise InvalidInputError(f"expected 1 to {MOST_IDENTIFIERS} identifiers of a person, got {len(identifiers)}")
    return Person(identifiers)
