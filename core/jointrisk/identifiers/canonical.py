"""One door for all kinds of identifiers."""

from collections.abc import Callable

from jointrisk.identifiers.contact import email, phone
from jointrisk.identifiers.countries import country_code
from jointrisk.identifiers.device import device_id
from jointrisk.identifiers.documents import passport, passport_country, uscc
from jointrisk.identifiers.identifier import Identifier, Kind
from jointrisk.identifiers.resident import resident_id
from jointrisk.identifiers.rules import Rule, refusal

_RULES: dict[Kind, Callable[[str, str], str | Rule]] = {
    Kind.RESIDENT_ID: resident_id,
    Kind.PASSPORT: passport,
    Kind.USCC: uscc,
    Kind.PHONE: phone,
    Kind.EMAIL: email,
    Kind.DEVICE_ID: device_id,
}
_BY_NAME = {kind.value: kind for kind in Kind}
_WORLDWIDE = frozenset({Kind.PHONE, Kind.EMAIL, Kind.DEVICE_ID})


def canonicalise(kind: str | Kind, country: str, value: str) -> Identifier:
    """Return the identifier that a value spells.

    Args:
        kind: a ``Kind`` or its value.
        country: ISO 3166-1 alpha-2 code: of the issuing country, and for the kinds that are unique worldwide the
            lender's default, which only phones use, for numbers without a country code.
        value: the identifier, in any of its spellings.

    Raises:
        InvalidInputError: the value breaks a rule of its kind, or the kind or country is not known. The message is
            the kind and a sentence of ``Rule``, it never holds what was given.
    """
    known = _known_kind(kind)
    where = country_code(country)
    if isinstance(where, Rule):
        raise refusal("country", where)
    outcome = _RULES[known](where, str(value)) if isinstance(value, str) else Rule.TEXT
    if isinstance(outcome, Rule):
        raise refusal(known.value, outcome)
    return Identifier(known, _issuer(known, where), outcome)


def _known_kind(kind: object) -> Kind:
    if not isinstance(kind, str) or kind not in _BY_NAME:
        raise refusal("kind", Rule.KIND)
    return _BY_NAME[kind]


def _issuer(kind: Kind, country: str) -> str:
    """Return the country that the canonical form belongs to."""
    if kind in _WORLDWIDE:
        return ""
    return passport_country(country) if kind is Kind.PASSPORT else country
