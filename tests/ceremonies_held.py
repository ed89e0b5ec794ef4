"""Key ceremonies in a federation of real processes: asked for, approved, watched, cut off, and looked at afterwards."""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from command_in_process import Ended, jointrisk
from jointrisk.masterkey import MasterKey
from jointrisk.oprf import group, sharing
from jointrisk.oprf.group import Element, Scalar
from jointrisk.statedir import StateDir
from jointrisk_node.database import open_database
from jointrisk_node.holder import GenerationLedger
from jointrisk_node.settings import load_settings
from local_federation import Daemon, LocalFederation, wait_until

QUICK = '[membership]\nroster_poll = "1s"\n'
"""Nodes look at the board every second even where nothing wakes them up."""
UNATTENDED = QUICK + "[ceremonies]\napprove_all = true\n"
"""No person is asked."""

Status = dict[str, Any]


class CeremonyFederation(LocalFederation):
    """A federation whose operators hold key ceremonies. Commands run in this process: they are many."""

    def populate(self, names: Iterable[str], toml: str) -> None:
        """Start the coordinator and these nodes."""
        self.init_coordinator()
        self.coordinator.start()
        for name in names:
            node = self.new_node(name)
            keyed(node, "init")
            with (node.home / "node.toml").open("a") as settings:
                settings.write(toml)
            invited = jointrisk("coordinator", "--home", self.coordinator.home, "invite", name, "--json")
            keyed(node, "join", parsed(invited)["token"])
            node.start(wait=False)
        self.wait_online()

    @property
    def daemons(self) -> list[Daemon]:
        """Coordinator and nodes."""
        return [self.coordinator, *self.nodes.values()]

    def start_again(self) -> None:
        """Start every daemon that does not run."""
        down = [daemon for daemon in self.daemons if daemon.process is None]
        for daemon in down:
            daemon.start(wait=False)
        for daemon in down:
            daemon.wait_ready()

    # -- people ----------------------------------------------------------------------------------------------------

    def ask(self, *words: object) -> Ended:
        """Run a ``ceremony`` command of the coordinator's operator."""
        return jointrisk("coordinator", "--home", self.coordinator.home, "ceremony", *words)

    def propose(self, *words: object) -> Status:
        """Propose a ceremony, and return it."""
        proposed: Status = parsed(self.ask(*words, "--json"))
        return proposed

    def status(self) -> Status:
        """Return the ceremony that goes on, or was the last, as the coordinator shows it."""
        shown: Status = parsed(self.ask("status", "--json"))
        return shown

    def at(self, name: str, *words: object) -> Ended:
        """Run a command of a node's operator."""
        return jointrisk("node", "--home", self.nodes[name].home, *words)

    def approve(self, name: str, ceremony: Status, terms: str = "") -> Ended:
        """Have a person at a node approve a ceremony."""
        compared = terms or ceremony["terms_fingerprint"]
        return self.at(name, "approve", ceremony["ceremony_id"][:8], "--terms", compared, "--json")

    def approve_by(self, names: Iterable[str], ceremony: Status) -> None:
        """Have people at these nodes approve a ceremony; all of them must get through."""
        for name in names:
            parsed(self.approve(name, ceremony))

    def hold(self, *words: object) -> Status:
        """Propose a ceremony, have everybody who is asked approve it, and return it at its end."""
        ceremony = now = self.propose(*words)
        while now["waiting_for"]:
            self.approve_by(now["waiting_for"][:1], ceremony)
            now = self.status()
        return self.ended(ceremony)

    def given(self, threshold: int, holders: str) -> None:
        """Have these, separated by commas, hold the newest key; there is one already."""
        newest = self.generations(next(iter(self.nodes)))[-1]
        if (newest["threshold"], ",".join(newest["holders"])) != (threshold, holders):
            done = self.hold("rotate", "--threshold", threshold, "--holders", holders)
            assert done["state"] == "done", done
            self.settled(done)

    # -- the board -------------------------------------------------------------------------------------------------

    def ended(self, ceremony: Status, timeout: float = 60) -> Status:
        """Wait for the end of a ceremony that is the newest, and for the confirmations of one that is done."""

        def is_over() -> bool:
            now = self.status()
            assert now["ceremony_id"] == ceremony["ceremony_id"]
            return now["state"] == "aborted" or (now["state"] == "done" and not unconfirmed(now))

        wait_until(is_over, f"the end of a ceremony ({ceremony['kind']})", timeout)
        return self.status()

    def wait_for_messages(self, ceremony: Status, count: int, timeout: float = 60) -> list[str]:
        """Wait, without asking the coordinator, until so many messages are on its disk; return their kinds."""
        deadline = time.monotonic() + timeout
        while len(found := self.on_disk(ceremony)) < count:
            assert time.monotonic() < deadline, f"{found} instead of {count} messages in {timeout:.0f} s"
            time.sleep(0.001)
        return found

    def on_disk(self, ceremony: Status) -> list[str]:
        """Return the kinds of the messages in the coordinator's database, in order."""
        chosen = "SELECT kind FROM ceremony_message WHERE session = ? ORDER BY place"
        with closing(sqlite3.connect(f"file:{self.coordinator.home / 'state.db'}?mode=ro", uri=True)) as board:
            return [kind for (kind,) in board.execute(chosen, (ceremony["ceremony_id"],))]

    # -- nodes -----------------------------------------------------------------------------------------------------

    def generations(self, name: str) -> list[dict[str, Any]]:
        """Return what a node lists."""
        listed: list[dict[str, Any]] = parsed(self.at(name, "ceremony", "generations", "--json"))["generations"]
        return listed

    def settled(self, done: Status, timeout: float = 30) -> dict[str, list[dict[str, Any]]]:
        """Wait until every node lists a generation, and has a share of it alone in its epoch, or none.

        Returns:
            What each node lists then.
        """
        listed: dict[str, list[dict[str, Any]]] = {}

        def is_settled() -> bool:
            listed.update({name: self.generations(name) for name in self.nodes})
            return all(_is_settled(name, own, done) for name, own in listed.items())

        wait_until(is_settled, f"generation {done['generation']} at every node, and no older share", timeout)
        return listed

    def master_key(self, name: str) -> MasterKey:
        """Return the key that opens a node's secrets."""
        return MasterKey(self.nodes[name].key_file.read_bytes())

    def held(self, name: str) -> dict[int, Scalar]:
        """Open the shares in a node's database, by generation. The daemon can run meanwhile."""
        state = StateDir(self.nodes[name].home)
        with closing(open_database(state, load_settings(state))) as store:
            ledger = GenerationLedger(store, self.master_key(name))
            held = [key.generation for key in ledger.all() if ledger.ours(key.generation) == "holds a share"]
            return {generation: ledger.share(generation) for generation in held}

    def ceremonies_of(self, name: str) -> int:
        """Return how many ceremonies a node is in, by its database."""
        with closing(sqlite3.connect(f"file:{self.nodes[name].home / 'state.db'}?mode=ro", uri=True)) as database:
            found: int = database.execute("SELECT count(*) FROM ceremony WHERE party IS NOT NULL").fetchone()[0]
            return found

    def require_sound_audits(self) -> None:
        """Every daemon's log verifies."""
        for daemon in self.daemons:
            ended = jointrisk(daemon.role, "--home", daemon.home, "audit", "verify")
            assert ended.code == 0, f"{daemon.name}: {ended}"

    def events(self, daemon: Daemon, event: str) -> list[dict[str, Any]]:
        """Return the fields of the entries of one kind in a daemon's audit log, in order."""
        words = ("audit", "list", "--event", event, "--last", "1000", "--json")
        return [entry["fields"] for entry in parsed(jointrisk(daemon.role, "--home", daemon.home, *words))]


