"""A federation of real processes that lists and asks: holders that listen, a group key, commands of all its people."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ceremonies_held import CeremonyFederation, keyed, parsed
from command_in_process import Ended, jointrisk
from demo_people import person
from local_federation import Daemon, free_ports, wait_until

MEMBERS = ("ash", "birch", "cedar")

COORDINATOR = '[listings]\nwindow = "0s"\nhead_interval = "1s"\n'
"""What arrives is released at once, and heads are fresh."""
NODE = """
[membership]
roster_poll = "1s"

[ceremonies]
approve_all = true

[listings]
deliver_every = "1s"
republish_every = "1s"
release_grace = "5s"
{listings}

[replica]
retry = "1s"
oldest = "{oldest}"

[holder]
listen = "{address}"

[holder.quota]
customers = 200000
"""
"""Nothing waits long, and no person is asked about ceremonies."""

_BUSY = 150.0
"""Seconds that are waited for where this machine may have several federations to start at a time."""

Row = dict[str, str]
Answer = dict[str, Any]


class ListingFederation(CeremonyFederation):
    """Members that list and ask. Commands run in this process unless they are to be killed."""

    def begin(
        self,
        names: Sequence[str] = MEMBERS,
        threshold: int = 2,
        *,
        more: str = "",
        more_listings: str = "",
        coordinator: str = "",
        stores: Mapping[str, str] | None = None,
    ) -> None:
        """Start the coordinator and nodes that listen, and have all of them hold a key.

        Args:
            names: the members.
            threshold: holders that a question takes.
            more: settings of every node.
            more_listings: in every node's table ``[listings]``.
            coordinator: settings of the coordinator.
            stores: tables ``[store]`` by daemon, where it isn't SQLite.
        """
        placed = stores or {}
        self.init_coordinator("\n".join((COORDINATOR, coordinator, placed.get("coordinator", ""))))
        self.coordinator.start()
        for name in names:
            self.enter(name, more="\n".join((more, placed.get(name, ""))), more_listings=more_listings)
        self.wait_online(timeout=_BUSY)
        self.key_made("start", "--threshold", threshold, "--holders", ",".join(names))

    def enter(
        self,
        name: str,
        *,
        more: str = "",
        more_listings: str = "",
        oldest: str = "1h",
        approved_by: Iterable[str] = (),
    ) -> Daemon:
        """Let a member join, and start its node.

        Args:
            name: of the member.
            more: settings of its node.
            more_listings: in its table ``[listings]``.
            oldest: the limit of its copy of the listings.
            approved_by: members whose people approve one that comes after the founders.
        """
        node, address = self.new_node(name), f"127.0.0.1:{free_ports(1)[0]}"
        keyed(node, "init")
        with (node.home / "node.toml").open("a", encoding="utf-8") as settings:
            settings.write(NODE.format(address=address, oldest=oldest, listings=more_listings) + more)
        invited = jointrisk("coordinator", "--home", self.coordinator.home, "invite", name, "--json")
        joining = ("join", parsed(invited)["token"], "--address", address)
        if approvers := list(approved_by):
            with node.key_file.open("rb") as key:
                self.at(name, *joining, "--no-wait", "--master-key-fd", os.dup(key.fileno()))
            self._approve_member(name, approvers)
        keyed(node, *joining)
        node.start(wait=False)
        return node

    def _approve_member(self, name: str, approvers: Iterable[str]) -> None:
        shown = parsed(jointrisk("coordinator", "--home", self.coordinator.home, "members", "--json"))
        fingerprint = next(one["fingerprint"] for one in shown["members"] if one["member_id"] == name)
        for approver in approvers:
            parsed(self.at(approver, "members", "approve", name, "--fingerprint", fingerprint, "--json"))

    def key_made(self, *words: object) -> dict[str, Any]:
        """Hold a ceremony that nobody is asked about, and wait until every node knows what it made."""
        done = self.ended(self.propose(*words), _BUSY)
        assert done["state"] == "done", done
        self.settled(done, _BUSY)
        self.wait_answering(done, _BUSY)
        return done

    def wait_answering(self, done: Mapping[str, Any], timeout: float) -> None:
        """Wait until every holder answers with its share of a generation, and the epoch's log is open everywhere."""
        epoch, generation = done["epoch"], done["generation"]

        def is_so() -> bool:
            held = all(generation in self.generations_held(name) for name in done["holders"])
            return held and epoch in self.logs() and all(epoch in self.sync(name) for name in self.nodes)

        wait_until(is_so, f"holders of generation {generation}, and the log of epoch {epoch}", timeout)

    # -- files -----------------------------------------------------------------------------------------------------

    def file(self, name: str, rows: Iterable[Mapping[str, str]]) -> Path:
        """Write rows to a file, CSV or Parquet by its name."""
        path, kept = self.root / name, list(rows)
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(kept), path)
            return path
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)
        return path

    # -- listing ---------------------------------------------------------------------------------------------------

    def listings(self, name: str, *words: object, given: str = "") -> Ended:
        """Run a ``listings`` command of a lender's people."""
        return jointrisk("node", "--home", self.nodes[name].home, "listings", *words, given=given)

    def publish(self, name: str, file: Path, *words: object) -> dict[str, Any]:
        """List a file's rows, and return what the command reports."""
        reported: dict[str, Any] = parsed(self.listings(name, "publish", file, *words, "--json"))
        return reported

    def change(self, name: str, what: str, references: Iterable[str], *words: object) -> dict[str, Any]:
        """Withdraw, dispute or renew rows, by their references on standard input."""
        given = "".join(f"{one}\n" for one in references)
        reported: dict[str, Any] = parsed(self.listings(name, what, "-", *words, "--json", given=given))
        return reported

    def own(self, name: str) -> list[dict[str, Any]]:
        """Return what a lender has listed."""
        listed: list[dict[str, Any]] = parsed(self.listings(name, "list", "--json"))
        return listed

    def lister(self, name: str) -> dict[str, Any]:
        """Return how a lender's listings stand."""
        status: dict[str, Any] = parsed(self.listings(name, "status", "--json"))
        return status

    def starting(self, name: str, *words: object) -> "subprocess.Popen[str]":
        """Start a command of a node as a process of its own, which can be killed."""
        line = [sys.executable, "-m", "jointrisk.cli", "node", "--home", str(self.nodes[name].home), *map(str, words)]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    # -- reading ---------------------------------------------------------------------------------------------------

    def sync(self, name: str) -> dict[int, dict[str, Any]]:
        """Have a node fetch what is new; return its replicas by epoch."""
        return by_epoch(parsed(self.listings(name, "sync", "--json")))

    def verified(self, name: str) -> dict[int, dict[str, Any]]:
        """Have a node check its whole copy; return the replicas by epoch."""
        return by_epoch(parsed(self.listings(name, "verify", "--json")))

    def logs(self) -> dict[int, dict[str, Any]]:
        """Return how the coordinator's logs stand, by epoch."""
        shown = parsed(jointrisk("coordinator", "--home", self.coordinator.home, "listings", "status", "--json"))
        return {one["epoch"]: one for one in shown["logs"]}

    def wait_live(self, count: int, epoch: int = 1, timeout: float = 60) -> None:
        """Wait until an epoch's log has so many live entries and nothing that waits."""

        def is_so() -> bool:
            log = self.logs()[epoch]
            return (log["live"], log["pending"], log["pending_marks"]) == (count, 0, 0)

        wait_until(is_so, f"{count} live entries in the log of epoch {epoch}", timeout)

    def events(self, daemon: Daemon, event: str) -> list[dict[str, Any]]:
        """Return the fields of all entries of one kind in a daemon's audit log, in order."""
        words = ("audit", "list", "--event", event, "--last", "1000000", "--json")
        return [one["fields"] for one in parsed(jointrisk(daemon.role, "--home", daemon.home, *words))]

    # -- asking ----------------------------------------------------------------------------------------------------

    def query(self, name: str, number: int, *, purpose: str = "admission", consent: str = "app/1") -> Ended:
        """Ask about a person of `demo_people`, with both identifiers."""
        who = person(number)
        given = f"resident_id CN {who.resident_id}\nphone CN {who.phone}\n"
        words = ("--purpose", purpose, "--consent", consent, "--json")
        return jointrisk("node", "--home", self.nodes[name].home, "signals", "query", *words, given=given)

    def answer(self, name: str, number: int) -> Answer:
        """Ask about a person, and return what is listed, and how each epoch was asked."""
        told: Answer = parsed(self.query(name, number))
        return {**told["signals"][0], "epochs": told["epochs"]}

    def holder(self, name: str) -> dict[tuple[str, int], dict[str, Any]]:
        """Return what a holder has charged, by member and epoch."""
        return {(one["member_id"], one["epoch"]): one for one in self._holder(name)["members"]}

    def generations_held(self, name: str) -> set[int]:
        """Return the generations of which a holder answers with a share."""
        return {one["generation"] for one in self._holder(name)["generations"]}

    def _holder(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = parsed(self.at(name, "holder", "status", "--json"))
        return shown


def row(lister: str, number: int, category: str = "confirmed_default", **changed: str) -> Row:
    """Return a row about a person of `demo_people`, under both identifiers."""
    who = person(number)
    severity = "none" if category in {"active_loan", "application"} else "high"
    said = {
        "reference": f"{lister}/{number}",
        "resident_id": who.resident_id,
        "phone": who.phone,
        "category": category,
        "severity": severity,
        "listed_on": "2026-06-30",
        "amount": "12000",
    }
    return said | changed


def by_epoch(shown: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return replicas by epoch."""
    return {one["epoch"]: one for one in shown["replicas"]}


def categories(answer: Answer) -> list[str]:
    """Return what kinds of listings an answer has, sorted."""
    return sorted(one["category"] for one in answer["listings"])
