"""Tasks and their answers as files: the node's memory of what it has been asked and what it has answered.

A task is held from the moment its record is on the disk, and its answer from the moment the answer's record is; both
are deleted when the coordinator has receipted the answer, or no longer wants it. In a run's folder::

    offer.json           the accepted offer; without it, nothing but an offer is done for the run
    messages/ID-SHA.part a task on its way in
    messages/ID.task     its content        messages/ID.json     its record
    messages/ID.reply    the reply          messages/ID.answer   its record, or the failure's
    state/               the client app's state, by round
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jointrisk import durable, transfer
from jointrisk.errors import ConflictError
from jointrisk.transfer import Header, Incoming


@dataclass(frozen=True)
class Answer:
    """What a task came to: a reply (its header) or a failure (code and reason)."""

    reply: Header | None
    code: str = ""
    reason: str = ""


@dataclass
class HeldTask:
    """A task that this node has whole.

    Attributes:
        run_id: its run.
        round: its round, 0 before the first.
        base_round: the last round that the coordinator has completed.
        kind: "offer", "train", "evaluate" or "query".
        budget_ms: how long it may take, 0 for no limit.
        header: message id, size and digest.
        folder: where its files lie.
        answer: what it came to, once it has.
    """

    run_id: str
    round: int
    base_round: int
    kind: str
    budget_ms: int
    header: Header
    folder: Path
    answer: Answer | None = None

    @property
    def message_id(self) -> str:
        """The task's id."""
        return self.header.message_id

    @property
    def content(self) -> Path:
        """What is asked."""
        return self.folder / f"{self.message_id}.task"

    @property
    def reply(self) -> Path:
        """Where the reply lies, or will."""
        return self.folder / f"{self.message_id}.reply"


class TaskSpool:
    """All tasks of a node. Used from one thread.

    Args:
        root: the folder with a folder for each run.
    """

    def __init__(self, root: Path) -> None:
        self._root = durable.folder(root)
        self._tasks: dict[str, HeldTask] = {}
        for record in sorted(root.glob("*/messages/*.json")):
            self._load(record)

    def run_folder(self, run_id: str) -> Path:
        """Return a run's folder."""
        return self._root / transfer.check_run_id(run_id)

    def runs(self) -> list[str]:
        """Return the runs of which anything is kept."""
        return sorted(path.name for path in self._root.iterdir() if path.is_dir())

    def accepted(self, run_id: str) -> bool:
        """Tell whether this node takes part in a run."""
        return self.offer_path(run_id).exists()

    def offer_path(self, run_id: str) -> Path:
        """Return where an accepted offer lies, or will."""
        return self.run_folder(run_id) / "offer.json"

    def held(self) -> list[HeldTask]:
        """Return the tasks that are here whole, in the order in which they came."""
        return list(self._tasks.values())

    def find(self, message_id: str) -> HeldTask | None:
        """Return a held task, if there is one of this id."""
        return self._tasks.get(message_id)

    def partials(self) -> list[tuple[str, int]]:
        """Return ids and sizes of tasks of which only the beginning is here."""
        return [item for folder in self._root.glob("*/messages") for item in transfer.partials(folder)]

    def begin(self, task: HeldTask) -> Incoming:
        """Return where a task's bytes go.

        Raises:
            ConflictError: other content was begun under this id.
        """
        return Incoming(durable.folder(task.folder), task.header)

    def pending(self, run_id: str, header: Header) -> HeldTask | None:
        """Return the held task of this id, if there is one.

        Raises:
            ConflictError: its content or its run is another.
        """
        task = self._tasks.get(header.message_id)
        if task is not None and (task.header != header or task.run_id != run_id):
            raise ConflictError("task: other content came under the id of a task that is held")
        return task

    def hold(self, task: HeldTask, incoming: Incoming) -> None:
        """Verify a task that has come whole, and hold it from now on.

        Raises:
            CorruptError: it is not what was announced.
        """
        incoming.finish(task.content)
        record = {
            "run_id": task.run_id,
            "round": task.round,
            "base_round": task.base_round,
            "kind": task.kind,
            "budget_ms": task.budget_ms,
            "bytes": task.header.total_bytes,
            "sha256": task.header.sha256.hex(),
        }
        durable.write(task.folder / f"{task.message_id}.json", json.dumps(record).encode())
        self._tasks[task.message_id] = task

    def answer(self, task: HeldTask, answer: Answer) -> None:
        """Note what a task came to; the reply itself lies there already."""
        header = answer.reply
        record = (
            {"code": answer.code, "reason": answer.reason}
            if header is None
            else {"bytes": header.total_bytes, "sha256": header.sha256.hex()}
        )
        durable.write(task.folder / f"{task.message_id}.answer", json.dumps(record).encode())
        task.answer = answer

    def forget(self, message_id: str) -> HeldTask | None:
        """Delete all of a task, and return it if it was held."""
        transfer.check_message_id(message_id)
        task = self._tasks.pop(message_id, None)
        folders = [task.folder] if task else self._root.glob("*/messages")
        for folder in folders:
            # The record goes first: without it, what is left is not taken for a task after a crash.
            (folder / f"{message_id}.json").unlink(missing_ok=True)
            transfer.discard(folder, message_id)
        return task

    def forget_run(self, run_id: str) -> None:
        """Delete all of a run."""
        for message_id in [t.message_id for t in self._tasks.values() if t.run_id == run_id]:
            del self._tasks[message_id]
        shutil.rmtree(self.run_folder(run_id), ignore_errors=True)

    def unanswered(self) -> Iterator[HeldTask]:
        """Return the tasks that are still to do."""
        return (task for task in self._tasks.values() if task.answer is None)

    def _load(self, path: Path) -> None:
        record = json.loads(path.read_bytes())
        header = Header(transfer.check_message_id(path.stem), record["bytes"], bytes.fromhex(record["sha256"]))
        task = HeldTask(
            run_id=record["run_id"],
            round=record["round"],
            base_round=record["base_round"],
            kind=record["kind"],
            budget_ms=record["budget_ms"],
            header=header,
            folder=path.parent,
        )
        answer = path.with_suffix(".answer")
        if answer.exists():
            task.answer = _answer(header.message_id, json.loads(answer.read_bytes()))
        self._tasks[task.message_id] = task


def _answer(message_id: str, record: dict[str, str | int]) -> Answer:
    if "sha256" in record:
        return Answer(Header(message_id, int(record["bytes"]), bytes.fromhex(str(record["sha256"]))))
    return Answer(None, str(record["code"]), str(record["reason"]))
