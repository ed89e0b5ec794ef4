"""The demo's second half: a key that nobody has, listings that nobody can enumerate, and questions about persons.

Each lender lists its real defaulters, and as a sample of its active loans every tenth of the others. Who is a customer
of several lenders is `demo_people`'s rule, so that what must be found is known: it is counted here from the files, and
compared with what the nodes answer.
"""

import csv
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demo_data import LABEL, LenderFiles
from demo_people import Persons, deal, person
from jointrisk.operator_socket import operator_socket
from jointrisk.rpc.channel import unix_channel
from jointrisk.rpc.v1 import evaluation_pb2, signal_pb2
from jointrisk.rpc.v1.signal_pb2_grpc import SignalServiceStub
from local_federation import Daemon, LocalFederation, wait_until

SAMPLE = 10
"""Of the loans that go well, every tenth is listed as active."""
SCREENED = 4000
"""Customers that the bank screens."""
_QUERIES = 200
_DEFAULT, _LOAN = "confirmed_default", "active_loan"
_LISTED_ON = "2026-06-30"
_KINDS = {"bank": "bank", "consumer-finance": "consumer_finance", "instalment": "instalment_platform"}


@dataclass(frozen=True)
class Plan:
    """Who is listed by whom, as the files say.

    Attributes:
        persons: by lender, the person of each row of its loan book.
        files: by lender, what it publishes.
        defaults: by person, how many lenders list a default.
        loans: by person, how many lenders list an active loan.
        rows: all listed rows.
    """

    persons: Mapping[str, Persons]
    files: Mapping[str, Path]
    defaults: Counter[int] = field(default_factory=Counter)
    loans: Counter[int] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """How many rows are listed, each under two identifiers."""
        return self.defaults.total() + self.loans.total()

    @property
    def nobody(self) -> int:
        """The first person who is nobody's customer."""
        return 1 + max(int(numbers.max()) for numbers in self.persons.values())

    def customers_with(self, lender: str, listed: Counter[int], at_least: int) -> list[int]:
        """Return a lender's customers with so many listings."""
        return [number for number in map(int, self.persons[lender]) if listed[number] >= at_least]


def settings_of(lender: str) -> str:
    """Return what a lender's node.toml needs for the listings."""
    return f'[listings]\nmember_kind = "{_KINDS[lender]}"\n\n[holder.quota]\ncustomers = 200000\n'


def write_listings(lenders: Sequence[LenderFiles]) -> Plan:
    """Write ``listings.parquet`` beside each lender's loan book, and return what is in them."""
    persons = deal({lender.name: lender.rows for lender in lenders})
    plan = Plan(persons, {lender.name: lender.train.with_name("listings.parquet") for lender in lenders})
    for lender in lenders:
        bad = pq.read_table(lender.train, columns=[LABEL])[LABEL].to_numpy().astype(bool)
        listed = np.flatnonzero(bad | (np.arange(lender.rows) % SAMPLE == 0))
        rows = [_row(lender.name, int(row), int(persons[lender.name][row]), bad=bool(bad[row])) for row in listed]
        for row, one in zip(listed, rows, strict=True):
            (plan.defaults if one["category"] == _DEFAULT else plan.loans)[int(persons[lender.name][row])] += 1
        pq.write_table(pa.Table.from_pylist(rows), plan.files[lender.name])
    return plan


def _row(lender: str, row: int, number: int, *, bad: bool) -> dict[str, str]:
    who = person(number)
    return {
        "reference": f"{lender}/{row}",
        "resident_id": who.resident_id,
        "phone": who.phone,
        "category": _DEFAULT if bad else _LOAN,
        "severity": "high" if bad else "none",
        "listed_on": _LISTED_ON,
    }


def hold_ceremony(federation: LocalFederation) -> dict[str, Any]:
    """Have the three lenders make a key that any two of them can evaluate with; people at all three approve."""
    names = list(federation.nodes)
    ceremony: dict[str, Any] = federation.coordinator.json(
        "ceremony", "start", "--threshold", "2", "--holders", ",".join(names)
    )
    for name in names:
        short, terms = ceremony["ceremony_id"][:8], ceremony["terms_fingerprint"]
        federation.nodes[name].command("approve", short, "--terms", terms)
    wait_until(lambda: _ceremony(federation)["state"] == "done", "the key ceremony")
    return _ceremony(federation)


