"""Who is online, and the way from runs to streams and back."""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import JointriskError
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.throttle import Throttle
from jointrisk.transfer import check_run_id
from jointrisk_coordinator.runs.quorum import Monotonic
from jointrisk_coordinator.runs.session import Session, StreamSettings, Versions
from jointrisk_coordinator.runs.tickets import Listener, Order, Ticket, TicketBook

log = structlog.get_logger()

_RECORDED = 20


class Audit(Protocol):
    """The part of :class:`jointrisk.store.audit_log.AuditLog` that is needed here."""

    def append(self, event: str, /, **fields: str | int) -> object:
        """Write an entry, durably."""


class Hub:
    """All nodes' streams. Used from the daemon's event loop alone.

    Args:
        runs_folder: where each run has a folder.
        audit: where broken rules are recorded.
        settings: limits of streams.
        versions: what roster and contract are current.
        clock: time of day, for ``last_seen``.
        monotonic: for leases.
    """

    def __init__(
        self,
        runs_folder: Path,
        audit: Audit,
        settings: StreamSettings,
        versions: Callable[[], Versions],
        *,
        clock: Clock = utc_now,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self.runs_folder = runs_folder
        self.book = TicketBook(lambda run_id: runs_folder / check_run_id(run_id))
        self._audit = audit
        self._settings = settings
        self._versions = versions
        self._clock = clock
        self._monotonic = monotonic
        self._sessions: dict[str, Session] = {}
        self._seen: dict[str, datetime] = {}
        self._away: dict[str, float] = {}
        self._watchers: set[Callable[[], None]] = set()
        self._throttles: dict[str, Throttle] = {}
        self._stopping = ""

    @property
    def chunk_bytes(self) -> int:
        """The largest piece of a message in one frame, bytes."""
        return self._settings.chunk_bytes

    def online(self) -> frozenset[str]:
        """Return the members that have a stream now."""
        return frozenset(self._sessions)

    def last_seen(self, member_id: str) -> datetime | None:
        """Return when a member last had a stream, since this daemon started."""
        return self._clock() if member_id in self._sessions else self._seen.get(member_id)

    def software_version(self, member_id: str) -> str:
        """Return what version an online member says it runs; empty when it is offline."""
        session = self._sessions.get(member_id)
        return session.software_version if session else ""

    def away_seconds(self, member_id: str) -> float | None:
        """Return for how long a member has had no stream; None while it has one.

        A member that has not been seen counts as away since this hub first was asked about it.
        """
        if member_id in self._sessions:
            return None
        now = self._monotonic()
        return now - self._away.setdefault(member_id, now)

    def watch_presence(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` whenever somebody comes or goes; returns what ends that."""
        self._watchers.add(changed)
        return lambda: self._watchers.discard(changed)

    def attach(self, run_id: str, listener: Listener) -> None:
        """Take an active run in; ``listener`` is told its answers."""
        self.book.attach(run_id, listener)

    def detach(self, run_id: str) -> None:
        """Forget a run that has ended; online nodes delete what they keep of it, others when they come back."""
        self.book.detach(run_id)
        for session in self._sessions.values():
            session.say(pb.CoordinatorFrame(cancel=pb.Cancel(run_id=run_id)))

    def ask(self, orders: Iterable[Order]) -> None:
        """Send tasks, or tell the answers that are there already."""
        for order in orders:
            ticket = self.book.ask(order)
            session = self._sessions.get(ticket.member_id)
            if session is not None:
                session.nudge()

    def withdraw(self, run_id: str, message_ids: Iterable[str]) -> None:
        """No longer wait for these; nodes drop what they have not answered."""
        self._cancel(self.book.withdraw(run_id, message_ids))

    def release(self, run_id: str, number: int) -> None:
        """A round is complete: delete its tasks and replies."""
        self._cancel(self.book.release(run_id, number))

    def announce(self) -> None:
        """Tell every node now which roster, contract and model are current, instead of with the next heartbeat."""
        beat = self._versions().beat()
        for session in self._sessions.values():
            session.say(pb.CoordinatorFrame(heartbeat=beat))

    def close_member(self, member_id: str, reason: str) -> bool:
        """End a member's stream, if it has one; returns whether it had."""
        session = self._sessions.get(member_id)
        if session is None:
            return False
        session.close(reason)
        self.closed(session)  # now, not only when the peer has read the goodbye
        return True

    def open(self, member_id: str, hello: pb.Hello) -> Session:
        """Take in a new stream; it replaces the member's older one.

        Raises:
            VersionMismatchError: there is no common protocol version.
            RefusedError: the greeting names somebody else.
        """
        session = Session(member_id, self.book, self._settings, self._versions, self._monotonic)
        session.greet(hello)  # a greeting that is refused replaces nothing
        previous = self._sessions.pop(member_id, None)
        if previous is not None:
            previous.release()
            previous.close("replaced by a newer stream of the same member")
        if self._stopping:
            session.close(self._stopping)
        self._sessions[member_id] = session
        self._away.pop(member_id, None)
        self._presence_changed()
        log.info("training.connected", member_id=member_id, version=session.software_version)
        return session

    def closed(self, session: Session) -> None:
        """A stream has ended."""
        session.release()
        if self._sessions.get(session.member_id) is not session:
            return
        del self._sessions[session.member_id]
        self._seen[session.member_id] = self._clock()
        self._away[session.member_id] = self._monotonic()
        self._presence_changed()
        log.info("training.disconnected", member_id=session.member_id)

    async def refused(self, member_id: str, error: JointriskError) -> None:
        """Record that a stream broke a rule; a node that goes on and on is recorded a few times a minute."""
        throttle = self._throttles.setdefault(member_id, Throttle(limit=_RECORDED, period=timedelta(minutes=1)))
        unrecorded = throttle.passes(self._clock())
        if unrecorded is None:
            return
        log.warning("training.refused", member_id=member_id, code=error.code, reason=error.message)
        await asyncio.to_thread(
            self._audit.append,
            "training.refused",
            member_id=member_id,
            code=error.code,
            reason=error.message,
            unrecorded=unrecorded,
        )

    def stop(self, reason: str) -> None:
        """Say goodbye to everybody, now and to who still comes."""
        self._stopping = reason
        for session in list(self._sessions.values()):
            session.close(reason)

    def _cancel(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            session = self._sessions.get(ticket.member_id)
            if session is not None:
                session.say(pb.CoordinatorFrame(cancel=pb.Cancel(message_id=ticket.message_id)))

    def _presence_changed(self) -> None:
        for changed in list(self._watchers):
            changed()
