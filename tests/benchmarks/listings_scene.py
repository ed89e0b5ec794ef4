"""The federation that the suite `listings` measures: a coordinator and three nodes, all holders, any two needed.

The full suite keeps it under build/: a million real listings take minutes to publish.
"""

import json
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property, partial
from os import urandom
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.listings_node import WINDOW
from benchmarks.machine import ROOT
from benchmarks.replica_filling import fill
from demo_listings import hold_ceremony
from demo_people import person
from jointrisk.clock import utc_now
from jointrisk.listing.derive import ListingKeys
from jointrisk.listing.label import AmountBand, Category, Label, MemberKind, Severity
from jointrisk.listing.log import Entry, EntryKind, record_hash
from jointrisk.listing.packed import pack
from jointrisk.listing.record import Record, new_entry_id, seal
from jointrisk.masterkey import MasterKey
from jointrisk.operator_socket import operator_socket
from jointrisk.rpc.channel import unix_channel
from jointrisk.statedir import StateDir
from jointrisk_coordinator.authority import Authority
from local_federation import Daemon, LocalFederation, wait_until

FORMAT = 1
"""Of what is kept: another number, and all of it is made again."""

ASKER, HOLDERS = "east", ("south", "west")
KNOWN = range(9_000_000, 9_004_000)
"""Persons that are listed in the filled replicas."""

_KEPT = ROOT / "build" / "listings-bench"
_KEPT_SECONDS = 20 * 86_400  # certificates are valid for 30 days, and renewed while the daemons run
_NODE = '[listings]\nmember_kind = "bank"\n\n[holder.quota]\ncustomers = 1000000000\noriginations = 1000000000\n'
_COORDINATOR = '[listings]\nwindow = "0s"\nentries_per_member = 100000000\n'


