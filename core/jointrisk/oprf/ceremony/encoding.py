"""How ceremony documents are written as bytes: fields of fixed width and fields after their length, nothing else.

Every value has one byte form, so that digests and signatures can be made again elsewhere. Reading is strict: what is
left over, too short, or out of range is refused.
"""

import re

from jointrisk.errors import InvalidInputError

NAME_LENGTH = 40
"""Most characters of a federation's or a party's name."""

_NAME = re.compile(rb"[a-z0-9][a-z0-9-]{0,39}")


def number(value: int, width: int) -> bytes:
    """Write a whole number in ``width`` bytes, big-endian (I2OSP of RFC 8017).

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
    """Write a name after its length (1 byte).

    Raises:
        InvalidInputError: it is not 1 to 40 of a-z, 0-9 and -, not - first.
    """
    written = text.encode("ascii", "replace")
    _require_name(written)
    return number(len(written), 1) + written


class Reader:
    """Reads fields one after the other.

    Args:
        data: the document.
        what: what it should be, for messages, such as "terms of a ceremony".
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = bytes(data)
        self._at = 0
        self._what = what

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes.

        Raises:
            InvalidInputError: fewer are left.
        """
        taken = self._data[self._at : self._at + length]
        if len(taken) != length:
            raise InvalidInputError(f"expected {self._what}, got bytes that end too early")
        self._at += length
        return taken

    def number(self, width: int) -> int:
        """Return the next whole number, of ``width`` bytes."""
        return int.from_bytes(self.take(width), "big")

    def block(self, longest: int) -> bytes:
        """Return the next bytes after their length.

        Raises:
            InvalidInputError: they are more than ``longest``, or fewer than their length says.
        """
        length = self.number(4)
        if length > longest:
            raise InvalidInputError(f"expected {self._what} with a field of at most {longest} bytes, got {length}")
        return self.take(length)

    def name(self) -> str:
        """Return the next name.

        Raises:
            InvalidInputError: it breaks the rules for names.
        """
        written = self.take(self.number(1))
        _require_name(written)
        return written.decode("ascii")

    def end(self) -> None:
        """Finish reading.

        Raises:
            InvalidInputError: something is left.
        """
        if self._at != len(self._data):
            raise InvalidInputError(f"expected {self._what}, got {len(self._data) - self._at} bytes more")


def _require_name(written: bytes) -> None:
    if not _NAME.fullmatch(written):
        raise InvalidInputError(f"expected a name of 1 to {NAME_LENGTH} characters of a-z, 0-9 and -, got another")
