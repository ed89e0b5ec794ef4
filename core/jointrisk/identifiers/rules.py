"""Why an identifier is refused: a fixed set of sentences, so that no message can hold the identifier."""

from enum import Enum

from jointrisk.errors import InvalidInputError


class Rule(Enum):
    """A rule that a value breaks. The value of a member is the sentence for people."""

    KIND = "expected one of the known kinds"
    COUNTRY = "expected a country as its ISO 3166-1 alpha-2 code, such as CN"
    KIND_OF_COUNTRY = "this kind of identifier is not supported for this country"
    TEXT = "expected text, got another type"
    EMPTY = "expected a value, got blank text"
    LENGTH = "the number of characters is not one that this kind has"
    ONE_LINE = "expected one line, got a line break inside"
    CHARACTERS = "holds a character that this kind never has"
    NUMBER = "was written as a floating-point number, so digits may be lost"
    PLACEHOLDER = "is a placeholder that many share, not an identifier"
    FORM = "letters and digits are not in the order that this kind has"
    CHECKSUM = "the check digit does not match the other digits"
    REGION = "does not begin with the code of a province"
    DATE = "the birth date in it is no date"
    CENTENARIAN = "a 15-digit form with an order code of 996 to 999 does not tell the century"
    PHONE_EXTENSION = "holds letters or an extension"
    PHONE_COUNTRY = "a national number of a country without a numbering plan, or an unknown country code"
    PHONE_SHORT = "a short number, or one without its area code"
    PHONE_UNASSIGNED = "not in the numbering plan of its country, or without its area code"
    PHONE_SHARED = (
        "a kind of number that does not belong to one person or firm: free, premium or shared cost, voicemail"
    )
    EMAIL_FORM = "expected name@domain"
    EMAIL_LOCAL = "the part before the @ holds what is not allowed there"
    EMAIL_DOMAIN = "the part after the @ is no domain name"
    EMAIL_DOTTED_I = "holds an i that upper or lower case of another language may have changed"


_REMEDIES = {
    Rule.KIND: "Kinds: resident_id, passport, uscc, phone, email, device_id.",
    Rule.KIND_OF_COUNTRY: "docs/identifiers.md lists the countries of each kind; use another kind, such as phone.",
    Rule.TEXT: "Read the column as text: a number has lost its leading zeros, and beyond 15 digits its last ones.",
    Rule.NUMBER: "Export the column as text again from where it came: the lost digits cannot be restored.",
    Rule.CENTENARIAN: "Use the 18-digit form.",
    Rule.PHONE_EXTENSION: "Give the number without its extension.",
    Rule.PHONE_UNASSIGNED: "Give the number with its area code or in international form.",
    Rule.PHONE_SHORT: "Give the number with its area code or in international form.",
}
_REMEDY = "Correct the value where it came from; docs/identifiers.md explains the rule."


def refusal(what: str, rule: Rule) -> InvalidInputError:
    """Return the error for a broken rule.

    Args:
        what: the kind, or the argument that is wrong. Never the value.
        rule: the rule that it breaks.
    """
    return InvalidInputError(f"{what}: {rule.value}", remedy=_REMEDIES.get(rule, _REMEDY))
