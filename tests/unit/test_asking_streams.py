"""The stream over which single persons are asked about: refusals, losses and ends, over real mutual TLS."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from asking_arena import CONSENT, arena
from evaluation_federation import EPOCH, EvaluationNode, persons
from jointrisk.audit import AuditEntry
from jointrisk.errors import InvalidInputError, QuotaError, UnauthenticatedError, UnavailableError
from jointrisk.evaluation import EvaluationRequest, Purpose
from jointrisk.federation.certificates import Identity
from jointrisk.rpc.guard import Context
from jointrisk.rpc.v1 import evaluation_pb2 as pb
from jointrisk_node.asking.conversation import Conversation
from jointrisk_node.asking.settings import AskingSettings
from jointrisk_node.audit_journal import AuditJournal
from jointrisk_node.evaluations.desk import Answered, EvaluationDesk
from jointrisk_node.evaluations.service import EvaluationServicer
from jointrisk_node.evaluations.settings import HolderSettings

SOON = timedelta(seconds=3)
FEW = HolderSettings.model_validate({"quota": {"admission": 2, "epoch_ceiling": 30_000}})
HURRIED = AskingSettings(online=timedelta(seconds=4), online_call=timedelta(milliseconds=400))


def stream(node: EvaluationNode, holder: str = "bee") -> Conversation:
    """Return the stream that a node has open to a holder."""
    found = node.channels._lines[holder].spoken
    assert found is not None
    return found


async def test_a_lookup_is_sent_before_the_askers_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder computes while the asker's record gets to the disk: over a new stream, and over an open one."""
    happened: list[str] = []
    taken, write_all = Conversation._taken, AuditJournal._write_all

    async def noted(self: Conversation) -> AsyncIterator[pb.EvaluateRequest]:
        async for request in taken(self):
            happened.append("sent")
            yield request

    def written(self: AuditJournal, entries: Sequence[AuditEntry]) -> None:
        write_all(self, entries)
        # The holder writes to a journal of its own meanwhile.
        happened.extend(entry.event for entry in entries if entry.event == "evaluation.asked")

    async with arena(tmp_path) as made:
        made.start("ant")
        await made.serve("bee")
        await made.ask()
        monkeypatch.setattr(Conversation, "_taken", noted)
        monkeypatch.setattr(AuditJournal, "_write_all", written)
        stream(made.nodes["ant"]).drop()
        await asyncio.wait({stream(made.nodes["ant"])._reading}, timeout=10)
        await made.ask_soon()
        await made.ask()
        assert happened[:2] == happened[-2:] == ["sent", "evaluation.asked"]


async def test_without_a_record_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The asker's disk is full: whatever the holder has answered meanwhile is not given out."""
    write_all = AuditJournal._write_all

    def full(self: AuditJournal, entries: Sequence[AuditEntry]) -> None:
        if any(entry.event == "evaluation.asked" for entry in entries):
            raise UnavailableError("the audit journal cannot be written")
        write_all(self, entries)

    async with arena(tmp_path) as made:
        made.start("ant")
        await made.serve("bee")
        await made.ask()
        with monkeypatch.context() as patched:
            patched.setattr(AuditJournal, "_write_all", full)
            with pytest.raises(UnavailableError, match="cannot be written"):
                await made.ask()


async def test_a_refusal_does_not_end_the_stream(tmp_path: Path) -> None:
    """A quota that is used up is said on it; what is granted for another purpose comes over the same one."""
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        await made.serve("bee", holder=FEW)
        await made.ask()
        first = stream(ant)
        await made.ask()
        with pytest.raises(QuotaError, match="bee"):
            await made.ask()
        await made.ask(purpose=Purpose.INVESTIGATION)
        assert stream(ant) is first
        assert not first.ended


