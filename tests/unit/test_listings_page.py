"""docs/listings.md is true: its example is read and listed, its tables name every column, command and alarm."""

import re
from pathlib import Path

import click
import pytest

from coordinator_at_test import MovableClock
from jointrisk.listing.label import Category
from jointrisk_node.cli import command
from jointrisk_node.data.cells import CellFile
from jointrisk_node.data.settings import DataSettings
from jointrisk_node.listings.examining import Examined, examine, sound_rows
from jointrisk_node.listings.rows import COLUMNS, KINDS, REQUIRED
from jointrisk_node.listings.settings import ListingsSettings
from jointrisk_node.listings.witnessing import Check
from lender_at_test import TODAY, LenderAtTest
from listing_coordinator import ListingCoordinator

_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "listings.md").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path: Path) -> CellFile:
    """Return the page's example as a file."""
    path = tmp_path / "example.csv"
    path.write_text(_PAGE.split("```csv\n")[1].split("```")[0], encoding="utf-8")
    return CellFile(DataSettings(source=str(path)), COLUMNS, required=REQUIRED, textual=["reference", *KINDS])


def _examined(file: CellFile) -> Examined:
    return examine(file, ListingsSettings(), TODAY)


async def test_the_example_is_sound_and_is_listed(file: CellFile, tmp_path: Path) -> None:
    """Four rows, five entries; the person of two of them is one to readers."""
    examined = _examined(file)
    assert (examined.rows, examined.refusals.told) == (4, [])
    rows = [
        dict(zip(examined.columns, one.cells, strict=True)) for batch in sound_rows(file, examined) for one in batch
    ]
    clock = MovableClock()
    lender = LenderAtTest(tmp_path / "lender", ListingCoordinator(tmp_path / "coordinator", clock=clock), clock)
    assert (await lender.publish(*rows)).stored == 5
    person = next(one for _, one in lender.evaluated if one.kind == "resident_id")
    labels = [label for label, _ in await lender.found(person)]
    assert {label.category for label in labels} == {Category.CONFIRMED_DEFAULT, Category.JUDGMENT}
    assert len({label.pseudonym for label in labels}) == 1


def test_every_column_is_on_the_page() -> None:
    """Those of countries are named by two of them."""
    plain = [name for name in COLUMNS if not name.endswith("_country")]
    assert [name for name in plain if f"`{name}`" not in _PAGE] == []


@pytest.mark.parametrize("check", list(Check))
def test_every_alarm_is_on_the_page(check: Check) -> None:
    """A name that people meet in `status` is explained."""
    assert check.value in _PAGE


def test_every_command_is_on_the_page_and_no_other() -> None:
    """The table of commands is that of the program."""
    group = command()
    assert isinstance(group, click.Group)
    listings = group.commands["listings"]
    assert isinstance(listings, click.Group)
    table = _PAGE.split("| command | what it does |\n|---|---|\n")[1].split("\n\n")[0]
    named = {word for line in table.splitlines() for word in re.findall(r"`(\w+)[^`]*`", line.split("|")[1])}
    assert named == set(listings.commands)


def test_every_category_is_on_the_page() -> None:
    """As a file writes it."""
    assert [one for one in Category if f"`{one}`" not in _PAGE] == []
