r"""What spelling adds to an identifier and means nothing: blanks, invisible characters, wide forms, kinds of dashes.

The tables are written out, not taken from Unicode categories, so that they are the same under every Python. Numbers
are not normalised by NFKC: it would read a footnote mark (``\u00b9``) as a digit.
"""

import re
import unicodedata
from collections.abc import Mapping

from jointrisk.identifiers.rules import Rule

LONGEST = 320
"""Most characters of a value as it comes: the longest e-mail address. What is longer is refused unread."""

Table = Mapping[int, str]
"""What ``str.translate`` takes: code point to text."""


def _code_points(*ranges: tuple[int, int]) -> list[int]:
    return [point for first, last in ranges for point in range(first, last + 1)]


_LINE_BREAKS = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
_SPACES = [
    0x09, 0xA0, 0x1680, *_code_points((0x2000, 0x200A)), 0x202F, 0x205F, 0x2800, 0x3000,
]  # fmt: skip
_INVISIBLE = [
    # soft hyphen, joiners and fillers, marks of direction, byte order mark
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x3164, 0xFEFF, 0xFFA0,
    *_code_points((0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F)),
    # variation selectors, tags
    *_code_points((0xFE00, 0xFE0F), (0xE0000, 0xE007F), (0xE0100, 0xE01EF)),
]  # fmt: skip
_DASHES = [
    # modifier minus, hyphens and dashes, minus signs, box drawing, the long vowel mark of an input method, small forms
    0x2D7, *_code_points((0x2010, 0x2015)), 0x2043, 0x2212, 0x2500, 0x30FC, 0xFE58, 0xFE63, 0xFF0D, 0xFF70,
]  # fmt: skip
_BLANKS: Table = {**dict.fromkeys(_SPACES, " "), **dict.fromkeys(_INVISIBLE, "")}
_WIDE = {point: chr(point - 0xFEE0) for point in range(0xFF01, 0xFF5F)}
_SIGNS: Table = {**_WIDE, **dict.fromkeys(_DASHES, "-")}
_FLOATING_POINT = re.compile(r"[+-]?(\d+[.,]\d*E[+-]?\d+|\d+E\+\d+|\d+\.0+)")


def legible(text: str) -> str | Rule:
    """Return the text in one line, without invisible characters and outer blanks, every blank as a space."""
    if len(text) > LONGEST:
        return Rule.LENGTH
    line = text.translate(_BLANKS).strip(" " + _LINE_BREAKS)
    if not line:
        return Rule.EMPTY
    return Rule.ONE_LINE if any(mark in line for mark in _LINE_BREAKS) else line


def plain(text: str, lookalikes: Table | None = None) -> str | Rule:
    """Return the text in printable ASCII, upper case: wide forms, dashes and the digits of every script are plain.

    Args:
        text: as it came.
        lookalikes: further characters that the kind reads as others.
    """
    line = legible(text)
    if isinstance(line, Rule):
        return line
    line = line.translate(_SIGNS)
    if not line.isascii():
        line = "".join(_digit(character) for character in line.translate(lookalikes or {}))
    if not line.isascii() or not line.isprintable():
        return Rule.CHARACTERS
    line = line.upper()
    return Rule.NUMBER if _FLOATING_POINT.fullmatch(line.replace(" ", "")) else line


def compact(text: str, separators: str, lookalikes: Table | None = None) -> str | Rule:
    """Return the letters and digits of ``plain``, without the separators; anything else, or one repeated, is refused.

    Args:
        text: as it came.
        separators: the characters that mean nothing in this kind.
        lookalikes: as for ``plain``.
    """
    line = plain(text, lookalikes)
    if isinstance(line, Rule):
        return line
    characters = line.translate(dict.fromkeys(map(ord, separators), ""))
    if not characters.isalnum():
        return Rule.CHARACTERS if characters else Rule.EMPTY
    return Rule.PLACEHOLDER if len(set(characters)) == 1 else characters


def _digit(character: str) -> str:
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)
