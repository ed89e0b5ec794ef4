"""Telling that a coordinator shows different logs to different members, and keeping what proves it.

Heads come with the requests of askers and the answers of holders. They are queued, and judged in the background; what
is beyond this node's own log waits until that has come so far. A fork is a file of evidence, a record in the audit log
and an alarm for as long as the file is there.
"""

import json
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog

from jointrisk.clock import Clock, rfc3339
from jointrisk.durable import folder as private_folder
from jointrisk.durable import write
from jointrisk.errors import JointriskError
from jointrisk.federation.signing import Signed
from jointrisk.listing.head import Head, disagrees, proven_fork
from jointrisk.listing.log import Point
from jointrisk.store import AuditLog
from jointrisk_node.replica.disk import signed_to_json
from jointrisk_node.replica.replica import Replica, Served

DIVERGED: Final = "diverged"
"""Two heads of different sizes, and the smaller one is not the larger one's past."""

_QUEUED = 256
_WAITING = 64
_SEEN = 4096
_MOST_EVIDENCE = 16
_MOST_ENTRIES = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ForkAlarm:
    """A fork that has been proven.

    Attributes:
        epoch: of which log.
        reason: `jointrisk.listing.head.Fork`, or `DIVERGED`.
        brought_by: the member whose head showed it, or "coordinator".
        found_at: when, RFC 3339.
        evidence: the file with the two heads, and with the own point where it takes that.
    """

    epoch: int
    reason: str
    brought_by: str
    found_at: str
    evidence: Path


@dataclass(frozen=True, slots=True)
class _Brought:
    epoch: int
    signed: Signed = field(repr=False)
    by: str


class ForkWatch:
    """Compares heads.

    Args:
        folder: where evidence is kept; made where it is missing.
        coordinator_key: the pinned key.
        replica: returns an epoch's own replica, or None.
        audit: the node's audit log.
        clock: the time.
    """

    def __init__(
        self,
        folder: Path,
        coordinator_key: bytes,
        replica: Callable[[int], Replica | None],
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._folder = private_folder(folder)
        self._coordinator_key = coordinator_key
        self._replica = replica
        self._audit = audit
        self._clock = clock
        self._queue: deque[_Brought] = deque(maxlen=_QUEUED)
        self._waiting: OrderedDict[bytes, tuple[_Brought, Head]] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._judging = threading.Lock()
        self.alarms = tuple(self._stored())

    def compare(self, epoch: int, signed: Signed, brought_by: str) -> bool:
        """Queue somebody's head; return whether it has to be judged. Takes no time and raises nothing."""
        if signed.signature in self._seen:
            return False
        self._queue.append(_Brought(epoch, signed, brought_by))
        return True

    def judge(self) -> None:
        """Judge what is queued, and what has waited for the own log. Blocks."""
        with self._judging:
            while self._queue:
                self._attempt(self._queue.popleft())
            for signature in list(self._waiting):
                self._judge(*self._waiting.pop(signature))

    def _attempt(self, brought: _Brought) -> None:
        """Judge one head. One that is not signed by the coordinator proves nothing against anybody."""
        replica = self._replica(brought.epoch)
        if replica is None or brought.signed.signature in self._seen:
            return
        try:
            head = replica.read(brought.signed)
        except JointriskError as error:
            log.warning("listings.head_refused", member_id=brought.by, code=error.code, reason=error.message)
            return
        self._note(brought.signed)
        self._judge(brought, head)

    def _note(self, signed: Signed) -> None:
        self._seen[signed.signature] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)

    def _judge(self, brought: _Brought, head: Head) -> None:
        replica = self._replica(brought.epoch)
        served = replica.served if replica is not None else None
        if served is not None and self._contradicts(brought, head, served.signed, served.head):
            return
        if any(self._contradicts(brought, head, one.signed, other) for one, other in self._waiting_of(brought.epoch)):
            return
        if replica is None or served is None or head.size > served.head.size:
            self._wait(brought, head)
            return
        own = replica.point_at(head.size)
        if disagrees(head, own):
            self._keep(brought, DIVERGED, served.signed, own, _between(replica, head.size, served))

    def _waiting_of(self, epoch: int) -> list[tuple[_Brought, Head]]:
        return [item for item in self._waiting.values() if item[0].epoch == epoch]

    def _wait(self, brought: _Brought, head: Head) -> None:
        self._waiting[brought.signed.signature] = brought, head
        if len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)

    def _contradicts(self, brought: _Brought, head: Head, signed: Signed, other: Head) -> bool:
        """Tell whether two heads alone prove a fork, and keep them if so."""
        smaller, larger = sorted((head, other), key=lambda one: one.size)
        same = head.size == other.size
        if not (same and head.hash != other.hash) and not (not same and smaller.signed_at > larger.signed_at):
            return False
        fork = proven_fork(signed, brought.signed, self._coordinator_key)
        if fork is not None:
            self._keep(brought, fork.reason, signed)
        return fork is not None

    def _keep(self, brought: _Brought, reason: str, other: Signed, own: Point | None = None, log: bytes = b"") -> None:
        """Store the evidence, then tell of it."""
        pair = sorted((signed_to_json(other), signed_to_json(brought.signed)))
        name = f"{brought.epoch}-{sha256(b''.join(pair)).hexdigest()[:16]}"
        path = self._folder / f"{name}.json"
        if path.exists() or sum(alarm.epoch == brought.epoch for alarm in self.alarms) >= _MOST_EVIDENCE:
            return
        if log:
            write(path.with_suffix(".entries"), log)
        alarm = ForkAlarm(brought.epoch, str(reason), brought.by, rfc3339(self._clock()), path)
        write(path, _evidence(alarm, pair, own))
        self.alarms = (*self.alarms, alarm)
        self._audit.append(
            "listings.fork", epoch=alarm.epoch, reason=alarm.reason, brought_by=alarm.brought_by, evidence=name
        )

    def _stored(self) -> list[ForkAlarm]:
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                kept = json.loads(path.read_bytes())
                found.append(ForkAlarm(kept["epoch"], kept["reason"], kept["brought_by"], kept["found_at"], path))
            except (ValueError, KeyError, TypeError):
                log.warning("listings.evidence_unreadable", file=path.name)
        return found


def _between(replica: Replica, size: int, served: Served) -> bytes:
    """Return the entries from a size on to the own head; none where they are too many for a file."""
    return replica.entries(size, served.head.size) if served.head.size - size <= _MOST_ENTRIES else b""


def _evidence(alarm: ForkAlarm, pair: list[bytes], own: Point | None) -> bytes:
    kept: dict[str, object] = {
        "epoch": alarm.epoch,
        "reason": alarm.reason,
        "brought_by": alarm.brought_by,
        "found_at": alarm.found_at,
        "heads": [json.loads(one) for one in pair],
    }
    if own is not None:
        kept["own"] = {"size": own.size, "hash": own.hash.hex()}
    return json.dumps(kept, indent=2).encode()
