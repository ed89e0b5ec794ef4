"""100,000 customers screened against 100,000 real entries, among real processes."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest

from ceremonies_held import parsed
from listing_federation import ListingFederation, row
from listings_compared import require_replicas

pytestmark = [pytest.mark.federation, pytest.mark.slow]

DEFAULTERS, BORROWERS = range(25_000), range(20_000, 45_000)
"""Persons whom ash lists with a default, and birch with a loan, each under two identifiers: 100,000 entries."""
CUSTOMERS = range(10_000, 110_000)
"""Of cedar. It knows the resident ID of every other one, and the phone number of the rest."""


def book(federation: ListingFederation) -> Path:
    """Write cedar's customers, each with one identifier."""
    known = (("resident_id", "phone"), ("phone", "resident_id"))
    people = (row("cedar", number) for number in CUSTOMERS)
    rows = [
        {known[place % 2][0]: one[known[place % 2][0]], known[place % 2][1]: ""} for place, one in enumerate(people)
    ]
    return federation.file("book.parquet", rows)


def published(federation: ListingFederation, lister: str, persons: range, category: str) -> float:
    """Publish persons; return rows a second."""
    file = federation.file(f"{lister}.parquet", [row(lister, number, category) for number in persons])
    began = time.monotonic()
    reported = federation.publish(lister, file)
    assert (reported["listed"], reported["refused"], reported["waiting"]) == (len(persons), 0, 0)
    return len(persons) / (time.monotonic() - began)


def screened(federation: ListingFederation) -> tuple[dict[int, dict[str, Any]], float]:
    """Screen cedar's book; return what was found by person, and customers a second."""
    file, out = book(federation), federation.root / "found.csv"
    words = ("--purpose", "portfolio", "--consent", "book/1", "--out", out, "--json")
    began = time.monotonic()
    told = parsed(federation.at("cedar", "signals", "screen", file, *words))
    rate = len(CUSTOMERS) / (time.monotonic() - began)
    assert (told["persons"], told["refused"], told["unopened"]) == (len(CUSTOMERS), 0, 0)
    with out.open(encoding="utf-8", newline="") as found:
        return {CUSTOMERS[int(one["row"]) - 1]: one for one in csv.DictReader(found)}, rate


@pytest.mark.timeout(1800)
def test_every_expected_hit_is_found_and_no_other(tmp_path: Path) -> None:
    """Each customer who is listed is found with all that is listed, under either identifier, and nobody else."""
    with ListingFederation(tmp_path / "federation") as federation:
        federation.begin()
        rates = {
            "ash_rows_per_s": published(federation, "ash", DEFAULTERS, "confirmed_default"),
            "birch_rows_per_s": published(federation, "birch", BORROWERS, "active_loan"),
        }
        federation.wait_live(2 * (len(DEFAULTERS) + len(BORROWERS)), timeout=300)
        require_replicas(federation, 1)
        found, rates["screened_per_s"] = screened(federation)
        print(json.dumps({name: round(rate, 1) for name, rate in rates.items()}))  # noqa: T201 - for who runs it with -s
        defaults = {number for number, one in found.items() if "confirmed_default" in one["listings"]}
        loans = {number for number, one in found.items() if one["loan_lenders"] == "1"}
        assert defaults == set(DEFAULTERS) & set(CUSTOMERS)
        assert loans == set(BORROWERS) & set(CUSTOMERS)
        assert set(found) == defaults | loans
