"""What a federation's databases hold of listings, compared with what should be there, and both sides' audit logs."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import lmdb

from demo_people import person
from jointrisk.evaluation import consent_commitment
from jointrisk.identifiers import canonicalise
from jointrisk.listing.derive import derive
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import unpack
from jointrisk.listing.record import Record
from jointrisk.oprf import group
from jointrisk.oprf.group import Scalar
from jointrisk.oprf.sharing import lagrange
from jointrisk.oprf.suite import VOPRF
from listing_federation import ListingFederation
from local_federation import Daemon, wait_until

_OF_ONE_PERSON = 2
"""Identifiers of a question about one."""


@dataclass(frozen=True)
class LogOnDisk:
    """An epoch's log, as it is in the coordinator's database.

    Attributes:
        appends: entries that were ever released.
        live: records that are there, by entry id.
        twice: ids that more than one record has.
    """

    appends: int
    live: Mapping[bytes, Record]
    twice: tuple[bytes, ...]

    def tags(self) -> Counter[bytes]:
        """Return how many live records are under each tag."""
        return Counter(one.sealed.tag for one in self.live.values())


def count(daemon: Daemon, chosen: str) -> int:
    """Return a number from a daemon's SQLite database, while it runs or not: ``SELECT`` and then this."""
    address = f"file:{daemon.home / 'state.db'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
        found = database.execute(f"SELECT {chosen}").fetchone()[0]
        return int(found or 0)


def charges(node: Daemon) -> int:
    """Return how many requests a holder has bound in its journal, while it runs or not."""
    path = str(node.home / "journal")
    with lmdb.open(path, readonly=True, max_dbs=16, map_size=16 << 30) as environment, environment.begin() as reading:
        bindings = environment.open_db(b"evaluation-bindings", reading, create=False)
        return int(reading.stat(bindings)["entries"])


def log_on_disk(federation: ListingFederation, epoch: int) -> LogOnDisk:
    """Read a log from the coordinator's SQLite database."""
    address = f"file:{federation.coordinator.home / 'state.db'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
        segments = database.execute("SELECT packed FROM listing_segment WHERE epoch = ? ORDER BY number", (epoch,))
        entries = [found for (packed,) in segments for found in unpack(packed)]
    appended = [record for entry, record in entries if entry.kind is EntryKind.APPEND]
    records = [Record.from_bytes(one) for one in appended if one is not None]
    ids = Counter(one.sealed.entry_id for one in records)
    twice = tuple(entry_id for entry_id, number in ids.items() if number > 1)
    return LogOnDisk(len(appended), {one.sealed.entry_id: one for one in records}, twice)


def own_live(node: Daemon, epoch: int) -> dict[bytes, bytes]:
    """Return the entries that a lister takes for live, by id, and their tags."""
    address = f"file:{node.home / 'state.db'}?mode=ro"
    chosen = "SELECT entry_id, tag FROM own_entry WHERE epoch = ? AND state = 'live' AND NOT want_ended AND todo = ''"
    with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
        return {bytes(entry_id): bytes(tag) for entry_id, tag in database.execute(chosen, (epoch,))}


def whole_key(federation: ListingFederation, epoch: int) -> Scalar:
    """Put enough holders' shares of an epoch's newest generation together, as nobody in earnest can."""
    made = [one for one in federation.generations(next(iter(federation.nodes))) if one["epoch"] == epoch][-1]
    chosen = list(enumerate(made["holders"], 1))[: made["threshold"]]
    weights = lagrange([index for index, _ in chosen])
    total = group.scalar_of(0)
    for index, name in chosen:
        share = federation.held(name)[made["generation"]]
        total = group.scalar_add(total, group.scalar_multiply(weights[index], share))
    return total


def tags_of(number: int, key: Scalar, epoch: int) -> list[bytes]:
    """Return the tags of a person of `demo_people`, computed by other means than the nodes'."""
    who, tags = person(number), []
    for kind, value in (("resident_id", who.resident_id), ("phone", who.phone)):
        data = canonicalise(kind, "CN", value).oprf_input(epoch)
        tags.append(derive(VOPRF.finalize(data, group.multiply(key, VOPRF.hash_to_group(data))), epoch).tag)
    return tags


def require_listed(federation: ListingFederation, epoch: int, listed: Iterable[int], gone: Iterable[int] = ()) -> None:
    """Persons are in the log once under each identifier, others not at all; listers and the log know the same entries.

    Args:
        federation: whose coordinator is at rest, with SQLite everywhere.
        epoch: of the log.
        listed: persons whom exactly one lender lists.
        gone: persons whom nobody lists any more.
    """
    log, key = log_on_disk(federation, epoch), whole_key(federation, epoch)
    tags = log.tags()
    assert not log.twice, f"{len(log.twice)} entry ids stand in the log twice"
    for number in listed:
        assert [tags[tag] for tag in tags_of(number, key, epoch)] == [1, 1], f"person {number}"
    for number in gone:
        assert [tags[tag] for tag in tags_of(number, key, epoch)] == [0, 0], f"person {number} is withdrawn"
    owned: dict[bytes, bytes] = {}
    for node in federation.nodes.values():
        owned |= own_live(node, epoch)
    assert owned == {entry_id: one.sealed.tag for entry_id, one in log.live.items()}