class WindowClient:
    """The window of one node.

    Args:
        path: of its socket.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def take(self, what: str, **terms: Any) -> Any:
        """Return a figure (`benchmarks.listings_window.Window`).

        Raises:
            RuntimeError: it could not be taken.
        """
        self._socket.sendall(json.dumps({"what": what, "terms": terms}).encode() + b"\n")
        answer = json.loads(self._file.readline())
        if "error" in answer:
            raise RuntimeError(f"{what}: {answer['error']}")
        return answer["result"]


class _Federation(LocalFederation):
    def _daemon(self, role: str, name: str) -> Daemon:
        daemon = super()._daemon(role, name)
        return replace(daemon, module="benchmarks.listings_node") if role == "node" else daemon


@dataclass
class _Kept:
    """What is kept beside the federation's own state.

    Attributes:
        format: `FORMAT`.
        names: of the nodes.
        published: persons that are published: those from 0 on.
    """

    format: int = FORMAT
    names: Sequence[str] = (ASKER, *HOLDERS)
    published: int = 0


class Scene:
    """The federation, running.

    Args:
        quick: a small one, made anew and not kept.
    """

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.root = _KEPT.with_name("listings-bench-quick") if quick else _KEPT
        self._kept = self._read()
        if self._kept is None:
            shutil.rmtree(self.root, ignore_errors=True)
        self.federation = _Federation(self.root)
        try:
            self._resume() if self._kept else self._begin()
        except BaseException:
            self.federation.stop()
            raise
        self.windows = {name: WindowClient(node.home / WINDOW) for name, node in self.federation.nodes.items()}

    def close(self) -> None:
        """End all processes; a small federation is deleted."""
        self.federation.stop()
        if self.quick:
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def asker(self) -> WindowClient:
        """The window of the node that asks and lists."""
        return self.windows[ASKER]

    @property
    def asking_node(self) -> Daemon:
        """The node that asks and lists."""
        return self.federation.nodes[ASKER]

    @property
    def published(self) -> int:
        """How many persons are published: those from 0 on."""
        return self._kept.published if self._kept else 0

    def publish(self, rows: int) -> None:
        """List the next persons, each under one identifier."""
        file = self.root / "rows.parquet"
        numbers = range(self.published, self.published + rows)
        columns = {
            "reference": [f"row/{number}" for number in numbers],
            "resident_id": [person(number).resident_id for number in numbers],
            "category": ["confirmed_default"] * rows,
            "severity": ["high"] * rows,
            "listed_on": ["2026-06-30"] * rows,
        }
        pq.write_table(pa.table(columns), file)
        told = self.asking_node.json("listings", "publish", str(file), timeout=900)
        if told["listed"] + told["already"] != rows:
            raise RuntimeError(f"expected {rows} rows to be listed, got {told['listed']} and {told['already']}")
        self._keep(replace(self._kept or _Kept(), published=self.published + rows))

    @cached_property
    def channel(self) -> grpc.Channel:
        """The asking node's operator socket."""
        return unix_channel(str(operator_socket(self.asking_node.home)))

    def peer_port(self, name: str) -> int:
        """Return the port at which other members reach a node."""
        line = next(one for one in (self.root / name / "node.toml").read_text().splitlines() if "listen =" in one)
        return int(line.rpartition(":")[2].strip('"'))

    def filled(self, name: str, entries: int) -> Path:
        """Return a replica of so many random entries, and one of each of `KNOWN`; made where it is missing."""
        folder = self.root / "filled" / name
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            epoch = self._epoch()
            made = fill(
                folder / str(epoch) / "1", self._authority.federation, epoch, self._authority.identity_key,
                entries - len(KNOWN), utc_now(), self._known_entries(epoch),
            )  # fmt: skip
            made.replica.close()
            (folder / "done").touch()
        return folder

    def _known_entries(self, epoch: int) -> list[bytes]:
        """Return one entry of each of `KNOWN`, as another lender would have sealed it."""
        found = self.asker.take("keys", first=KNOWN.start, count=len(KNOWN))
        keys = [ListingKeys(epoch, bytes.fromhex(tag), bytes(16), bytes.fromhex(key)) for tag, key in found]
        return [pack([sealed_entry(one)]) for one in keys]

    def _epoch(self) -> int:
        return int(self.asker.take("epoch"))

    @cached_property
    def _authority(self) -> Authority:
        coordinator = self.federation.coordinator
        return Authority.open("local", StateDir(coordinator.home), MasterKey(coordinator.key_file.read_bytes()))

    def _begin(self) -> None:
        federation = self.federation
        federation.init_coordinator(_COORDINATOR)
        federation.coordinator.start()
        for name in _Kept().names:
            federation.add_node(name, extra_toml=_NODE, listen=True)
        federation.wait_online()
        hold_ceremony(federation)
        for node in federation.nodes.values():
            wait_until(partial(_has_log, node), f"the log at {node.name}")
        self._keep(_Kept())

    def _resume(self) -> None:
        federation = self.federation
        federation.coordinator.start()
        for name in _Kept().names:
            federation.new_node(name).start()
        federation.wait_online()

    def _read(self) -> _Kept | None:
        path = self.root / "kept.json"
        if self.quick or not path.exists() or time.time() - path.stat().st_mtime > _KEPT_SECONDS:
            return None
        kept = json.loads(path.read_text())
        return _Kept(**kept) if kept["format"] == FORMAT else None

    def _keep(self, kept: _Kept) -> None:
        self._kept = kept
        (self.root / "kept.json").write_text(json.dumps(asdict(kept)))


def _has_log(node: Daemon) -> bool:
    return bool(node.json("listings", "sync")["replicas"])


def sealed_entry(keys: ListingKeys) -> tuple[Entry, bytes]:
    """Return an entry under an identifier's tag, as a lender would seal it, and its record."""
    label = Label(
        Category.CONFIRMED_DEFAULT, Severity.HIGH, date(2026, 6, 30), date(2031, 6, 30),
        AmountBand.NOT_STATED, MemberKind.BANK, urandom(16),
    )  # fmt: skip
    record = Record(seal(label, keys, new_entry_id(urandom)), urandom(8)).to_bytes()
    return Entry(EntryKind.APPEND, record_hash(record), has_body=True), record
