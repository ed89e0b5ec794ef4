"""A node's tasks and answers as files: what survives a kill at any point, and what is deleted when."""

import hashlib
from pathlib import Path

import pytest

from jointrisk.errors import ConflictError, CorruptError
from jointrisk.transfer import Header, message_id
from jointrisk_node.training.spool import Answer, HeldTask, TaskSpool

CONTENT = b"what is asked"


def new_task(spool: TaskSpool, content: bytes = CONTENT, *, run_id: str = "run-1", kind: str = "train") -> HeldTask:
    """Return a task that has not come yet."""
    header = Header(message_id(run_id, 1, 1, kind, "alder"), len(content), hashlib.sha256(content).digest())
    return HeldTask(run_id, 1, 0, kind, 5000, header, spool.run_folder(run_id) / "messages")


def hold(spool: TaskSpool, task: HeldTask, content: bytes = CONTENT) -> HeldTask:
    """Let a task come whole."""
    incoming = spool.begin(task)
    incoming.write(0, content)
    spool.hold(task, incoming)
    return task


def answer(spool: TaskSpool, task: HeldTask, reply: bytes = b"reply") -> Answer:
    """Answer a task."""
    task.reply.write_bytes(reply)
    said = Answer(Header(task.message_id, len(reply), hashlib.sha256(reply).digest()))
    spool.answer(task, said)
    return said


def test_task_and_its_answer_are_there_after_a_restart(tmp_path: Path) -> None:
    """Everything that the next life of the daemon needs is read back."""
    spool = TaskSpool(tmp_path)
    task = hold(spool, new_task(spool))
    assert [t.message_id for t in TaskSpool(tmp_path).unanswered()] == [task.message_id]
    said = answer(spool, task)
    (again,) = TaskSpool(tmp_path).held()
    assert again == task
    assert again.answer == said
    assert again.content.read_bytes() == CONTENT


def test_failure_is_there_after_a_restart(tmp_path: Path) -> None:
    """With code and reason."""
    spool = TaskSpool(tmp_path)
    spool.answer(hold(spool, new_task(spool)), Answer(None, "refused", "not today"))
    assert TaskSpool(tmp_path).held()[0].answer == Answer(None, "refused", "not today")


def test_task_without_its_record_is_not_held(tmp_path: Path) -> None:
    """Killed between content and record: the coordinator has no receipt and sends it again."""
    spool = TaskSpool(tmp_path)
    task = hold(spool, new_task(spool))
    (task.folder / f"{task.message_id}.json").unlink()
    again = TaskSpool(tmp_path)
    assert again.held() == []
    assert hold(again, new_task(again)).content.read_bytes() == CONTENT


def test_beginning_of_a_task_is_reported_and_goes_on(tmp_path: Path) -> None:
    """What the greeting says about tasks of which only a part has come."""
    spool = TaskSpool(tmp_path)
    task = new_task(spool)
    incoming = spool.begin(task)
    incoming.write(0, CONTENT[:4])
    incoming.close()
    again = TaskSpool(tmp_path)
    assert again.partials() == [(task.message_id, 4)]
    rest = again.begin(new_task(again))
    rest.write(4, CONTENT[4:])
    again.hold(task, rest)
    assert again.partials() == []


def test_other_content_under_the_id_of_a_held_task_is_refused(tmp_path: Path) -> None:
    """The same question gives the same answer, another question is none of this id."""
    spool = TaskSpool(tmp_path)
    task = hold(spool, new_task(spool))
    assert spool.pending("run-1", task.header) is task
    for run_id, header in (
        ("run-2", task.header),
        ("run-1", Header(task.message_id, 5, hashlib.sha256(b"other").digest())),
    ):
        with pytest.raises(ConflictError):
            spool.pending(run_id, header)


def test_task_that_is_not_what_was_announced_is_not_held(tmp_path: Path) -> None:
    """A wrong digest leaves nothing."""
    spool = TaskSpool(tmp_path)
    incoming = spool.begin(new_task(spool))
    incoming.write(0, CONTENT[::-1])
    with pytest.raises(CorruptError):
        spool.hold(new_task(spool), incoming)
    assert spool.held() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_forgotten_task_leaves_nothing(tmp_path: Path) -> None:
    """After the receipt of its answer, or a cancellation at any point."""
    spool = TaskSpool(tmp_path)
    task = hold(spool, new_task(spool))
    answer(spool, task)
    assert spool.forget(task.message_id) is task
    begun = new_task(spool, kind="evaluate")
    spool.begin(begun).close()
    assert spool.forget(begun.message_id) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert spool.runs() == ["run-1"]


def test_forgotten_run_leaves_nothing_and_others_stay(tmp_path: Path) -> None:
    """Offer, state, messages, all of it."""
    spool = TaskSpool(tmp_path)
    hold(spool, new_task(spool))
    kept = hold(spool, new_task(spool, run_id="run-2"))
    (spool.run_folder("run-1") / "offer.json").write_text("{}")
    spool.forget_run("run-1")
    assert spool.runs() == ["run-2"]
    assert spool.held() == [kept]
