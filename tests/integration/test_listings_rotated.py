"""``kill -9`` while listings are brought into the epoch of another key: in the end all of them are there, once."""

from functools import partial
from pathlib import Path

import pytest

from listing_federation import ListingFederation, row
from listings_compared import count, has_fetched, log_on_disk, require_counted, require_listed, require_replicas
from local_federation import wait_until

pytestmark = [pytest.mark.federation, pytest.mark.slow, pytest.mark.timeout(900)]

OF_ASH, OF_BIRCH, WITHDRAWN = range(300), range(1000, 1200), range(280, 300)
_SECONDS = 180.0
_STEPS = (("ash", 1), ("coordinator", 200), ("birch", 300), ("everything", 400))
"""Who dies when ash has stored so many entries of the new epoch."""


def stored(federation: ListingFederation, epoch: int) -> int:
    """Return how many entries of an epoch ash has stored."""
    return count(federation.nodes["ash"], f"count(*) FROM own_entry WHERE epoch = {epoch}")


def has_stored(federation: ListingFederation, entries: int) -> bool:
    """Tell whether ash has stored so many entries of the new epoch."""
    return stored(federation, 2) >= entries


def is_republished(federation: ListingFederation, epoch: int) -> bool:
    """Tell whether nothing is left to be done by the listers, and everything is released."""
    for name in ("ash", "birch"):
        newest = federation.lister(name)["epochs"][-1]
        if newest["epoch"] != epoch or any(newest[one] for one in ("to_append", "to_mark", "to_publish_again")):
            return False
    log = federation.logs().get(epoch, {"pending": 1, "pending_marks": 1})
    return not log["pending"] and not log["pending_marks"]


def test_a_kill_while_listing_again_changes_nothing(tmp_path: Path) -> None:
    """A rotation among kills; some rows are withdrawn meanwhile, and are in neither epoch afterwards."""
    with ListingFederation(tmp_path / "federation") as federation:
        federation.begin(more_listings="republish_rows = 64\n")
        federation.publish("ash", federation.file("ash.csv", [row("ash", number) for number in OF_ASH]))
        federation.publish("birch", federation.file("birch.csv", [row("birch", number) for number in OF_BIRCH]))
        federation.wait_live(1000)
        proposed = federation.propose("rotate", "--threshold", 2, "--holders", "ash,birch,cedar")
        federation.ended(proposed)
        for who, entries in _STEPS:
            wait_until(partial(has_stored, federation, entries), f"{entries} entries listed again", _SECONDS)
            for daemon in federation.daemons:
                if who in {daemon.name, "everything"}:
                    daemon.kill()
            federation.start_again()
        federation.change("ash", "withdraw", [f"ash/{number}" for number in WITHDRAWN])
        wait_until(partial(is_republished, federation, 2), "everything to be listed again", _SECONDS)
        for name in federation.nodes:
            wait_until(partial(has_fetched, federation, name), f"{name} to fetch", _SECONDS)
        listed = [*OF_ASH[: WITHDRAWN.start : 7], *OF_BIRCH[::7]]
        for epoch in (1, 2):
            require_listed(federation, epoch, listed, WITHDRAWN)
            require_replicas(federation, epoch)
            assert len(log_on_disk(federation, epoch).live) == 2 * (len(OF_ASH) + len(OF_BIRCH) - len(WITHDRAWN))
        assert log_on_disk(federation, 1).appends == 1000
        assert log_on_disk(federation, 2).appends <= 1000
        require_counted(federation)
