"""The node's worker processes: one per run, started when needed, killed when overdue, started again when dead."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from jointrisk import durable
from jointrisk.errors import (
    ClientFailedError,
    ConflictError,
    DeadlineError,
    InvalidInputError,
    JointriskError,
    RefusedError,
    by_code,
)
from jointrisk.federation.policy import RunOffer
from jointrisk.transfer import Header
from jointrisk.worker_process import Line, WorkerProcess, where
from jointrisk_node.training.gate import Gate
from jointrisk_node.training.record import TrainingRecord
from jointrisk_node.training.spool import Answer, HeldTask, TaskSpool

if TYPE_CHECKING:
    from jointrisk_node.sums import SumDesk

log = structlog.get_logger()

WORKER = "jointrisk_node.training.worker"
_DEATHS = 5
_PAUSE_AFTER_DEATH = 0.2
_IDLE_SECONDS = 900.0
_ACCEPTED = b'{"accepted":true}'
_RUNS_AT_ONCE = 8
SECURE = "query.secure_"
"""How the kinds of messages of secure sums begin (`jointrisk.learning.secure_runs`, which would load Flower)."""
_RULES = {ConflictError.code, InvalidInputError.code, RefusedError.code}


class _WorkerDiedError(Exception):
    """The process ended without an answer."""


class Workers:
    """Does the node's tasks, run by run, in the order in which they came.

    Args:
        spool: tasks and answers.
        gate: decides about offers.
        data: the node's data settings, for the worker.
        answered: told of every task that has been answered.
        record: told what is accepted and refused.
        sums: the node's part in secure sums.
    """

    def __init__(
        self,
        spool: TaskSpool,
        gate: Gate,
        data: Mapping[str, Any],
        answered: Callable[[HeldTask], None],
        record: TrainingRecord,
        sums: "SumDesk",
    ) -> None:
        self._sums = sums
        self._spool = spool
        self._gate = gate
        self._record = record
        self._data = data
        self._answered = answered
        self._runs: dict[str, _RunWorker] = {}
        self._stopping = False

    @property
    def active(self) -> int:
        """How many runs have a worker now."""
        return len(self._runs)

    def submit(self, task: HeldTask) -> None:
        """Do a task, unless it is done or being done."""
        if task.answer is None and not self._stopping:
            run = self._runs.get(task.run_id)
            if run is None or run.ended:
                run = self._runs[task.run_id] = _RunWorker(
                    task.run_id, self._spool, self._gate, self._data, self._answered, self._record, self._sums
                )
            run.submit(task)

    async def cancel(self, task: HeldTask) -> None:
        """Drop a task; if it is being done, its worker is killed."""
        run = self._runs.get(task.run_id)
        if run is not None:
            await run.cancel(task)

    async def end_run(self, run_id: str) -> None:
        """End a run's worker and delete everything of the run."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            await run.stop()
        self._spool.forget_run(run_id)
        await asyncio.to_thread(self._sums.forget_run, run_id)

    async def stop(self, grace: float) -> list[str]:
        """End all workers; tasks in work have ``grace`` seconds. Returns the ids of tasks that are not done."""
        self._stopping = True
        busy = [run.present for run in self._runs.values() if run.present is not None]
        if busy:
            await asyncio.wait(busy, timeout=grace)
        await asyncio.gather(*(run.stop() for run in self._runs.values()))
        self._runs.clear()
        return [task.message_id for task in self._spool.unanswered()]