async def test_questions_at_the_same_time_get_their_own_answers(tmp_path: Path) -> None:
    """Whoever is asked about first, and although some that ask go away in the middle."""
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        await made.serve("bee")
        people = persons(40)
        alone = [(await made.nodes["ant"].asker.evaluate([one], Purpose.ADMISSION, CONSENT, epoch=EPOCH)).keys
                 for one in people[:2]]  # fmt: skip
        tasks = [
            asyncio.create_task(ant.asker.evaluate([one], Purpose.ADMISSION, CONSENT, epoch=EPOCH)) for one in people
        ]
        for task in tasks[2::3]:
            await asyncio.sleep(0)
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        answered = [one for one in ended if not isinstance(one, BaseException)]
        assert len(answered) == 40 - len(tasks[2::3])
        assert [one.keys for one in answered[:2]] == alone
        assert len({one.keys[0].tag for one in answered}) == len(answered)
        assert stream(ant).ended is False


class PausingDesk(EvaluationDesk):
    """Answers everybody but the first, whom it keeps waiting."""

    asked = 0

    async def evaluate(self, request: EvaluationRequest, signature: bytes, time_left: float | None) -> Answered:
        """Wait the first time."""
        PausingDesk.asked += 1
        if PausingDesk.asked == 1:
            await asyncio.sleep(60)
        return await super().evaluate(request, signature, time_left)


async def test_a_holder_that_hangs_is_asked_over_a_new_stream(tmp_path: Path) -> None:
    """The stream on which no answer came is given up, so that its late answers are nobody's."""
    PausingDesk.asked = 0
    async with arena(tmp_path) as made:
        ant = made.start("ant", asking=HURRIED)
        await made.serve("bee", PausingDesk)
        with pytest.raises(UnavailableError, match=r"bee: no answer within 0\.4 s"):
            await made.ask()
        await made.ask_soon()
        assert PausingDesk.asked >= 2
        assert not stream(ant).ended


async def test_a_holder_that_starts_again_is_asked_again(tmp_path: Path) -> None:
    """Its server ends idle streams at once instead of waiting for them."""
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        bee = await made.serve("bee")
        await made.ask()
        before = stream(ant)
        began = time.perf_counter()
        await made.stop("bee")
        assert time.perf_counter() - began < 5
        async with bee.serving():
            await made.ask_soon()
        assert before.ended


class ExpellingDesk(EvaluationDesk):
    """Finds out after the first answer that the caller is no member any more."""

    judged = 0

    def require(self, caller: Identity) -> None:
        """Refuse the second request."""
        super().require(caller)
        ExpellingDesk.judged += 1
        if ExpellingDesk.judged > 1:
            raise UnauthenticatedError(f"{caller.member_id} is no member that this node works with")


async def test_every_request_on_a_stream_is_judged_anew(tmp_path: Path) -> None:
    """Who may not ask any more gets no further answer, and the stream ends."""
    ExpellingDesk.judged = 0
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        await made.serve("bee", ExpellingDesk)
        await made.ask()
        before = stream(ant)
        with pytest.raises(UnavailableError, match="is no member that this node works with"):
            await made.ask()
        assert before.ended
        assert len(made.nodes["bee"].records("evaluation.answered")) == 1


async def test_a_reply_that_nobody_asked_for_ends_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for the answer to the next question otherwise."""
    plain = EvaluationServicer.EvaluateEach

    async def twice(self: EvaluationServicer, requests: Any, context: Context) -> AsyncIterator[pb.EvaluateReply]:
        async for reply in plain(self, requests, context):
            yield reply
            yield reply

    monkeypatch.setattr(EvaluationServicer, "EvaluateEach", twice)
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        await made.serve("bee")
        await made.ask()
        before = stream(ant)
        await asyncio.wait({before._reading}, timeout=10)
        assert before.ended
        await made.ask_soon()
        assert stream(ant) is not before


async def test_streams_of_one_member_are_few(tmp_path: Path) -> None:
    """The ninth is refused; the member's node has one."""
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        await made.serve("bee")
        await made.ask()
        line = ant.channels._lines["bee"]
        others = [Conversation(line.stub, "bee") for _ in range(8)]
        request = pb.EvaluateRequest(purpose=pb.ADMISSION)
        told = await asyncio.gather(*(one.ask(request, SOON) for one in others), return_exceptions=True)
        kinds = [type(one) for one in told]
        assert kinds.count(UnavailableError) == 1
        assert kinds.count(InvalidInputError) == 7
        for one in others:
            one.leave()
        await made.ask()
