"""How messages are written as bytes: fields of fixed width and fields after their length, nothing else.

Every value has one byte form. Reading is strict: what is left over, too short, or out of range is refused.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

from jointrisk.errors import InvalidInputError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_RUN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def number(value: int, width: int) -> bytes:
    """Write a whole number in ``width`` bytes, big-endian.

    Raises:
        InvalidInputError: it is negative or needs more bytes.
    """
    if not 0 <= value < 1 << 8 * width:
        raise InvalidInputError(f"expected a number of at most {width} bytes, got another")
    return value.to_bytes(width, "big")


def block(data: bytes) -> bytes:
    """Write bytes after their length (4 bytes)."""
    return number(len(data), 4) + data


def name(text: str) -> bytes:
    """Write a federation's or a member's name after its length (1 byte).

    Raises:
        InvalidInputError: it is not 1 to 40 of a-z, 0-9 and -, not - first.
    """
    return _short(text, _NAME)


def run_name(text: str) -> bytes:
    """Write the id of a run after its length (1 byte).

    Raises:
        InvalidInputError: it is not 1 to 64 letters, digits, dots, dashes and underscores.
    """
    return _short(text, _RUN)


def places(numbers: Iterable[int]) -> bytes:
    """Write places of members, ascending, after how many they are (1 byte each)."""
    written = bytes(numbers)
    return number(len(written), 1) + written


class Reader:
    """Reads fields one after the other.

    Args:
        data: the message.
        what: what it should be, for messages, such as "a list of keys".
    """

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self._data = memoryview(data)
        self._at = 0
        self.what = what

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes.

        Raises:
            InvalidInputError: fewer are left.
        """
        taken = bytes(self._data[self._at : self._at + length])
        if len(taken) != length:
            raise InvalidInputError(f"expected {self.what}, got bytes that end too early")
        self._at += length
        return taken

    def number(self, width: int) -> int:
        """Return the next whole number, of ``width`` bytes."""
        return int.from_bytes(self.take(width), "big")

    def flag(self) -> bool:
        """Return the next byte as yes (1) or no (0).

        Raises:
            InvalidInputError: it is neither.
        """
        if (value := self.number(1)) > 1:
            raise InvalidInputError(f"expected {self.what} with 0 or 1 for yes or no, got another number")
        return bool(value)

    def block(self, longest: int) -> bytes:
        """Return the next bytes after their length.

        Raises:
            InvalidInputError: they are more than ``longest``, or fewer than their length says.
        """
        if (length := self.number(4)) > longest:
            raise InvalidInputError(f"expected {self.what} with a field of at most {longest} bytes, got {length}")
        return self.take(length)

    def name(self) -> str:
        """Return the next name of a federation or a member."""
        return self._text(_NAME)

    def run_name(self) -> str:
        """Return the next id of a run."""
        return self._text(_RUN)

    def places(self, last: int) -> tuple[int, ...]:
        """Return the next places of members.

        Raises:
            InvalidInputError: they do not ascend, or are not from 1 to ``last``.
        """
        found = tuple(self.take(self.number(1)))
        if any(one >= other for one, other in pairwise(found)):
            raise InvalidInputError(f"expected {self.what} with places that ascend, got others")
        if found and not 1 <= found[0] <= found[-1] <= last:
            raise InvalidInputError(f"expected {self.what} with places from 1 to {last}, got another")
        return found

    def rest(self) -> memoryview:
        """Return all that is left, without copying it."""
        left = self._data[self._at :]
        self._at = len(self._data)
        return left

    def end(self) -> None:
        """Finish reading.

        Raises:
            InvalidInputError: something is left.
        """
        if self._at != len(self._data):
            raise InvalidInputError(f"expected {self.what}, got {len(self._data) - self._at} bytes more")

    def _text(self, pattern: re.Pattern[str]) -> str:
        text = self.take(self.number(1)).decode("ascii", "replace")
        if not pattern.fullmatch(text):
            raise InvalidInputError(f"expected {self.what} with names of the usual form, got another")
        return text


def _short(text: str, pattern: re.Pattern[str]) -> bytes:
    if not pattern.fullmatch(text):
        raise InvalidInputError("expected a name of the usual form, got another")
    return number(len(text), 1) + text.encode("ascii")