class _RunWorker:
    """One run's queue and its process."""

    def __init__(
        self,
        run_id: str,
        spool: TaskSpool,
        gate: Gate,
        data: Mapping[str, Any],
        answered: Callable[[HeldTask], None],
        record: TrainingRecord,
        sums: "SumDesk",
    ) -> None:
        self._sums = sums
        self._record = record
        self._run_id = run_id
        self._spool = spool
        self._gate = gate
        self._data = data
        self._answered = answered
        self._queue: asyncio.Queue[HeldTask] = asyncio.Queue()
        self._due: dict[str, float | None] = {}
        self._process: WorkerProcess | None = None
        self._doing: HeldTask | None = None
        self.present: asyncio.Task[None] | None = None
        self._loop = asyncio.create_task(self._work(), name=f"worker of {run_id}")

    @property
    def ended(self) -> bool:
        """Whether it has stopped, having had nothing to do for long."""
        return self._loop.done()

    def submit(self, task: HeldTask) -> None:
        """Queue a task once."""
        if task.message_id not in self._due:
            now = asyncio.get_running_loop().time()
            self._due[task.message_id] = now + task.budget_ms / 1000 if task.budget_ms else None
            self._queue.put_nowait(task)

    async def cancel(self, task: HeldTask) -> None:
        """Forget a task, and end it if it is being done."""
        self._due.pop(task.message_id, None)
        if self._doing is task and self.present is not None:
            self.present.cancel()
            await self._end_process()

    async def stop(self) -> None:
        """End the process and the queue."""
        self._loop.cancel()
        if self.present is not None:
            self.present.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        await self._end_process()

    async def _work(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    task = await self._queue.get()
            except TimeoutError:
                await self._end_process()
                return
            if task.message_id not in self._due:
                continue  # cancelled while it was waiting
            self._doing = task
            self.present = asyncio.create_task(self._do(task))
            await asyncio.wait([self.present])
            if not self.present.cancelled() and (error := self.present.exception()) is not None:
                log.error("training.task_lost", run_id=self._run_id, error=type(error).__name__, where=where(error))
            self._doing = self.present = None
            self._due.pop(task.message_id, None)

    async def _do(self, task: HeldTask) -> None:
        try:
            answer = await self._answer(task)
        except TimeoutError:
            await self._end_process()
            budget = task.budget_ms / 1000
            answer = Answer(None, DeadlineError.code, f"not done within {budget:.0f} s")
        except JointriskError as error:
            answer = Answer(None, error.code, error.message)
        await asyncio.to_thread(self._spool.answer, task, answer)
        if answer.reply is None:
            log.warning("training.failed", run_id=task.run_id, kind=task.kind, code=answer.code, reason=answer.reason)
            if task.kind == "offer" or answer.code in _RULES:
                await self._record.refused(task.run_id, task.kind, answer.code, answer.reason)
        self._answered(task)

    async def _answer(self, task: HeldTask) -> Answer:
        for _ in range(_DEATHS):
            try:
                async with asyncio.timeout_at(self._due.get(task.message_id)):
                    return await (self._accept(task) if task.kind == "offer" else self._perform(task))
            except _WorkerDiedError:
                await self._end_process()
                log.warning("training.worker_ended", run_id=self._run_id, kind=task.kind)
                await asyncio.sleep(_PAUSE_AFTER_DEATH)
        raise ClientFailedError(f"the worker process ended {_DEATHS} times on the same task")

    async def _accept(self, task: HeldTask) -> Answer:
        content = await asyncio.to_thread(task.content.read_bytes)
        offer = self._gate.admit(task.run_id, content)
        again = await asyncio.to_thread(self._require_same, content)
        await self._ensure(offer)
        # Accepted only now that the worker has the data and found it in order.
        await asyncio.to_thread(durable.write, self._spool.offer_path(self._run_id), content)
        if not again:
            await self._record.accepted(offer)
        await asyncio.to_thread(durable.write, task.reply, _ACCEPTED)
        return Answer(await asyncio.to_thread(Header.of_file, task.message_id, task.reply))

    def _require_same(self, content: bytes) -> bool:
        """Tell whether this very offer has been accepted before.

        Raises:
            ConflictError: another offer of the run has been.
            RefusedError: this node takes part in as many runs as it can.
        """
        path = self._spool.offer_path(self._run_id)
        if path.exists():
            if path.read_bytes() != content:
                raise ConflictError("another offer of this run has been accepted", remedy="Start a new run.")
            return True
        if sum(map(self._spool.accepted, self._spool.runs())) >= _RUNS_AT_ONCE:
            raise RefusedError(f"this node takes part in {_RUNS_AT_ONCE} runs already", remedy="Let one of them end.")
        return False

    async def _perform(self, task: HeldTask) -> Answer:
        offer = await self._accepted()
        require_protected(offer, task.kind)
        process = await self._ensure(offer)
        process.send(
            {
                "message_id": task.message_id,
                "kind": task.kind,
                "round": task.round,
                "base_round": task.base_round,
                "content": str(task.content),
                "reply": str(task.reply),
            }
        )
        said = await self._receive(process)
        while said["op"].startswith("sum_"):
            process.send(await self._sums.answer(self._run_id, offer.contract_version, said))
            said = await self._receive(process)
        if said["op"] == "failed":
            return Answer(None, said["code"], said["reason"])
        return Answer(Header(task.message_id, said["bytes"], bytes.fromhex(said["sha256"])))

    async def _accepted(self) -> RunOffer:
        path = self._spool.offer_path(self._run_id)
        if not path.exists():
            raise RefusedError("this node has not accepted the run", remedy="Start a new run.")
        # The operator may have changed the policy since, or installed other code.
        return self._gate.admit(self._run_id, await asyncio.to_thread(path.read_bytes))

    async def _ensure(self, offer: RunOffer) -> WorkerProcess:
        if self._process is not None:
            return self._process
        contract = await self._gate.contract(offer)
        process = self._process = await WorkerProcess.spawn(WORKER)
        process.send(
            {
                "folder": str(self._spool.run_folder(self._run_id)),
                "member_id": self._gate.member_id,
                "offer": offer.model_dump(mode="json"),
                "contract": None if contract is None else contract.decode(),
                "data": dict(self._data),
            }
        )
        said = await self._receive(process)
        if said["op"] == "unready":
            await self._end_process()
            raise by_code(said["code"])(said["reason"])
        return process

    async def _receive(self, process: WorkerProcess) -> Line:
        line = await process.receive()
        if line is None:
            raise _WorkerDiedError
        return line

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()


def require_protected(offer: RunOffer, kind: str) -> None:
    """Refuse to show the coordinator what it may only see in sums, and sums in a run that was accepted without.

    Raises:
        RefusedError: so it is.
    """
    if (offer.aggregation == "secure") != kind.startswith(SECURE):
        raise RefusedError(
            f'the run was accepted with aggregation = "{offer.aggregation}", asked is something else',
            remedy="Start a new run.",
        )
