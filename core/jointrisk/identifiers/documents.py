"""Passports and the codes of Chinese organisations."""

import re

from stdnum.cn import uscc as _uscc

from jointrisk.identifiers.rules import Rule
from jointrisk.identifiers.spelling import compact

_SEPARATORS = " -"
_PASSPORT = re.compile(r"(?=.*[0-9])[A-Z0-9]{5,9}")
_CODE = re.compile(r"[1-9ANY][0-9A-HJ-NPQRTUWXY][0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")


def passport_country(country: str) -> str:
    """Return the state that issues a country's passports: China for Hong Kong and Macao (ICAO 9303, part 3)."""
    return "CN" if country in {"HK", "MO"} else country


def passport(_country: str, text: str) -> str | Rule:
    """Return the canonical passport number, or the rule that it breaks.

    Five to nine letters and digits, at least one digit (ICAO 9303 gives it nine places, filled up with ``<``). There is
    no check digit outside the machine-readable zone: a wrong digit cannot be noticed.
    """
    characters = compact(text, _SEPARATORS + "<")
    if isinstance(characters, Rule):
        return characters
    return characters if _PASSPORT.fullmatch(characters) else Rule.FORM


def uscc(country: str, text: str) -> str | Rule:
    """Return the canonical unified social credit code (GB 32100), or the rule that it breaks.

    The form is checked here, because python-stdnum refuses the letters that GB 32100 has for registering authorities
    (A, N, Y); the check digit is python-stdnum's.
    """
    if country != "CN":
        return Rule.KIND_OF_COUNTRY
    characters = compact(text, _SEPARATORS)
    if isinstance(characters, Rule):
        return characters
    if not _CODE.fullmatch(characters):
        return Rule.FORM
    return characters if _uscc.calc_check_digit(characters) == characters[-1] else Rule.CHECKSUM
