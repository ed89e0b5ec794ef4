"""One run from its first offer to its end, whatever happens to the processes in between."""

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from jointrisk.errors import JointriskError, UnavailableError
from jointrisk.worker_process import WorkerProcess, where
from jointrisk_coordinator.runs.conversation import WORKER, Conversation, Ended, Parties
from jointrisk_coordinator.runs.hub import Audit, Hub
from jointrisk_coordinator.runs.ledger import ParticipantView, RunLedger, RunView
from jointrisk_coordinator.runs.offers import Mailbox, OfferPhase

log = structlog.get_logger()

_DEATHS_WITHOUT_PROGRESS = 5
_PAUSE_WITHOUT_STORE = 5.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Federation:
    """What runs need to know of the federation; called in threads.

    Attributes:
        members: the roster's members.
        contract_version: version of the published feature contract, 0 for none.
        contract: returns the canonical payload of a version. Raises NotFoundError.
        name: the federation's name.
        identities: the members' identity keys, 32 bytes each.
        publish: told of a run that is done, and of its folder, before its end is written down; may be told again.
    """

    members: Callable[[], Collection[str]]
    contract_version: Callable[[], int]
    contract: Callable[[int], bytes]
    name: str = "local"
    identities: Callable[[], Mapping[str, bytes]] = dict
    publish: Callable[[RunView, Path], None] = lambda _run, _folder: None


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

    def attach(self) -> None:
        """Take the run's open tasks in, before nodes come and ask about them."""
        self._hub.attach(self.run_id, self._mailbox.put_nowait)

    async def run(self) -> None:
        """Bring the run to its end. Cancelled, it stays as it is and can go on in another life of the daemon."""
        forget = self._hub.watch_presence(lambda: self._mailbox.put_nowait(None))
        try:
            while not await self._try():  # noqa: ASYNC110 - no event tells that a disk has room again
                await asyncio.sleep(_PAUSE_WITHOUT_STORE)
        finally:
            forget()

    async def _try(self) -> bool:
        """Go as far as possible; False when database or disk gave up on the way."""
        try:
            ended = await self._course()
            if ended.state == "done":
                await self._publish()
            await self.end(ended.state, ended.detail)
        except (UnavailableError, OSError) as error:
            log.warning("run.interrupted", run_id=self.run_id, error=type(error).__name__)
            self.show("waiting", "waits for the coordinator's database or disk")
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not hang without a word
            place = where(error)
            log.error("run.broke", run_id=self.run_id, error=type(error).__name__, where=place)  # noqa: TRY400 - no text
            reason = error.message if isinstance(error, JointriskError) else "internal error, see the daemon's log"
            await self.end("failed", reason)
        return True

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

    async def _publish(self) -> None:
        run = await asyncio.to_thread(self._ledger.get, self.run_id)
        await asyncio.to_thread(self._federation.publish, run, self._hub.runs_folder / self.run_id)

    def show(self, state: str, detail: str) -> None:
        """Say what people see while the run goes on; empty for what the database says."""
        self.state, self.detail = state, detail
        self._changed()

    async def _course(self) -> Ended:
        run = await asyncio.to_thread(self._ledger.get, self.run_id)
        if run.state == "starting" and (ended := await self._offer(run)) is not None:
            return ended
        deaths = 0
        while True:
            run = await asyncio.to_thread(self._ledger.get, self.run_id)
            self._hub.release(self.run_id, run.rounds_done)
            ended, progress = await self._with_worker(run)
            if ended is not None:
                return ended
            deaths = 1 if progress else deaths + 1
            if deaths > _DEATHS_WITHOUT_PROGRESS:
                return Ended("failed", f"the run worker ended {deaths} times without completing a round")
            log.warning("run.worker_ended", run_id=self.run_id, times=deaths)
            await asyncio.sleep(min(_FIRST_PAUSE * 2 ** (deaths - 1), _LONGEST_PAUSE))

    async def _offer(self, run: RunView) -> Ended | None:
        """Offer the run to everybody; return its end when too few accept."""
        notes: asyncio.Queue[ParticipantView] = asyncio.Queue()
        phase = OfferPhase(self._hub, run, self._mailbox, heard=notes.put_nowait, waiting=self._waiting)
        writer = asyncio.create_task(self._write_down(notes))
        try:
            enough, answers = await phase.collect()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        await asyncio.to_thread(self._ledger.fix_participants, self.run_id, answers)
        if not enough:
            return Ended("failed", _too_few(answers, run.settings.fewest_members))
        self.show("", "")
        return None

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
        parties = Parties(self._federation.name, await asyncio.to_thread(self._federation.identities))
        talk = Conversation(run, self._hub, self._ledger, self._mailbox, contract, parties, self.show)
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