def _ceremony(federation: LocalFederation) -> dict[str, Any]:
    shown: dict[str, Any] = federation.coordinator.json("ceremony", "status")
    return shown


def publish(federation: LocalFederation, plan: Plan) -> dict[str, float]:
    """Have each lender publish its file, and wait until all nodes have all entries; return rows a second by lender."""
    rates = {}
    for name, file in plan.files.items():
        began = time.monotonic()
        told = federation.nodes[name].json("listings", "publish", str(file), timeout=600)
        if told["refused"]:
            raise RuntimeError(f"{told['refused']} rows of {name} were refused")
        rates[name] = round(told["listed"] / (time.monotonic() - began), 1)
    for node in federation.nodes.values():
        wait_until(partial(_has_all, node, 2 * plan.rows), f"all listings at {node.name}")
    return rates


def _has_all(node: Daemon, entries: int) -> bool:
    return max((one["live"] for one in node.json("listings", "sync")["replicas"]), default=0) >= entries


class Asking:
    """A lender's own system, asking its node about single persons.

    Args:
        node: the lender's.
    """

    def __init__(self, node: Daemon) -> None:
        self._channel = unix_channel(str(operator_socket(node.home)))
        self._stub = SignalServiceStub(self._channel)
        self.milliseconds: list[float] = []

    def about(self, number: int) -> signal_pb2.Signal:
        """Return what is listed about a person."""
        who = person(number)
        identifiers = [
            signal_pb2.PersonIdentifier(kind="resident_id", country="CN", value=who.resident_id),
            signal_pb2.PersonIdentifier(kind="phone", country="CN", value=who.phone),
        ]
        request = signal_pb2.QueryRequest(
            persons=[signal_pb2.Person(identifiers=identifiers)],
            purpose=evaluation_pb2.ADMISSION,
            consent_reference="demo/application",
        )
        began = time.perf_counter()
        response: signal_pb2.QueryResponse = self._stub.Query(request, timeout=30)
        self.milliseconds.append((time.perf_counter() - began) * 1000)
        return response.signals[0]

    def close(self) -> None:
        """End."""
        self._channel.close()


@dataclass(frozen=True)
class Asked:
    """What single questions found, and how long they took."""

    hit: signal_pb2.Signal
    exposed: signal_pb2.Signal
    miss: signal_pb2.Signal
    p50_ms: float
    p99_ms: float


def ask(federation: LocalFederation, plan: Plan) -> Asked:
    """Have the bank ask about somebody who defaulted elsewhere, somebody with loans elsewhere, and somebody unknown."""
    asking = Asking(federation.nodes["bank"])
    try:
        hit = asking.about(plan.customers_with("bank", plan.defaults, 2)[0])
        exposed = asking.about(plan.customers_with("bank", plan.loans, 2)[0])
        miss = asking.about(plan.nobody)
        for number in plan.persons["bank"][:_QUERIES]:
            asking.about(int(number))
    finally:
        asking.close()
    p50, p99 = np.percentile(asking.milliseconds, [50, 99])
    return Asked(hit, exposed, miss, round(float(p50), 2), round(float(p99), 2))


@dataclass(frozen=True)
class Screened:
    """What the screening of a part of a book found, and should have."""

    persons: int
    seconds: float
    hits_expected: int
    hits_found: int
    false_hits: int
    exposure_expected: int
    exposure_found: int


def screen(federation: LocalFederation, plan: Plan, folder: Path) -> Screened:
    """Have the bank screen a part of its book, and compare what is found with what the files say."""
    numbers = [int(one) for one in plan.persons["bank"][:SCREENED]]
    book, out = folder / "book.parquet", folder / "found.csv"
    people = [person(number) for number in numbers]
    pq.write_table(pa.table({"resident_id": [p.resident_id for p in people], "phone": [p.phone for p in people]}), book)
    began = time.monotonic()
    terms = ("--purpose", "portfolio", "--consent", "demo/book")
    federation.nodes["bank"].command("signals", "screen", str(book), *terms, "--out", str(out), timeout=600)
    seconds = time.monotonic() - began
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    defaulters = {numbers[int(row["row"]) - 1] for row in rows if _DEFAULT in row["listings"]}
    expected = {number for number in numbers if plan.defaults[number]}
    return Screened(
        len(numbers),
        round(seconds, 2),
        len(expected),
        len(defaulters & expected),
        len(defaulters - expected),
        sum(plan.loans[number] for number in numbers),
        sum(int(row["loan_lenders"]) for row in rows),
    )
