"""Fixtures: federations of real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_federation import LocalFederation


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[LocalFederation]:
    """A coordinator that runs, and no nodes yet. Everything is stopped at the end."""
    with LocalFederation(tmp_path / "federation") as made:
        made.init_coordinator()
        made.coordinator.start()
        yield made
