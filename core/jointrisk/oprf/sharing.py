"""Shamir's secret sharing over the scalars of ristretto255, and Feldman's commitments to it.

A secret is a polynomial's value at 0; holder j's share is its value at j = 1, 2, ... As many shares as the polynomial
has coefficients (the threshold) determine it; fewer are consistent with every secret. Commitments are the coefficients
as elements: everybody can compute every share's public key from them, and nobody the shares.

Sources: Shamir, How to share a secret (1979); Feldman, A practical scheme for non-interactive verifiable secret
sharing (1987).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from jointrisk.errors import InvalidInputError
from jointrisk.oprf import group
from jointrisk.oprf.group import IDENTITY, ORDER, Element, Randomness, Scalar

MAX_INDEX = 255
"""The greatest index of a holder, and the greatest threshold."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A polynomial that shares a secret. Everything in it is secret; it does not show in its `repr`.

    Attributes:
        coefficients: from the constant term, which is the secret, upwards; as many as the threshold.
    """

    coefficients: tuple[Scalar, ...] = field(repr=False)

    @classmethod
    def random(cls, secret: Scalar, threshold: int, randomness: Randomness) -> "Polynomial":
        """Share a secret so that ``threshold`` shares are needed for it.

        Raises:
            InvalidInputError: the threshold is not from 1 to `MAX_INDEX`.
        """
        if not 1 <= threshold <= MAX_INDEX:
            raise InvalidInputError(f"expected a threshold from 1 to {MAX_INDEX}, got {threshold}")
        return cls((secret, *(group.random_scalar(randomness) for _ in range(threshold - 1))))

    def share(self, index: int) -> Scalar:
        """Return the share of the holder with this index: the polynomial's value there.

        Raises:
            InvalidInputError: the index is not from 1 to `MAX_INDEX`; the value at 0 is the secret itself.
        """
        at = group.scalar_of(require_index(index))
        value = self.coefficients[-1]
        for coefficient in reversed(self.coefficients[:-1]):
            value = group.scalar_add(group.scalar_multiply(value, at), coefficient)
        return value


def commit(polynomial: Polynomial) -> tuple[Element, ...]:
    """Return the public commitments to a polynomial; the first is the public key of the secret.

    Raises:
        InvalidInputError: a coefficient is zero, which none drawn at random ever is.
    """
    return tuple(group.multiply_base(coefficient) for coefficient in polynomial.coefficients)


def evaluate_commitments(commitments: Sequence[Element], index: int) -> Element:
    """Return the public key of the share with this index; `IDENTITY` if the share is zero.

    Args:
        commitments: as `commit` returns them, or sums of several dealers' ones. Some may be `IDENTITY`: a dealer who
            speaks last can make a sum so, and what follows has to be the same for everybody.
        index: the holder's.

    Raises:
        InvalidInputError: there are no commitments, one is not an element, or the index is not from 1 to `MAX_INDEX`.
    """
    at = group.scalar_of(require_index(index))
    if not commitments:
        raise InvalidInputError("expected commitments to a polynomial, got none")
    value = commitments[-1]
    for commitment in reversed(commitments[:-1]):
        scaled = IDENTITY if value == IDENTITY else group.multiply(at, value)
        value = group.add(scaled, commitment)
    return value


def lagrange(indices: Iterable[int]) -> dict[int, Scalar]:
    """Return what each share is multiplied with so that the sum is the value at 0.

    Args:
        indices: the holders that take part; public, so computed with Python's integers.

    Raises:
        InvalidInputError: one is there twice, or not from 1 to `MAX_INDEX`, or there are none.
    """
    points = [require_index(index) for index in indices]
    if not points or len(set(points)) != len(points):
        raise InvalidInputError("expected distinct indices of holders, got none or one of them twice")
    return {index: group.scalar_of(_coefficient(index, points)) for index in points}


def invert_all(scalars: Sequence[Scalar]) -> list[Scalar]:
    """Return each scalar's inverse for the price of one inversion and three products for each (Montgomery's trick).

    Raises:
        InvalidInputError: one of them is zero.
    """
    if not scalars:
        return []
    products = list(accumulate(scalars, group.scalar_multiply))
    inverse = group.scalar_invert(products[-1])
    inverses = list[Scalar]()
    for before, one in zip(reversed(products[:-1]), reversed(scalars), strict=False):
        inverses.append(group.scalar_multiply(inverse, before))
        inverse = group.scalar_multiply(inverse, one)
    inverses.append(inverse)
    return inverses[::-1]


def require_index(index: int) -> int:
    """Return the index of a holder if it can be one.

    Raises:
        InvalidInputError: it is not from 1 to `MAX_INDEX`.
    """
    if not 1 <= index <= MAX_INDEX:
        raise InvalidInputError(f"expected the index of a holder from 1 to {MAX_INDEX}, got {index}")
    return index


def _coefficient(index: int, points: Sequence[int]) -> int:
    """Return the Lagrange coefficient of one point at 0, modulo the group's order."""
    numerator = denominator = 1
    for other in points:
        if other != index:
            numerator = numerator * other % ORDER
            denominator = denominator * (other - index) % ORDER
    return numerator * pow(denominator, -1, ORDER) % ORDER
