"""Numbers that countries give to their residents: only countries whose number has a check digit and one form.

Shapes are checked here and check digits by python-stdnum. Left out on purpose: numbers without a check digit (US SSN,
Malaysia), numbers whose check digit was dropped (Denmark, South Korea since 2020), numbers that python-stdnum judges
by today's date (South Africa).
"""

import datetime as dt
import re
from collections.abc import Callable
from typing import NamedTuple

from stdnum.br import cpf
from stdnum.cl import rut
from stdnum.cn import ric
from stdnum.es import dni, nie
from stdnum.exceptions import InvalidChecksum, ValidationError
from stdnum.it import codicefiscale
from stdnum.pl import pesel
from stdnum.th import pin
from stdnum.tr import tckimlik

from jointrisk.identifiers.rules import Rule
from jointrisk.identifiers.spelling import compact

_SEPARATORS = " -./"
_PROVINCES = frozenset(
    map(
        str,
        [
            *(11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46),
            *(50, 51, 52, 53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83),
        ],
    )
)
"""First two digits, GB/T 2260; 71 is Taiwan, 81 to 83 are permits for residents of Hong Kong, Macao and Taiwan."""
_CHECK_LETTERS = dict.fromkeys(map(ord, "\u00d7\u03a7\u03c7\u0425\u0445\u2169\u2179"), "X")
"""Signs that input methods give for the check letter, which GB 11643 calls Roman ten: times, Chi, Ha, Roman ten."""
_CENTENARIANS = frozenset({"996", "997", "998", "999"})
_OLDEST_YEAR = 1800
_YOUNGEST_YEAR = 2099


class _Number(NamedTuple):
    """How a country writes its number."""

    form: re.Pattern[str]
    check: Callable[[str], str]
    digits: int
    """Length after filling up with zeros from the left."""


def resident_id(country: str, text: str) -> str | Rule:
    """Return the canonical number of a resident, or the rule that it breaks."""
    if country == "CN":
        return _chinese(text)
    number = _NUMBERS.get(country)
    if number is None:
        return Rule.KIND_OF_COUNTRY
    characters = compact(text, _SEPARATORS)
    if isinstance(characters, Rule):
        return characters
    if not number.form.fullmatch(characters):
        return Rule.FORM
    filled = characters.zfill(number.digits)
    return _broken(number.check, filled) or filled


def resident_countries() -> tuple[str, ...]:
    """Return the countries that ``resident_id`` supports, sorted."""
    return tuple(sorted(["CN", *_NUMBERS]))


def _chinese(text: str) -> str | Rule:
    """GB 11643: region (6), birth date (8), order code (3), check digit; 15 digits in the form of 1989."""
    characters = compact(text, _SEPARATORS, _CHECK_LETTERS)
    if isinstance(characters, Rule):
        return characters
    if re.fullmatch(r"[0-9]{15}", characters):
        if characters[-3:] in _CENTENARIANS:
            return Rule.CENTENARIAN
        characters = _lengthened(characters)
    if not re.fullmatch(r"[0-9]{17}[0-9X]", characters):
        return Rule.FORM
    if ric.calc_check_digit(characters) != characters[-1]:
        return Rule.CHECKSUM
    return _place_and_date(characters) or characters


def _lengthened(short: str) -> str:
    """Return the 18 digits of a 15-digit form: the century and the check digit are added."""
    digits = short[:6] + "19" + short[6:]
    return digits + str(ric.calc_check_digit(digits + "0"))


def _place_and_date(characters: str) -> Rule | None:
    """Judge the province and the date alone.

    Districts are not looked up: they were renamed and merged for forty years, python-stdnum's table compares them with
    the birth date instead of the day of registration, and a table that grows would make two members disagree.
    """
    foreigner = characters.startswith("9")  # permanent residence card of 2023: 9, then province and nationality
    if characters[foreigner : foreigner + 2] not in _PROVINCES:
        return Rule.REGION
    try:
        born = dt.date.fromisoformat(f"{characters[6:10]}-{characters[10:12]}-{characters[12:14]}")
    except ValueError:
        return Rule.DATE
    return None if _OLDEST_YEAR <= born.year <= _YOUNGEST_YEAR else Rule.DATE


def _broken(check: Callable[[str], str], characters: str) -> Rule | None:
    try:
        check(characters)
    except InvalidChecksum:
        return Rule.CHECKSUM
    except ValidationError:
        return Rule.FORM
    return None


def _spanish(characters: str) -> str:
    """DNI of a citizen, NIE of a foreigner: told apart by the first letter."""
    return str((nie if characters[0] in "XYZ" else dni).validate(characters))


_NUMBERS = {
    "BR": _Number(re.compile(r"[0-9]{11}"), cpf.validate, 11),
    "CL": _Number(re.compile(r"[0-9]{7,8}[0-9K]"), rut.validate, 9),
    "ES": _Number(re.compile(r"([0-9]{8}|[XYZ][0-9]{7})[A-Z]"), _spanish, 9),
    "IT": _Number(re.compile(r"[A-Z]{6}[0-9A-Z]{10}"), codicefiscale.validate, 16),
    "PL": _Number(re.compile(r"[0-9]{11}"), pesel.validate, 11),
    "TH": _Number(re.compile(r"[0-9]{13}"), pin.validate, 13),
    "TR": _Number(re.compile(r"[0-9]{11}"), tckimlik.validate, 11),
}
