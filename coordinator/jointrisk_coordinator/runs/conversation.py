"""The daemon's side of the talk with one run worker process: lines to and from the pipe, tasks to and from the hub.

Lines from the worker: ``ask``, ``withdraw``, ``waiting``, ``commit``, ``done``, ``failed``. Lines to it: ``start``,
``answer``, ``presence``, ``committed``. A round that the worker calls complete is complete when its row is committed,
and only then does the worker go on.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jointrisk.errors import CorruptError
from jointrisk.transfer import Header, check_message_id
from jointrisk.worker_process import Line, WorkerProcess
from jointrisk_coordinator.runs.hub import Hub
from jointrisk_coordinator.runs.ledger import RoundView, RunLedger, RunView
from jointrisk_coordinator.runs.offers import Mailbox
from jointrisk_coordinator.runs.tickets import Answer, Order

WORKER = "jointrisk_coordinator.runs.worker"


@dataclass(frozen=True)
class Ended:
    """How the worker says that the run ended: "done" or "failed", and why."""

    state: str
    detail: str


@dataclass(frozen=True)
class Parties:
    """Who the members are to each other.

    Attributes:
        federation: its name.
        identities: the members' identity keys.
    """

    federation: str
    identities: Mapping[str, bytes]


class Conversation:
    """One worker process from its start to its end.

    Args:
        run: the run as the database has it.
        hub: the streams.
        ledger: the database.
        mailbox: the run's answers.
        contract: the feature contract's payload; None when the task needs none.
        parties: the federation and its members' keys.
        changed: told when a round is complete, or whom the run waits for: state and detail for people.
    """

    def __init__(
        self,
        run: RunView,
        hub: Hub,
        ledger: RunLedger,
        mailbox: Mailbox,
        contract: bytes | None,
        parties: Parties,
        changed: Callable[[str, str], None],
    ) -> None:
        self._run = run
        self._hub = hub
        self._ledger = ledger
        self._mailbox = mailbox
        self._contract = contract
        self._parties = parties
        self._changed = changed
        self._folder = hub.runs_folder / run.run_id
        self._out = self._folder / "out"
        self.rounds_completed = 0

    async def hold(self, worker: WorkerProcess) -> Ended | None:
        """Talk until the worker ends; None when it ended without a word."""
        worker.send(self._start())
        worker.send(self._presence())
        forward = asyncio.create_task(self._forward(worker))
        try:
            while (line := await worker.receive()) is not None:
                ended = await self._handle(worker, line)
                if ended is not None:
                    return ended
            return None
        finally:
            forward.cancel()
            await asyncio.gather(forward, return_exceptions=True)

    def _start(self) -> Line:
        return {
            "op": "start",
            "run_id": self._run.run_id,
            "folder": str(self._folder),
            "settings": self._run.settings.model_dump(mode="json"),
            "members": self._run.accepted,
            "contract": None if self._contract is None else self._contract.decode(),
            "contract_version": self._run.contract_version,
            "federation": self._parties.federation,
            "identities": self._identities(),
            "rounds_done": self._run.rounds_done,
            "arrays_sha256": self._run.arrays_sha256,
        }

    def _identities(self) -> dict[str, str]:
        known = self._parties.identities
        return {member: known[member].hex() for member in self._run.accepted if member in known}

    async def _forward(self, worker: WorkerProcess) -> None:
        while True:
            answer = await self._mailbox.get()
            worker.send(self._presence() if answer is None else _answer_line(answer))

    def _presence(self) -> Line:
        away = {member: self._hub.away_seconds(member) for member in self._run.accepted}
        return {"op": "presence", "away": {m: s for m, s in away.items() if s is not None}}

    async def _handle(self, worker: WorkerProcess, line: Line) -> Ended | None:
        match line["op"]:
            case "ask":
                self._hub.ask([self._order(item) for item in line["messages"]])
            case "withdraw":
                self._hub.withdraw(self._run.run_id, line["ids"])
            case "waiting":
                members = ", ".join(line["members"])
                self._changed("waiting" if members else "running", f"waits for {members}" if members else "")
            case "commit":
                await self._commit(_round(line["round"]))
                worker.send({"op": "committed", "round": line["round"]["number"]})
            case "done" | "failed":
                return Ended(line["op"], line["detail"])
            case other:
                raise CorruptError(f"run worker: unknown line {other!r}")
        return None

    def _order(self, item: dict[str, Any]) -> Order:
        header = Header(check_message_id(item["message_id"]), item["bytes"], bytes.fromhex(item["sha256"]))
        return Order(
            run_id=self._run.run_id,
            member_id=item["member_id"],
            round=item["round"],
            base_round=item["base_round"],
            kind=item["kind"],
            header=header,
            content=self._out / item["sha256"],
            budget_ms=item["budget_ms"],
        )

    async def _commit(self, done: RoundView) -> None:
        await asyncio.to_thread(self._ledger.complete_round, self._run.run_id, done)
        self.rounds_completed += 1
        # From here on nobody asks for this round again: a curious coordinator's disk keeps no member's reply.
        self._hub.release(self._run.run_id, done.number)
        for content in self._out.glob("*"):
            content.unlink()
        self._changed("running", "")


def _answer_line(answer: Answer) -> Line:
    reply: Path | None = answer.reply
    return {
        "op": "answer",
        "message_id": answer.message_id,
        "reply": None if reply is None else str(reply),
        "code": answer.code,
        "reason": answer.reason,
    }


def _round(said: dict[str, Any]) -> RoundView:
    return RoundView(
        number=said["number"],
        seconds=said["seconds"],
        members=tuple(said["members"]),
        missing=tuple(said["missing"]),
        metrics=said["metrics"],
        attempts=said["attempts"],
        arrays_sha256=said["arrays_sha256"],
        guarantee=said["guarantee"],
        stage=said["stage"],
    )
