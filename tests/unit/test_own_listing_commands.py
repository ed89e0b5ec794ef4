"""``jointrisk node listings`` against a daemon's own service over a real operator socket."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from command_in_process import Ended, jointrisk
from coordinator_at_test import MovableClock
from jointrisk.clock import utc_now
from jointrisk.rpc.guard import Guard
from jointrisk.rpc.server import bind_unix, check_protocol, new_server
from jointrisk.rpc.v1.listing_lister_pb2_grpc import add_ListingListerServicer_to_server
from jointrisk.serving import prepare_socket
from jointrisk.statedir import StateDir
from jointrisk_node.listings.service import ListingLister
from lender_at_test import LenderAtTest, phone, resident_id, row
from listing_coordinator import ListingCoordinator


class _Node:
    """A node's state directory and the service that its daemon would run."""

    def __init__(self, root: Path) -> None:
        self.home = root / "node"
        StateDir.create(self.home)
        (self.home / "node.toml").write_text("", encoding="utf-8")
        clock = MovableClock(utc_now())
        self.coordinator = ListingCoordinator(root / "coordinator", clock=clock)
        self.lender = LenderAtTest(self.home, self.coordinator, clock)

    async def listings(self, *arguments: object, given: str = "") -> Ended:
        """Run a command of listings while the service answers."""
        command = partial(jointrisk, "node", "--home", self.home, "listings", *arguments, given=given)
        return await asyncio.to_thread(command)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve the operator socket."""
        server = new_server(Guard([check_protocol]))
        add_ListingListerServicer_to_server(ListingLister(self.lender.desk), server)
        bind_unix(server, prepare_socket(self.home))
        await server.start()
        try:
            yield
        finally:
            await server.stop(0)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[_Node]:
    """Return a node whose service runs."""
    made = _Node(tmp_path)
    async with made.running():
        yield made


def _csv(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _json(ended: Ended) -> object:
    assert ended.code == 0, ended
    return json.loads(ended.out)


async def test_a_file_is_listed_shown_and_withdrawn(node: _Node, tmp_path: Path) -> None:
    """Publish, again, list, dispute, withdraw by a file, status: each says what it did."""
    file = _csv(tmp_path / "rows.csv", *(row(number) for number in range(30)))
    first = _json(await node.listings("publish", file, "--json"))
    assert first == {
        "rows": 30, "listed": 30, "already": 0, "refused": 0, "entries": 60, "waiting": 0, "refusals": []
    }  # fmt: skip
    again = await node.listings("publish", file)
    assert "0 of 30 rows listed with 0 entries, 30 were so already, 0 refused." in again.out
    references = _csv(tmp_path / "references.csv", {"reference": "loan-3"}, {"reference": "nobody's"})
    disputed = await node.listings("dispute", references)
    assert "1 in dispute, 0 were so already." in disputed.out
    assert "1 name no listed row: number 2" in disputed.err
    shown = _json(await node.listings("list", "--json"))
    assert isinstance(shown, list)
    assert [one["state"] for one in shown].count("disputed") == 1
    assert shown[0] == {
        "reference": "loan-0",
        "category": "confirmed_default",
        "severity": "high",
        "listed_on": "2026-02-01",
        "expires_on": "2031-02-01",
        "amount_band": "5k_to_20k",
        "state": "listed",
        "kinds": ["resident_id", "phone"],
        "epochs": [1],
    }
    assert "1 withdrawn" in (await node.listings("withdraw", references)).out
    status = _json(await node.listings("status", "--json"))
    assert isinstance(status, dict)
    assert (status["listed"], status["disputed"], status["alarms"]) == (29, 0, [])
    assert status["epochs"][0]["live"] == 58
    assert "29" in (await node.listings("status")).out


async def test_a_file_with_a_broken_row_sends_nothing_unless_it_is_to_be_skipped(node: _Node, tmp_path: Path) -> None:
    """The report tells row, column and rule; no value is on any stream."""
    file = _csv(tmp_path / "rows.csv", row(1), row(2, phone="1381234"), row(3))
    refused = await node.listings("publish", file)
    assert refused.code == 2
    assert "1 of 3 rows break a rule, and nothing was sent" in refused.err
    assert node.lender.calls.sent == node.lender.evaluated == []
    assert "1381234" not in refused.out + refused.err
    assert not [text for text in (resident_id(2), phone(1)) if text in refused.out + refused.err]
    skipped = _json(await node.listings("publish", file, "--skip-refused", "--json"))
    assert isinstance(skipped, dict)
    assert (skipped["listed"], skipped["refused"], skipped["refusals"][0]["row"]) == (2, 1, 2)
    assert skipped["refusals"][0]["column"] == "phone"


async def test_corrections_replace_and_other_content_is_refused_by_publish(node: _Node, tmp_path: Path) -> None:
    """The daemon's refusals come back with their row numbers and what to do."""
    await node.listings("publish", _csv(tmp_path / "a.csv", row(1), row(2)))
    changed = _csv(tmp_path / "b.csv", row(1), row(2, severity="low"))
    refused = await node.listings("publish", changed)
    assert "1 refused" in refused.out
    assert "use `listings correct`" in refused.out
    assert "1 of 2 rows listed" in (await node.listings("correct", changed)).out
    shown = _json(await node.listings("list", "--json"))
    assert isinstance(shown, list)
    assert [one["severity"] for one in shown] == ["high", "low"]


async def test_references_come_from_standard_input_as_well(node: _Node, tmp_path: Path) -> None:
    """One a line; with nothing on it nothing happens. Renewing all rows tells the number of entries."""
    await node.listings("publish", _csv(tmp_path / "a.csv", row(1), row(2)))
    assert "0 withdrawn" in (await node.listings("withdraw", "-")).out
    assert "1 withdrawn" in (await node.listings("withdraw", "-", given="\nloan-2\n")).out
    assert "2 renewed" in (await node.listings("renew")).out


async def test_a_coordinator_that_is_down_is_told_and_the_rows_are_kept(node: _Node, tmp_path: Path) -> None:
    """The command fails with "unavailable"; the same command later finishes."""
    file = _csv(tmp_path / "rows.csv", row(1))
    node.lender.calls.down = True
    failed = await node.listings("publish", file)
    failed.require_refusal(7, "the coordinator is down")
    assert "2" in (await node.listings("status")).out
    node.lender.calls.down = False
    assert "1 were so already" in (await node.listings("publish", file)).out
    assert node.lender.waiting.waiting() == 0


async def test_without_a_daemon_the_command_says_so(tmp_path: Path) -> None:
    """Nothing is read or sent."""
    made = _Node(tmp_path)
    ended = await made.listings("publish", _csv(tmp_path / "rows.csv", row(1)))
    ended.require_refusal(7, "no node daemon runs")
