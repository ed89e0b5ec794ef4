"""The round loop with its members' client apps called directly: everything of a run but processes and the wire."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jointrisk import durable
from jointrisk.federation.contract import FeatureContract
from jointrisk.federation.signing import public_bytes
from jointrisk.learning.aggregation import Aggregation, PlainAggregation, Ranges
from jointrisk.learning.checkpoint import Checkpoint, RandomState
from jointrisk.learning.flower import ArrayRecord, Context, RecordDict, act_as, decode, encode, instruction
from jointrisk.learning.secure_aggregation import Parameters, Policy
from jointrisk.learning.secure_runs import SecureAggregation, SecureMod, Sitting, asked_kind, is_secure
from jointrisk.learning.strategies import make_strategy
from jointrisk.learning.tasks import Assignment, MemberData, load_task, task_settings
from jointrisk_coordinator.runs.daemon_line import DaemonLine
from jointrisk_coordinator.runs.grid import WorkerGrid
from jointrisk_coordinator.runs.loop import RoundLoop
from jointrisk_coordinator.runs.notebook import FolderNotebook
from jointrisk_coordinator.runs.preparing import Preparation
from jointrisk_coordinator.runs.settings import RunSettings
from jointrisk_node.training import client_state
from secure_members import LedgerAtHand, identity

RUN = "run-1"
Spoil = Callable[[str, dict[str, Any]], str | None]
"""Given a member and what it is asked, says why it fails; None when it answers."""


class MembersAtHand:
    """The worker's pipe with the members right behind it; has a Pipe's two methods."""

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        members: Mapping[str, int],
        spoil: Spoil,
        contract: FeatureContract | None,
        books: Mapping[str, MemberData],
    ) -> None:
        self._folder = folder
        self._spoil = spoil
        self._lines: deque[dict[str, Any]] = deque()
        self.commits: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        chosen = task_settings(settings.task, settings.task_settings)
        self._apps = {
            name: load_task(settings.task).client_app(
                Assignment(chosen, settings.run_seed, number, contract, books.get(name), settings.rounds)
            )
            for name, number in members.items()
        }
        self._numbers = members
        self._mods: Mapping[str, SecureMod] = {}

    def protect(self, policy: Policy, ranges: Mapping[str, Ranges]) -> None:
        """Let every member answer as secure sums want it, with a database of its own."""
        self._mods = {
            name: SecureMod(
                name,
                LedgerAtHand(self._folder / name, name, policy),
                data_version=hashlib.sha256(name.encode()).digest(),
                ranges=ranges,
                randomness=os.urandom,
            )
            for name in self._numbers
        }

    def send(self, **line: Any) -> None:
        """Take a line of the worker."""
        if line["op"] == "ask":
            self._lines.extend(self._answer(message) for message in line["messages"])
        elif line["op"] == "commit":
            self.commits.append(line["round"])
            self._lines.append({"op": "committed", "round": line["round"]["number"]})

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Return the next line for the worker."""
        if not self._lines and timeout is None:
            raise AssertionError("the worker waits for ever")
        return self._lines.popleft() if self._lines else None

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(asked)
        member = asked["member_id"]
        line = {"op": "answer", "message_id": asked["message_id"], "reply": None, "code": "failed", "reason": ""}
        why = self._spoil(member, asked)
        if why is not None:
            return line | {"reason": why}
        reply = self._folder / f"{asked['message_id']}.reply"
        reply.write_bytes(encode(self._call(member, asked)))
        return line | {"reply": str(reply)}

    def _call(self, member: str, asked: dict[str, Any]) -> RecordDict:
        content = decode((self._folder / "out" / asked["sha256"]).read_bytes())
        kind = asked_kind(content, member) if is_secure(asked["kind"]) else asked["kind"]
        states, trains = durable.folder(self._folder / member), (kind or "").startswith("train")
        state = client_state.load(states, asked["base_round"] if trains else asked["round"])
        context = Context(1, self._numbers[member], {}, state, {})
        message = instruction(content, asked["kind"], self._numbers[member], asked["message_id"], str(asked["round"]))
        app = self._apps[member]
        reply = self._mods[member](message, context, app) if is_secure(asked["kind"]) else app(message, context)
        if trains:
            client_state.save(states, asked["round"], asked["base_round"], context.state)
        return reply.content


class OneProcess:
    """A run with everything under ``folder``: of the probe, or of a model with a contract and every member's book.

    Sums are plain unless ``secure``, whatever the settings say.
    """

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        spoil: Spoil = lambda _member, _asked: None,
        members: tuple[str, ...] = ("alder", "birch", "cedar"),
        contract: FeatureContract | None = None,
        books: Mapping[str, MemberData] | None = None,
        *,
        secure: bool = False,
    ) -> None:
        act_as(RUN)
        self.folder = folder
        self.settings = settings
        self.numbers = {name: number for number, name in enumerate(members, start=1)}
        self.pipe = MembersAtHand(durable.folder(folder), settings, self.numbers, spoil, contract, books or {})
        line = DaemonLine(self.pipe)  # type: ignore[arg-type]
        rules = settings.round_rules(len(members))
        seam: Aggregation = self._secure() if secure else PlainAggregation()
        grid = WorkerGrid(line, RUN, self.numbers, folder / "out", rules)
        self._contract = contract
        self._preparation = Preparation(settings, seam, grid, folder, sleep=lambda _: None)
        self.loop = RoundLoop(
            settings,
            load_task(settings.task),
            partial(make_strategy, settings.strategy, settings.strategy_settings, len(members)),
            seam,
            grid,
            folder,
            line.commit,
            contract=contract,
            sleep=lambda _: None,
        )

    def _secure(self) -> SecureAggregation:
        """Return the seam of secure sums; the members answer it from here on."""
        task, keys = load_task(self.settings.task), {name: public_bytes(identity(name)) for name in self.numbers}
        ranges = {"train": task.train_metrics, "evaluate": task.evaluate_metrics}
        self.pipe.protect(Policy("test", 1, keys, 0, 3), ranges)
        sitting = Sitting("test", RUN, 1, self.numbers, keys, Parameters.usual(len(keys)))
        return SecureAggregation(sitting, FolderNotebook(self.folder), randomness=os.urandom)

    def beginning(self) -> Checkpoint:
        """Return where the first round starts."""
        chosen, task = task_settings(self.settings.task, self.settings.task_settings), load_task(self.settings.task)
        prepared = self._preparation.run(task.preparation(chosen, self._contract))
        return Checkpoint(0, ArrayRecord(), RandomState.seeded(self.settings.run_seed), prepared=prepared)
