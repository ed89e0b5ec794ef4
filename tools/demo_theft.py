"""What thieves of the demo's federation get: the coordinator's database, and one node's disk with its master key.

The thief knows every identifier that could be in there, and tries them all. As a control, two holders' shares, which
are as many as the threshold, are used in the same way: they find what is listed.
"""

import re
import shutil
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from demo_listings import Plan
from demo_people import person
from jointrisk.identifiers import canonicalise
from jointrisk.listing.derive import derive, tag_of
from jointrisk.listing.log import EntryKind
from jointrisk.listing.packed import unpack
from jointrisk.listing.record import Record
from jointrisk.masterkey import MasterKey
from jointrisk.operator_socket import operator_socket
from jointrisk.oprf import group
from jointrisk.oprf.ceremony import GroupKey
from jointrisk.oprf.group import Scalar
from jointrisk.oprf.sharing import lagrange
from jointrisk.oprf.suite import VOPRF
from jointrisk.rpc.channel import unix_channel
from jointrisk.rpc.v1 import holder_operator_pb2
from jointrisk.rpc.v1.holder_operator_pb2_grpc import NodeHolderOperatorStub
from jointrisk.statedir import StateDir
from jointrisk_node.database import open_database
from jointrisk_node.holder import GenerationLedger
from jointrisk_node.settings import load_settings
from local_federation import Daemon, LocalFederation

_TRIED = 1000
"""Persons that are tried with shares, all of them listed: it takes a fraction of a millisecond for each."""
_NUMBERS = re.compile(rb"(?<![0-9A-Za-z])\+?[0-9]{11,18}X?(?![0-9A-Za-z])")


@dataclass(frozen=True)
class Stolen:
    """What the thieves found.

    Attributes:
        entries: in the coordinator's log.
        tried: identifiers that were tried without a share, by reading and by hashing.
        in_clear: of them, those that can be read anywhere in the coordinator's database.
        hashed: of them, those for which a hash that anybody can compute is a tag of the log.
        persons: that were tried with shares.
        with_one_share: of them, those that one holder's share finds.
        with_two_shares: of them, those that two holders' shares find: the control.
        left_at_holder: questions that a stolen node that still runs could ask one other holder in this epoch.
    """

    entries: int
    tried: int
    in_clear: int
    hashed: int
    persons: int
    with_one_share: int
    with_two_shares: int
    left_at_holder: int


def steal(federation: LocalFederation, plan: Plan, folder: Path) -> Stolen:
    """Copy what the thieves steal, and try.

    Args:
        federation: while it runs.
        plan: who is listed.
        folder: for the copies.
    """
    database = folder / "coordinator.db"
    own_state = f"file:{federation.coordinator.home / 'state.db'}?mode=ro"
    with closing(sqlite3.connect(own_state, uri=True)) as source, closing(sqlite3.connect(database)) as copy:
        source.backup(copy)
    tags = _tags(database)
    listed = sorted(plan.defaults | plan.loans)
    known = [one for number in listed for one in (person(number).resident_id, person(number).phone)]
    first, second = (_shares(federation.nodes[name], folder) for name in ("instalment", "consumer-finance"))
    key = first.key
    indices = {name: index for index, (name, _) in enumerate(key.holders, 1)}
    own, other = indices["instalment"], indices["consumer-finance"]
    weights = lagrange([own, other])
    both = group.scalar_add(
        group.scalar_multiply(weights[own], first.share), group.scalar_multiply(weights[other], second.share)
    )
    some = listed[:_TRIED]
    return Stolen(
        entries=len(tags),
        tried=len(known),
        in_clear=_readable(folder, known),
        hashed=sum(sha256(one.encode()).digest()[:16] in tags or tag_of(_half(one)) in tags for one in known),
        persons=len(some),
        with_one_share=_found(some, key, first.share, tags),
        with_two_shares=_found(some, key, both, tags),
        left_at_holder=_left(federation.nodes["consumer-finance"], "instalment"),
    )


def _half(identifier: str) -> bytes:
    return sha256(identifier.encode()).digest()[:16]


def _tags(database: Path) -> frozenset[bytes]:
    """Return the tags of the log, which every member sees."""
    with closing(sqlite3.connect(database)) as opened:
        segments = [packed for (packed,) in opened.execute("SELECT packed FROM listing_segment")]
    records = (record for packed in segments for entry, record in unpack(packed) if entry.kind is EntryKind.APPEND)
    return frozenset(Record.from_bytes(record).sealed.tag for record in records if record is not None)


def _readable(folder: Path, known: Sequence[str]) -> int:
    """Return how many identifiers stand readably in any file that was stolen."""
    seen: set[bytes] = set()
    for file in folder.rglob("*"):
        if file.is_file():
            seen.update(_NUMBERS.findall(file.read_bytes()))
    return sum(one.encode() in seen or one.removeprefix("+").encode() in seen for one in known)


@dataclass(frozen=True)
class _Share:
    key: GroupKey
    share: Scalar


def _shares(node: Daemon, folder: Path) -> _Share:
    """Return what a node's disk gives to somebody who has got hold of its master key as well."""
    home = folder / node.name
    shutil.copytree(node.home, home, ignore=shutil.ignore_patterns("*.sock", "training", "models"))
    state = StateDir(home)
    with closing(open_database(state, load_settings(state))) as store:
        ledger = GenerationLedger(store, MasterKey(node.key_file.read_bytes()))
        newest = ledger.newest()
        if newest is None:
            raise RuntimeError("there is no key yet")
        return _Share(newest, ledger.share(newest.generation))


def _found(numbers: Sequence[int], key: GroupKey, share: Scalar, tags: Collection[bytes]) -> int:
    """Return how many persons somebody finds in the log who takes a share for the whole key."""
    found = 0
    for number in numbers:
        data = canonicalise("resident_id", "CN", person(number).resident_id).oprf_input(key.epoch)
        output = VOPRF.finalize(data, group.multiply(share, VOPRF.hash_to_group(data)))
        found += derive(output, key.epoch).tag in tags
    return found


def _left(holder: Daemon, member: str) -> int:
    """Return what a holder still grants a member in this epoch."""
    with unix_channel(str(operator_socket(holder.home))) as channel:
        status = NodeHolderOperatorStub(channel).GetHolder(holder_operator_pb2.GetHolderRequest(), timeout=30)
    return next((int(one.epoch_left) for one in status.members if one.member_id == member), 0)