def require_replicas(federation: ListingFederation, epoch: int) -> None:
    """Every node's copy verifies, and has what the log has."""
    log = federation.logs()[epoch]
    for name in federation.nodes:
        wait_until(partial(has_fetched, federation, name), f"{name} at the coordinator", 120)
        copy = federation.verified(name)[epoch]
        assert (copy["size"], copy["live"]) == (log["size"], log["live"]), name
        assert not federation.lister(name)["alarms"], name


def has_fetched(federation: ListingFederation, name: str) -> bool:
    """Have a node fetch what is new; tell whether it could: not while it finds the coordinator again."""
    ended = federation.listings(name, "sync", "--json")
    assert ended.code in {0, 7}, ended
    return ended.code == 0


def require_counted(federation: ListingFederation, killed: Mapping[str, int] | None = None) -> None:
    """Both sides' audit logs match by request id, and each holder's accounts are what it answered.

    Holders answer nothing that the asker has not recorded; all that an asker has used was answered and charged, or
    free, at each holder of its quorum.

    Args:
        federation: at rest.
        killed: how often an asker was killed while it was asking about a person: the record of that is written while
            the holder works, so each kill can leave one at the holder alone.
    """
    wait_until(lambda: not any(waiting(node) for node in federation.nodes.values()), "the journals to be moved", 30)
    asked = {name: by_id(federation, name, "evaluation.asked") for name in federation.nodes}
    answered = {name: by_id(federation, name, "evaluation.answered") for name in federation.nodes}
    forgotten: Counter[str] = Counter()
    for holder, records in answered.items():
        for request_id, record in records.items():
            if request_id in asked[record["asker"]]:
                require_same_request(asked[record["asker"]][request_id], record, holder)
            else:
                assert int(record["count"]) <= _OF_ONE_PERSON, f"{record['asker']} has no record of a batch"
                forgotten[record["asker"]] += 1
        require_accounts(federation, holder, records.values())
    assert all(number <= (killed or {}).get(name, 0) for name, number in forgotten.items()), forgotten
    for name in federation.nodes:
        used = question_ids(federation, name, "signals.asked") - question_ids(federation, name, "signals.not_answered")
        of_holders = {
            record["question_id"]
            for request_id, record in asked[name].items()
            if "question_id" in record
            and all(request_id in answered[holder] for holder in record["quorum"].split(",") if holder != name)
        }
        assert len(used - of_holders) <= (killed or {}).get(name, 0), used - of_holders


def question_ids(federation: ListingFederation, name: str, event: str) -> set[str]:
    """Return the questions that a node's records of an event are about."""
    return {record["question_id"] for record in federation.events(federation.nodes[name], event)}


def waiting(node: Daemon) -> int:
    """Return how many records of a journal have not been moved into the audit log."""
    path = str(node.home / "journal")
    with lmdb.open(path, readonly=True, max_dbs=16, map_size=16 << 30) as environment, environment.begin() as reading:
        return int(reading.stat(environment.open_db(b"audit-journal", reading, create=False))["entries"])


def by_id(federation: ListingFederation, name: str, event: str) -> dict[str, dict[str, Any]]:
    """Return a node's records of one kind by request id; no id stands twice."""
    records = federation.events(federation.nodes[name], event)
    found = {one["request_id"]: one for one in records}
    assert len(found) == len(records), f"{name} has recorded a request twice as {event}"
    return found


def require_same_request(asked: Mapping[str, Any], answered: Mapping[str, Any], holder: str) -> None:
    """One request in both logs: what, for what, under which quorum, and with which consent."""
    for said in ("purpose", "count", "epoch", "generation"):
        assert answered[said] == asked[said], f"{said} at {holder}"
    assert holder in asked["quorum"].split(",")
    assert answered["consent"] == consent_commitment(bytes.fromhex(asked["nonce"]), asked["consent"]).hex()
    assert answered["charged"] in {0, answered["count"]}


def require_accounts(federation: ListingFederation, holder: str, answered: Iterable[Mapping[str, Any]]) -> None:
    """What a holder has charged is what it has answered and not given for nothing."""
    charged: Counter[tuple[str, int]] = Counter()
    for one in answered:
        charged[one["asker"], int(one["epoch"])] += int(one["charged"])
    accounts = {key: int(use["charged"]) for key, use in federation.holder(holder).items()}
    assert accounts == dict(charged), holder
