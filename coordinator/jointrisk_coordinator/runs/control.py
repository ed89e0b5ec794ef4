"""One run from its first offer to its end, whatever happens to the processes in between."""

import asyncio
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import structlog

from jointrisk.errors import JointriskError
from jointrisk.worker_process import WorkerProcess
from jointrisk_coordinator.runs.conversation import WORKER, Conversation, Ended
from jointrisk_coordinator.runs.hub import Audit, Hub
from jointrisk_coordinator.runs.ledger import ParticipantView, RunLedger, RunView
from jointrisk_coordinator.runs.offers import Mailbox, OfferPhase

log = structlog.get_logger()

_DEATHS_WITHOUT_PROGRESS = 5
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Federation:
    """What runs need to know of the federation; called in threads.

    Attributes:
        members: the roster's members.
        contract_version: version of the published feature contract, 0 for none.
        contract: returns the canonical payload of a version. Raises NotFoundError.
    """

    members: Callable[[], Collection[str]]
    contract_version: Callable[[], int]
    contract: Callable[[int], bytes]


class RunControl:
    """The course of one run in the daemon.

    Args:
        run_id: a run that the ledger has.
        hub: the streams.
        ledger: the database.
        audit: told of the end.
        federation: contract and members.
        changed: told whenever people would see something new.
    """

    def __init__(
        self,
        run_id: str,
        hub: Hub,
        ledger: RunLedger,
        audit: Audit,
        federation: Federation,
        changed: Callable[[], None],
    ) -> None:
        self.run_id = run_id
        self.state = ""
        self.detail = ""
        self._hub = hub
        self._ledger = ledger
        self._audit = audit
        self._federation = federation
        self._changed = changed
        self._mailbox: Mailbox = asyncio.Queue()

    async def run(self) -> None:
        """Bring the run to its end. Cancelled, it stays as it is and can go on in another life of the daemon."""
        self._hub.attach(self.run_id, self._mailbox.put_nowait)
        forget = self._hub.watch_presence(lambda: self._mailbox.put_nowait(None))
        try:
            await self._course()
        except JointriskError as error:
            await self.end("failed", error.message)
        finally:
            forget()

    async def end(self, state: str, detail: str) -> None:
        """Write down the end, tell the nodes, and delete what only an active run needs."""
        if await asyncio.to_thread(self._ledger.end, self.run_id, state, detail):
            await asyncio.to_thread(
                self._audit.append, "run.ended", run_id=self.run_id, state=state, reason=detail[:500]
            )
        self._hub.detach(self.run_id)
        for name in ("in", "out"):
            shutil.rmtree(self._hub.runs_folder / self.run_id / name, ignore_errors=True)
        log.info("run.ended", run_id=self.run_id, state=state)
        self.show("", "")

    def show(self, state: str, detail: str) -> None:
        """Say what people see while the run goes on; empty for what the database says."""
        self.state, self.detail = state, detail
        self._changed()

    async def _course(self) -> None:
        run = await asyncio.to_thread(self._ledger.get, self.run_id)
        if run.state == "starting" and not await self._offer(run):
            return
        deaths = 0
        while True:
            run = await asyncio.to_thread(self._ledger.get, self.run_id)
            ended, progress = await self._with_worker(run)
            if ended is not None:
                await self.end(ended.state, ended.detail)
                return
            deaths = 1 if progress else deaths + 1
            if deaths > _DEATHS_WITHOUT_PROGRESS:
                await self.end("failed", f"the run worker ended {deaths} times without completing a round")
                return
            log.warning("run.worker_ended", run_id=self.run_id, times=deaths)
            await asyncio.sleep(min(_FIRST_PAUSE * 2 ** (deaths - 1), _LONGEST_PAUSE))

    async def _offer(self, run: RunView) -> bool:
        notes: asyncio.Queue[ParticipantView] = asyncio.Queue()
        phase = OfferPhase(self._hub, run, self._mailbox, heard=notes.put_nowait, waiting=self._waiting)
        writer = asyncio.create_task(self._write_down(notes))
        try:
            enough, answers = await phase.collect()
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
        await asyncio.to_thread(self._ledger.fix_participants, self.run_id, answers)
        if not enough:
            await self.end("failed", _too_few(answers, run.settings.minimum_members))
            return False
        self.show("", "")
        return True

    async def _write_down(self, notes: asyncio.Queue[ParticipantView]) -> None:
        while True:
            answer = await notes.get()
            await asyncio.to_thread(self._ledger.note_answer, self.run_id, answer)
            self._changed()

    def _waiting(self, members: list[str]) -> None:
        names = ", ".join(members)
        self.show("waiting" if names else "", f"waits for {names} to connect" if names else "")

    async def _with_worker(self, run: RunView) -> tuple[Ended | None, bool]:
        contract = await self._contract(run)
        talk = Conversation(run, self._hub, self._ledger, self._mailbox, contract, self.show)
        worker = await WorkerProcess.spawn(WORKER)
        log.info("run.worker_started", run_id=self.run_id, pid=worker.pid, rounds_done=run.rounds_done)
        try:
            return await talk.hold(worker), talk.rounds_completed > 0
        finally:
            await worker.end()

    async def _contract(self, run: RunView) -> bytes | None:
        if run.contract_version == 0:
            return None
        return await asyncio.to_thread(self._federation.contract, run.contract_version)


def _too_few(answers: list[ParticipantView], minimum: int) -> str:
    accepted = sum(answer.state == "accepted" for answer in answers)
    others = "; ".join(f"{a.member_id}: {a.reason}" for a in answers if a.state != "accepted")
    return f"{accepted} of at least {minimum} members accepted. {others}"