def keyed(daemon: Daemon, *words: object) -> None:
    """Run a command that needs a daemon's master key; it must end well."""
    descriptor = os.open(daemon.key_file, os.O_RDONLY)  # closed by the command
    ended = jointrisk(daemon.role, "--home", daemon.home, *words, "--master-key-fd", descriptor)
    assert ended.code == 0, ended


def parsed(ended: Ended) -> Any:
    """Return what a command printed as JSON; it must have ended well."""
    assert ended.code == 0, ended
    return json.loads(ended.out)


def posted(ceremony: Status) -> dict[str, list[str]]:
    """Return the kinds of messages that each party has on the board."""
    return {party["member_id"]: party["posted"] for party in ceremony["parties"]}


def unconfirmed(ceremony: Status) -> set[str]:
    """Return the holders that have not confirmed yet."""
    said = posted(ceremony)
    return {holder for holder in ceremony["holders"] if "confirm" not in said[holder]}


def key_of(shares: Mapping[int, Scalar]) -> Element:
    """Return the public key of the secret that these shares determine, by holders' indices."""
    factors = sharing.lagrange(shares)
    total = group.scalar_of(0)
    for index, share in shares.items():
        total = group.scalar_add(total, group.scalar_multiply(factors[index], share))
    return group.multiply_base(total)


def _is_settled(name: str, listed: list[dict[str, Any]], done: Status) -> bool:
    by_generation = {one["generation"]: one for one in listed}
    if (newest := by_generation.get(done["generation"])) is None:
        return False
    replaced = [one for one in listed if one["epoch"] == newest["epoch"] and one is not newest]
    holds = newest["ours"] == "holds a share"
    return holds == (name in newest["holders"]) and not any(one["ours"] == "holds a share" for one in replaced)
