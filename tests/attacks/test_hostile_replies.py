"""Replies that are sound as messages and poisoned in content cost their member its part in the round, nobody else."""

from collections.abc import Mapping

import pytest

from attack_arena import HONEST, Arena
from hostile_node import HostileNode, HostileStream
from jointrisk.learning.flower import MetricRecord, RecordDict, encode
from jointrisk.rpc.v1 import coordinator_operator_pb2 as operator_pb
from jointrisk.rpc.v1 import training_pb2 as pb
from poisoned_replies import EVALUATION, TRAINING, Poison, sound

pytestmark = pytest.mark.federation

ACCEPTED = b'{"accepted":true}'
DRAWING = "\x1b[2J\x07[/bold]\r\x00\u202egone"
SOME = ("nothing", "noise", "two metrics", "weight NaN", "NaN", "objects", "a deep header")
SOME_EVALUATION = ("another shape that nobody asked for", "a metric NaN", "many metrics", "a name to draw on terminals")
FINE = encode(RecordDict({"metrics": MetricRecord({"num-examples": 5, "mean": 0.5})}))


def fine(_: bytes) -> bytes:
    """Return a sound evaluation."""
    return FINE


async def play(
    stream: HostileStream, rounds: int, training: Mapping[int, Poison], evaluation: Mapping[int, Poison]
) -> None:
    """Take part in a run, with these replies by round."""
    task, _ = await stream.whole_task("offer")
    await stream.answer(task, ACCEPTED)
    for number in range(1, rounds + 1):
        task, asked = await stream.whole_task("train")
        assert task.round == number
        await stream.answer(task, training.get(number, sound)(asked))
        task, asked = await stream.whole_task("evaluate")
        await stream.answer(task, evaluation.get(number, fine)(asked))


async def run_with(arena: Arena, node: HostileNode, poisons: list[Poison], *, train: bool) -> operator_pb.Run:
    """Run as many rounds as there are poisons, and one with sound replies."""
    rounds = len(poisons) + 1
    by_round = dict(enumerate(poisons, 1))
    async with node.stream() as stream:
        more = f'rounds = {rounds}\nquorum = 1\nround_deadline = "30s"'
        run_id = arena.start_run(HONEST, node.name, more=more)
        await play(stream, rounds, by_round if train else {}, {} if train else by_round)
    run = arena.follow(run_id)
    assert run.state == "done", run.detail
    return run


async def test_poisoned_training_reaches_no_sum(arena: Arena) -> None:
    """Whatever a reply holds, the round is the honest member's; a sound reply of the same member counts."""
    run = await run_with(arena, arena.members["trudy"], [TRAINING[name] for name in SOME], train=True)
    assert [list(done.members) for done in run.history] == [*([HONEST] for _ in SOME), [HONEST, "trudy"]]
    assert {done.attempts for done in run.history} == {1}
    arena.require_serving()


async def test_poisoned_evaluation_reaches_no_sum(arena: Arena) -> None:
    """Metrics of a round are the honest member's where the other's are poisoned; the run goes on to its end."""
    run = await run_with(arena, arena.members["eve"], [EVALUATION[name] for name in SOME_EVALUATION], train=False)
    assert [set(done.members) for done in run.history] == [{HONEST, "eve"}] * len(run.history)
    for name, done in zip(SOME_EVALUATION, run.history, strict=False):
        assert set(done.metrics) == {"mean", "rounds_seen", "rounds_kept"}, name
        assert abs(done.metrics["mean"]) < 1e6
    arena.require_serving()


@pytest.mark.parametrize(
    "answer", [b"", b"\xff", b"[]", b"1", b'{"accepted":"yes"}', b"[" * 3000, b'{"accepted":true}' + b" " * 100_000]
)
async def test_a_strange_answer_to_an_offer_is_a_refusal(arena: Arena, answer: bytes) -> None:
    """Who does not plainly accept does not take part, and the run says so."""
    node = arena.members["oscar"]
    async with node.stream() as stream:
        run_id = arena.start_run("oscar")
        task, _ = await stream.whole_task("offer")
        await stream.answer(task, answer)
        run = arena.follow(run_id)
    assert "oscar: answered the offer with something else" in run.detail
    assert run.participants[0].state == "refused"


async def test_no_member_draws_on_the_operators_terminal(arena: Arena) -> None:
    """What a member says of itself is shown without what moves a cursor or is taken for markup."""
    node = arena.members["oscar"]
    async with node.stream(greeted=False) as stream:
        await stream.greet(software_version=DRAWING)
        run_id = arena.start_run("oscar")
        task, _ = await stream.whole_task("offer")
        failure = pb.Failure(message_id=task.message_id, member_id="oscar", code=DRAWING, reason=DRAWING)
        await stream.send(pb.NodeFrame(failure=failure))
        assert arena.follow(run_id).state == "failed"
        shown = [arena.federation.coordinator.command("runs", "show", run_id)]
        shown.append(arena.federation.coordinator.command("runs", "list"))
    for text in shown:
        assert "[/bold]" in text, "shown as it is, not taken for markup"
        assert not set(text) & {"\x1b", "\x07", "\r", "\x00", "\u202e"}
