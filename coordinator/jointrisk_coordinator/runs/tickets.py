"""Open tasks: what has been asked of whom, and what came of it.

A ticket is a task from the moment it is asked until its round is complete. Its reply lies in a file before anybody
hears of it. Tickets survive the daemon: a small record of each lies beside the replies, so that a node may answer to a
coordinator that has just been restarted and whose run worker has not asked again yet.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jointrisk import durable, transfer
from jointrisk.errors import ConflictError, RefusedError
from jointrisk.transfer import Header

_CLOSED_KEPT = 8192


@dataclass(frozen=True)
class Order:
    """A task to be asked of one member.

    Attributes:
        run_id: the run.
        member_id: who is asked.
        round: the round it belongs to, 0 before the first.
        base_round: the last complete round.
        kind: "offer", "train", "evaluate" or "query".
        header: message id, size and digest of the content.
        content: the file that holds it; members asked the same share it.
        budget_ms: how long the node has, counted from receipt; 0 for no limit.
    """

    run_id: str
    member_id: str
    round: int
    base_round: int
    kind: str
    header: Header
    content: Path
    budget_ms: int


@dataclass(frozen=True)
class Answer:
    """What a member said to a task: a reply in a file, or a failure with its code and reason."""

    message_id: str
    member_id: str
    reply: Path | None
    code: str = ""
    reason: str = ""


Listener = Callable[[Answer], None]


@dataclass
class Ticket:
    """One open task. ``order`` is None after a restart, until the run's worker asks again."""

    run_id: str
    member_id: str
    message_id: str
    round: int
    order: Order | None = None
    at_node: bool = False
    reply: Header | None = None
    failure: Answer | None = None

    @property
    def answered(self) -> bool:
        """Whether nothing more is expected of the member."""
        return self.reply is not None or self.failure is not None


@dataclass
class _Run:
    folder: Path
    listener: Listener | None = None
    tickets: dict[str, Ticket] = field(default_factory=dict)


