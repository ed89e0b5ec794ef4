"""Identifiers of devices: told apart by their length, so that they never collide."""

import re

from stdnum import luhn

from jointrisk.identifiers.rules import Rule
from jointrisk.identifiers.spelling import compact

_SEPARATORS = " -:/{}"
_IMEI = re.compile(r"[0-9]{15}")
_MEID = re.compile(r"[A-F][0-9A-F]{13}")
_HEXADECIMAL = re.compile(r"[0-9A-F]{16}|[0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64}")
_SHARED = frozenset({"9774D56D682E549C", "004999010640000"})
"""Ids that whole series of devices have: an Android 2.2 bug, a copied IMEI."""


def device_id(_country: str, text: str) -> str | Rule:
    """Return the canonical id of a device in upper case without separators, or the rule that it breaks.

    IMEI: 15 digits with their check digit (3GPP TS 23.003, 6.2). MEID: 14 hexadecimal digits, the first a letter (3GPP2
    S.R0048). Others: hexadecimal, 16 (Android id), 32 (UUID: IDFA, OAID, advertising id), 40 or 64 digits.
    """
    characters = compact(text, _SEPARATORS)
    if isinstance(characters, Rule):
        return characters
    if characters in _SHARED:
        return Rule.PLACEHOLDER
    if _IMEI.fullmatch(characters):
        return characters if luhn.is_valid(characters) else Rule.CHECKSUM
    known = _MEID.fullmatch(characters) or _HEXADECIMAL.fullmatch(characters)
    return characters if known else Rule.FORM
