"""The persons behind the loans of the demo: synthetic identifiers, and who is a customer of several lenders.

The loans are real and name nobody, so persons are made up: a Chinese resident ID with a sound check digit and a mobile
number for each. Rows of the lenders' loan books are dealt out to persons so that 12 % of all persons have an account
at two lenders and 3 % at three. Everything follows from the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stdnum.cn import ric

SEED = 11
AT_TWO, AT_THREE = 0.12, 0.03
_REGIONS = ("110101", "310101", "320102", "330102", "370102", "420102", "440103", "510104", "610102", "650102")
_MOBILE = ("130", "135", "138", "139", "150", "151", "158", "159", "186", "188")

Persons = NDArray[np.int64]


@dataclass(frozen=True)
class Person:
    """A synthetic person.

    Attributes:
        resident_id: 18 characters (GB 11643) with a sound check digit.
        phone: E.164.
    """

    resident_id: str
    phone: str


def person(number: int) -> Person:
    """Return a person by its number; other numbers, below ten million, are other persons in both identifiers."""
    region, number_there = _REGIONS[number % 10], number // 10
    order, day_number = number_there % 1000, number_there // 1000
    born = np.datetime64("1950-01-01") + (day_number * 7919) % 18_000
    digits = f"{region}{str(born).replace('-', '')}{order:03d}"
    mobile = f"{_MOBILE[number % 10]}{(number * 7_368_787 + 12_345_678) % 100_000_000:08d}"
    return Person(digits + str(ric.calc_check_digit(digits + "0")), f"+86{mobile}")


def deal(rows: Mapping[str, int], seed: int = SEED) -> dict[str, Persons]:
    """Deal accounts out to persons.

    Args:
        rows: how many accounts each of three lenders has.
        seed: of the shuffles.

    Returns:
        For each lender the person's number for each row. No lender has a person twice.
    """
    names = list(rows)
    total = round(sum(rows.values()) / (1 + AT_TWO + 2 * AT_THREE))
    at_three = round(total * AT_THREE)
    pairs = _pairs(rows, round(total * AT_TWO), at_three)
    given: dict[str, list[Persons]] = {name: [np.arange(at_three)] for name in names}
    number = at_three
    for pair, count in pairs.items():
        for name in pair:
            given[name].append(np.arange(number, number + count))
        number += count
    for name in names:
        rest = rows[name] - sum(map(len, given[name]))
        given[name].append(np.arange(number, number + rest))
        number += rest
    generator = np.random.default_rng(seed)
    return {name: generator.permutation(np.concatenate(given[name])) for name in names}


def _pairs(rows: Mapping[str, int], persons: int, at_three: int) -> dict[tuple[str, str], int]:
    """Share the persons at two lenders out to the three pairs: as many as the smaller of each has customers."""
    names = list(rows)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    weights = np.array([min(rows[a], rows[b]) - at_three for a, b in pairs], dtype=np.float64)
    counts = np.floor(persons * weights / weights.sum()).astype(int)
    counts[0] += persons - counts.sum()
    return dict(zip(pairs, map(int, counts), strict=True))