class TicketBook:
    """All tickets of all active runs. Used from one thread.

    Args:
        folder_of: returns a run's folder; tickets lie in its ``in`` folder, contents in its ``out`` folder.
    """

    def __init__(self, folder_of: Callable[[str], Path]) -> None:
        self._folder_of = folder_of
        self._runs: dict[str, _Run] = {}
        self._tickets: dict[str, Ticket] = {}
        self._closed: OrderedDict[str, tuple[str, bytes | None]] = OrderedDict()

    @property
    def runs(self) -> set[str]:
        """The active runs."""
        return set(self._runs)

    def attach(self, run_id: str, listener: Listener) -> None:
        """Take a run in: load what lies in its folder, and tell ``listener`` every answer from now on."""
        run = self._runs.setdefault(run_id, _Run(durable.folder(self._folder_of(run_id) / "in")))
        run.listener = listener
        for path in sorted(run.folder.glob("*.json")):
            self._load(run_id, run, path)

    def detach(self, run_id: str) -> list[Ticket]:
        """Forget an ended run with all its tickets, and delete its files; return the tickets that were open."""
        run = self._runs.pop(run_id, None)
        if run is None:
            return []
        open_ones = [ticket for ticket in run.tickets.values() if not ticket.answered]
        for ticket in list(run.tickets.values()):
            self._close(run, ticket)
        return open_ones

    def ask(self, order: Order) -> Ticket:
        """Open a ticket, or find it again; an answer that is there already is told at once."""
        run = self._runs[order.run_id]
        ticket = run.tickets.get(order.header.message_id)
        if ticket is None:
            ticket = Ticket(order.run_id, order.member_id, order.header.message_id, order.round)
            self._add(run, ticket)
            self._record(run, ticket)
        ticket.order = order
        ticket.failure = None
        if ticket.reply is not None:
            self._tell(run, ticket)
        return ticket

    def find(self, member_id: str, message_id: str) -> Ticket | None:
        """Return a member's ticket; None for one that was closed before without an answer.

        Raises:
            RefusedError: this member was never asked this.
        """
        ticket = self._tickets.get(message_id)
        if ticket is not None and ticket.member_id == member_id:
            return ticket
        if ticket is None and self._closed.get(message_id, ("", None))[0] == member_id:
            return None
        raise RefusedError(f"{member_id} has not been asked for message {message_id[:12]}")

    def seen_before(self, message_id: str, sha256: bytes) -> bool:
        """Tell whether exactly this reply was stored for a ticket that is closed now.

        Raises:
            ConflictError: another reply was.
        """
        stored = self._closed[message_id][1]
        if stored is not None and stored != sha256:
            raise ConflictError(f"message {message_id[:12]} was answered before, with other content")
        return stored == sha256

    def is_open(self, message_id: str) -> bool:
        """Tell whether anybody still waits for this."""
        return message_id in self._tickets

    def folder(self, ticket: Ticket) -> Path:
        """Return where a ticket's reply arrives."""
        return self._runs[ticket.run_id].folder

    def reply_path(self, ticket: Ticket) -> Path:
        """Return where a ticket's whole reply lies."""
        return self.folder(ticket) / f"{ticket.message_id}.reply"

    def answer(self, ticket: Ticket, header: Header) -> None:
        """Note that a ticket's reply is stored, and tell the run."""
        run = self._runs[ticket.run_id]
        ticket.reply = header
        self._record(run, ticket)
        self._tell(run, ticket)

    def fail(self, ticket: Ticket, code: str, reason: str) -> None:
        """Note that a ticket has no reply, and tell the run."""
        ticket.failure = Answer(ticket.message_id, ticket.member_id, None, code, reason)
        ticket.at_node = False  # the node has forgotten it: it can be asked afresh
        self._tell(self._runs[ticket.run_id], ticket)

    def next_for(self, member_id: str, window: int) -> Ticket | None:
        """Return the ticket to send to a member next; None when there is none or ``window`` are at work there."""
        mine = [t for t in self._tickets.values() if t.member_id == member_id and not t.answered]
        if sum(ticket.at_node for ticket in mine) >= window:
            return None
        return next((ticket for ticket in mine if ticket.order is not None and not ticket.at_node), None)

    def reconcile(self, member_id: str, held: Iterable[str], partial: Iterable[str]) -> list[str]:
        """Learn from a node's greeting what it has, and return what it may delete."""
        held, partial = set(held), set(partial)
        mine = {t.message_id: t for t in self._tickets.values() if t.member_id == member_id and not t.answered}
        for message_id, ticket in mine.items():
            ticket.at_node = message_id in held
        return sorted((held | partial) - set(mine))

    def partial_replies(self, member_id: str) -> list[tuple[str, int]]:
        """Return ids and sizes of a member's replies of which only the beginning is here."""
        found = [item for run in self._runs.values() for item in transfer.partials(run.folder)]
        return [(m, n) for m, n in found if (t := self._tickets.get(m)) is not None and t.member_id == member_id]

    def withdraw(self, run_id: str, message_ids: Iterable[str]) -> list[Ticket]:
        """Close tickets that nobody waits for any more; return those that were not answered."""
        run = self._runs.get(run_id)
        tickets = [t for m in message_ids if run is not None and (t := run.tickets.get(m)) is not None]
        for ticket in tickets:
            if run is not None:
                self._close(run, ticket)
        return [ticket for ticket in tickets if not ticket.answered]

    def release(self, run_id: str, number: int) -> list[Ticket]:
        """Close every ticket of rounds up to ``number``, which is complete; return those that were open."""
        run = self._runs[run_id]
        done = [ticket for ticket in run.tickets.values() if ticket.round <= number]
        return self.withdraw(run_id, [ticket.message_id for ticket in done])

    def _add(self, run: _Run, ticket: Ticket) -> None:
        run.tickets[ticket.message_id] = ticket
        self._tickets[ticket.message_id] = ticket
        self._closed.pop(ticket.message_id, None)

    def _tell(self, run: _Run, ticket: Ticket) -> None:
        if run.listener is None or ticket.order is None:
            return
        reply = Answer(ticket.message_id, ticket.member_id, self.reply_path(ticket))
        run.listener(ticket.failure or reply)

    def _close(self, run: _Run, ticket: Ticket) -> None:
        run.tickets.pop(ticket.message_id, None)
        self._tickets.pop(ticket.message_id, None)
        self._closed[ticket.message_id] = (ticket.member_id, ticket.reply.sha256 if ticket.reply else None)
        while len(self._closed) > _CLOSED_KEPT:
            self._closed.popitem(last=False)
        transfer.discard(run.folder, ticket.message_id)

    def _record(self, run: _Run, ticket: Ticket) -> None:
        # Not synced: a record lost in a power cut makes the node forget its reply and compute the same one again.
        reply = ticket.reply and {"bytes": ticket.reply.total_bytes, "sha256": ticket.reply.sha256.hex()}
        record = {"member": ticket.member_id, "round": ticket.round, "reply": reply}
        path = run.folder / f"{ticket.message_id}.json"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(record))
        scratch.replace(path)

    def _load(self, run_id: str, run: _Run, path: Path) -> None:
        message_id = transfer.check_message_id(path.stem)
        try:
            record = json.loads(path.read_text())
        except ValueError:  # a record cut short by a power cut
            transfer.discard(run.folder, message_id)
            return
        ticket = Ticket(run_id, record["member"], message_id, record["round"])
        stored = record["reply"]
        if stored is not None and self._reply_is_whole(run, message_id, stored["bytes"]):
            ticket.reply = Header(message_id, stored["bytes"], bytes.fromhex(stored["sha256"]))
        self._add(run, ticket)

    @staticmethod
    def _reply_is_whole(run: _Run, message_id: str, size: int) -> bool:
        path = run.folder / f"{message_id}.reply"
        return path.exists() and path.stat().st_size == size
