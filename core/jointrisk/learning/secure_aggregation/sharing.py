"""Shamir's sharing of 32-byte secrets over the integers modulo p = 2^256 + 297.

That is the smallest prime above 2^256 (by Miller-Rabin; a test repeats it): every 32-byte secret is an element as it
stands, and a share takes 33 bytes, half of what 2^521 - 1 would take. Shares of fewer than the threshold are uniform
whatever the secret is. Whole numbers of Python are not computed with in constant time; each secret is used for one
session, shared once and recovered at most once, so there are no many measurements of one secret to compare.

Source: Shamir, How to share a secret (1979).
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod

from jointrisk.errors import InvalidInputError

PRIME = (1 << 256) + 297
SECRET_LENGTH = 32
SHARE_LENGTH = 33

Randomness = Callable[[int], bytes]
"""Returns so many random bytes: `os.urandom` outside tests."""

_WIDE = 48
"""Bytes that are reduced to a coefficient: uniform to 2^-127."""


def split(secret: bytes, threshold: int, count: int, randomness: Randomness) -> tuple[bytes, ...]:
    """Return the shares for the places 1 to ``count``.

    Args:
        secret: 32 bytes.
        threshold: how many shares are needed.
        count: how many there are.
        randomness: draws the coefficients.

    Raises:
        InvalidInputError: the secret has another length.
    """
    if len(secret) != SECRET_LENGTH:
        raise InvalidInputError(f"expected a secret of {SECRET_LENGTH} bytes, got {len(secret)}")
    drawn = (int.from_bytes(randomness(_WIDE), "big") % PRIME for _ in range(threshold - 1))
    coefficients = (int.from_bytes(secret, "big"), *drawn)
    return tuple(_value(coefficients, at).to_bytes(SHARE_LENGTH, "big") for at in range(1, count + 1))


class Interpolation:
    """Lagrange's coefficients at 0 for one set of places, computed once and used for many secrets.

    Args:
        places: of the shares, as many as the threshold, from 1, all different.
    """

    def __init__(self, places: Sequence[int]) -> None:
        self.places = tuple(places)
        self._coefficients = [self._coefficient(place) for place in self.places]

    def _coefficient(self, place: int) -> int:
        others = [other for other in self.places if other != place]
        return prod(others) * pow(prod(other - place for other in others), -1, PRIME) % PRIME

    def secret(self, shares: Mapping[int, bytes]) -> bytes | None:
        """Return the secret of which these are shares, or None where they make none of 32 bytes.

        Args:
            shares: by place; those of `places` are used.
        """
        values = (int.from_bytes(shares[place], "big") for place in self.places)
        value = sum(one * other for one, other in zip(values, self._coefficients, strict=True)) % PRIME
        return value.to_bytes(SECRET_LENGTH, "big") if value < 1 << 8 * SECRET_LENGTH else None


def is_share(data: bytes) -> bool:
    """Tell whether these are the bytes of an element."""
    return len(data) == SHARE_LENGTH and int.from_bytes(data, "big") < PRIME


def _value(coefficients: Sequence[int], at: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * at + coefficient) % PRIME
    return value
