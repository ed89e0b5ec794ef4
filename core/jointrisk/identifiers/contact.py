"""Phone numbers and e-mail addresses."""

import re
import unicodedata

import idna
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from jointrisk.identifiers.rules import Rule
from jointrisk.identifiers.spelling import legible, plain

_PHONE = re.compile(r"[0-9+ ()./-]+")
_PERSONAL = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
        PhoneNumberType.PERSONAL_NUMBER,
    }
)
_SHORT = frozenset(
    {ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY, ValidationResult.INVALID_LENGTH}
)
_PARSE_ERRORS = {
    NumberParseException.INVALID_COUNTRY_CODE: Rule.PHONE_COUNTRY,
    NumberParseException.TOO_SHORT_AFTER_IDD: Rule.PHONE_SHORT,
    NumberParseException.TOO_SHORT_NSN: Rule.PHONE_SHORT,
    NumberParseException.TOO_LONG: Rule.LENGTH,
}
_LONGEST_LOCAL = 64
_LONGEST_DOMAIN = 253
_LONGEST_ADDRESS = 254
_ATOM_SIGNS = frozenset("!#$%&'*+-/=?^_`{|}~")
_DOTLESS = "\u0131"
_DOT_ABOVE = "\u0307"


def phone(country: str, text: str) -> str | Rule:
    """Return the number in E.164 form ("+8613812345678"), or the rule that it breaks.

    Args:
        country: where a number without a country code is dialled, the lender's default.
        text: national or international form.
    """
    line = plain(text)
    if isinstance(line, Rule):
        return line
    if not _PHONE.fullmatch(line):
        return Rule.PHONE_EXTENSION
    number = _parsed(line, country)
    if isinstance(number, Rule):
        return number
    return _personal(number)


def _parsed(line: str, country: str) -> PhoneNumber | Rule:
    try:
        return phonenumbers.parse(line, country)
    except NumberParseException as error:
        return _PARSE_ERRORS.get(error.error_type, Rule.FORM)


def _personal(number: PhoneNumber) -> str | Rule:
    """Return the number when the numbering plan gives such numbers to one person or firm."""
    kind = phonenumbers.number_type(number)
    if kind in _PERSONAL:
        return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    if kind != PhoneNumberType.UNKNOWN:
        return Rule.PHONE_SHARED
    possible = phonenumbers.is_possible_number_with_reason(number)
    return Rule.PHONE_SHORT if possible in _SHORT else Rule.PHONE_UNASSIGNED


def email(_country: str, text: str) -> str | Rule:
    """Return the address with NFKC, without case, its domain in ASCII (IDNA), or the rule that it breaks.

    The part before the @ is case-folded: Unicode's rule for comparing without case, for ASCII the lower case. Dots and
    "+tags" stay: only the provider knows whether they mean something.
    """
    line = legible(text)
    if isinstance(line, Rule):
        return line
    local, at, domain = unicodedata.normalize("NFKC", line).rpartition("@")
    if not at or not local or not domain or "@" in local:
        return Rule.EMAIL_FORM
    if _ambiguous_i(local, domain):
        return Rule.EMAIL_DOTTED_I
    folded, ascii_domain = _local(local), _domain(domain)
    if isinstance(folded, Rule):
        return folded
    if isinstance(ascii_domain, Rule):
        return ascii_domain
    address = f"{folded}@{ascii_domain}"
    return address if len(address.encode("utf-8")) <= _LONGEST_ADDRESS else Rule.LENGTH


def _ambiguous_i(local: str, domain: str) -> bool:
    """Tell whether a Turkish upper or lower case may have been at work: INFO and info with a dot more or less.

    A dotless i is a letter of its own in domains under .tr, so only there it is left alone.
    """
    dotted = "i" + _DOT_ABOVE  # what the capital with a dot becomes in lower case
    return dotted in f"{local}@{domain}".lower() or _DOTLESS in local


def _local(local: str) -> str | Rule:
    """Return the folded dot-atom (RFC 5322, 3.2.3; letters, marks and digits of all scripts as in RFC 6531)."""
    folded = _without_case(local)
    atoms = folded.split(".")
    if not all(atoms) or not all(_may_stand(character) for atom in atoms for character in atom):
        return Rule.EMAIL_LOCAL
    return folded if len(folded.encode("utf-8")) <= _LONGEST_LOCAL else Rule.LENGTH


def _without_case(text: str) -> str:
    """Return NFKC of the case folding, both until nothing changes (Unicode 3.13, D146)."""
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
    return unicodedata.normalize("NFKC", once.casefold())


def _may_stand(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _ATOM_SIGNS
    return unicodedata.category(character)[0] in "LMN"


def _domain(domain: str) -> str | Rule:
    """Return the domain as A-labels (RFC 5891, mapped by UTS 46): at least two labels, the last not a number."""
    try:
        name = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower().removesuffix(".")
    except UnicodeError:  # what idna raises holds the domain: nothing is chained to our own error
        return Rule.EMAIL_DOMAIN
    _, dot, last = name.rpartition(".")
    return Rule.EMAIL_DOMAIN if not dot or last.isdigit() or len(name) > _LONGEST_DOMAIN else name
