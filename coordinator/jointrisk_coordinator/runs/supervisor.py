"""All runs of a coordinator: started, found again after a restart, watched, cancelled."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import structlog

from jointrisk.clock import Clock, utc_now
from jointrisk.errors import ConflictError, InvalidInputError
from jointrisk.learning.strategy_settings import strategy_settings
from jointrisk.learning.tasks import needs_contract, task_settings
from jointrisk.settings import parse_toml
from jointrisk_coordinator.runs.control import Federation, RunControl
from jointrisk_coordinator.runs.hub import Audit, Hub
from jointrisk_coordinator.runs.ledger import RunLedger, RunView
from jointrisk_coordinator.runs.settings import FEWEST_IN_SECURE_SUMS, RunSettings

log = structlog.get_logger()


class RunSupervisor:
    """Starts runs, and keeps each going until it ends.

    Args:
        hub: the streams.
        ledger: the database.
        audit: told of starts and ends.
        federation: members and contracts.
        clock: time of day.
        token: random part of run ids.
    """

    def __init__(
        self,
        hub: Hub,
        ledger: RunLedger,
        audit: Audit,
        federation: Federation,
        *,
        clock: Clock = utc_now,
        token: Callable[[], str] = lambda: secrets.token_hex(3),
    ) -> None:
        self._hub = hub
        self._ledger = ledger
        self._audit = audit
        self._federation = federation
        self._clock = clock
        self._token = token
        self._controls: dict[str, RunControl] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}

    @property
    def active(self) -> int:
        """How many runs are going on."""
        return len(self._tasks)

    async def resume_all(self) -> None:
        """Take up every run that had not ended when the daemon last stopped. Call once, before streams are served."""
        for run_id in await asyncio.to_thread(self._ledger.active):
            self._launch(run_id)

    async def start(self, toml: str) -> str:
        """Start a run and return its id.

        Args:
            toml: run settings; empty for the defaults.

        Raises:
            InvalidInputError: the settings break their rules.
            ConflictError: the task needs a contract and none is published, or there are too few members.
        """
        settings = parse_toml(toml, RunSettings, "run settings")
        task_settings(settings.task, settings.task_settings)
        strategy_settings(settings.strategy, settings.strategy_settings)
        members = await self._members(settings)
        contract = await self._contract_version(settings)
        day = self._clock().strftime("%Y%m%d")
        run_id = f"{settings.task.replace('_', '-')}-{day}-{self._token()}"
        await asyncio.to_thread(self._ledger.create, run_id, settings, toml, contract, members)
        await asyncio.to_thread(
            self._audit.append, "run.started", run_id=run_id, task=settings.task, members=len(members)
        )
        self._launch(run_id)
        return run_id

    async def cancel(self, run_id: str, reason: str) -> RunView:
        """End a run; its complete rounds stay.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended.
        """
        run = await self.get(run_id)
        task, control = self._tasks.get(run.run_id), self._controls.get(run.run_id)
        if task is None or control is None or run.ended:
            raise ConflictError(f"run {run.run_id} has ended: it is {run.state}")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await control.end("cancelled", reason or "cancelled by an operator")
        return await self.get(run.run_id)

    async def list(self) -> list[RunView]:
        """Return all runs, the newest first."""
        return [self._live(run) for run in await asyncio.to_thread(self._ledger.all)]

    async def get(self, run_id: str) -> RunView:
        """Return a run by its id, or an unambiguous beginning of it.

        Raises:
            NotFoundError: there is none.
            ConflictError: the beginning fits several.
        """
        return self._live(await asyncio.to_thread(self._ledger.get, run_id))

    async def watch(self, run_id: str) -> AsyncIterator[RunView]:
        """Yield a run as it is now, then again after every change, until it has ended.

        Raises:
            NotFoundError: there is none.
            ConflictError: the beginning of an id fits several.
        """
        run = await self.get(run_id)
        event = asyncio.Event()
        watchers = self._watchers.setdefault(run.run_id, set())
        watchers.add(event)
        try:
            while True:
                event.clear()
                run = await self.get(run.run_id)
                yield run
                if run.ended:
                    return
                await event.wait()
        finally:
            watchers.discard(event)

    async def stop(self) -> None:
        """Let go of all runs; they go on when the daemon starts again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _launch(self, run_id: str) -> None:
        control = RunControl(
            run_id, self._hub, self._ledger, self._audit, self._federation, lambda: self._notify(run_id)
        )
        control.attach()
        task = asyncio.create_task(control.run(), name=run_id)
        self._controls[run_id], self._tasks[run_id] = control, task
        task.add_done_callback(lambda done: self._ended(run_id, done))

    def _ended(self, run_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(run_id, None)
        self._controls.pop(run_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("run.control_failed", run_id=run_id, error=type(error).__name__)
        self._notify(run_id)

    def _notify(self, run_id: str) -> None:
        for event in self._watchers.get(run_id, ()):
            event.set()

    def _live(self, run: RunView) -> RunView:
        control = self._controls.get(run.run_id)
        if control is None or run.ended or not control.state:
            return run
        return replace(run, state=control.state, detail=control.detail)

    async def _members(self, settings: RunSettings) -> Sequence[str]:
        known = set(await asyncio.to_thread(self._federation.members))
        strangers = sorted(set(settings.members) - known)
        if strangers:
            raise InvalidInputError(f"members: not in the roster: {', '.join(strangers)}")
        members = sorted(settings.members or known)
        if len(members) < settings.minimum_members:
            raise ConflictError(
                f"minimum_members: at least {settings.minimum_members} members are wanted, there are {len(members)}",
                remedy="Invite more members, or lower minimum_members where the members' policies allow it.",
            )
        if settings.is_secure and len(members) < FEWEST_IN_SECURE_SUMS:
            raise ConflictError(
                f"aggregation: a secure sum takes at least {FEWEST_IN_SECURE_SUMS} members, there are {len(members)}",
                remedy='Invite more members; or set aggregation = "plain", if every member\'s policy says '
                "plain_aggregation = true: the coordinator then sees each member's part.",
            )
        return members

    async def _contract_version(self, settings: RunSettings) -> int:
        if not needs_contract(settings.task):
            return 0
        version = await asyncio.to_thread(self._federation.contract_version)
        if version == 0:
            raise ConflictError(
                f'the task "{settings.task}" needs a feature contract and none is published',
                remedy="Run `jointrisk coordinator contract publish FILE` first.",
            )
        return version
