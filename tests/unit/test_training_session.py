"""The coordinator's side of a node's stream, frame by frame."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from jointrisk.errors import (
    ConflictError,
    CorruptError,
    DeadlineError,
    InvalidInputError,
    JointriskError,
    RefusedError,
    TooLargeError,
    VersionMismatchError,
)
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.transfer import Header, message_id
from jointrisk_coordinator.runs.session import Session, StreamSettings, Versions
from jointrisk_coordinator.runs.tickets import Answer, Order, TicketBook

LIMITS = StreamSettings(
    lease=timedelta(seconds=30), heartbeat=timedelta(seconds=10), window=2, chunk_bytes=1024, max_message_bytes=4096
)
CONTENT = bytes(range(256)) * 10
REPLY = b"the reply" * 300


def sha(content: bytes) -> bytes:
    """Return a digest."""
    return hashlib.sha256(content).digest()


class Bench:
    """A ticket book with one run, a session of alder, and what the run was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.answers: list[Answer] = []
        self.book = self.new_book()
        self.session = self.new_session()

    def new_book(self) -> TicketBook:
        """Return a book as a restarted daemon has it."""
        book = TicketBook(lambda run_id: self.folder / run_id)
        book.attach("run", self.answers.append)
        (self.folder / "run" / "out").mkdir(exist_ok=True)
        return book

    def new_session(self, **hello: object) -> Session:
        """Return a session after its greeting."""
        session = Session("alder", self.book, LIMITS, lambda: Versions(4, 2), lambda: self.now)
        session.greet(pb.Hello(**({"protocol_min": 1, "protocol_max": 1, "member_id": "alder"} | hello)))  # type: ignore[arg-type]
        return session

    def ask(self, member: str = "alder", number: int = 1, content: bytes = CONTENT) -> str:
        """Ask a member something in a round; returns the message id."""
        path = self.folder / "run" / "out" / hashlib.sha256(content).hexdigest()
        path.write_bytes(content)
        header = Header(message_id("run", number, 1, "train", member), len(content), sha(content))
        self.book.ask(Order("run", member, number, number - 1, "train", header, path, 5000))
        return header.message_id

    async def sent(self, session: Session | None = None) -> list[pb.CoordinatorFrame]:
        """Return all frames that a session has to send now."""
        frames: list[pb.CoordinatorFrame] = []
        while True:
            try:
                frame = await asyncio.wait_for((session or self.session).next_frame(), 0.02)
            except TimeoutError:
                return frames
            if frame is None:
                return frames
            frames.append(frame)

    async def say(self, session: Session | None = None, **frame: object) -> bool:
        """Let the node say one frame."""
        return await (session or self.session).receive(pb.NodeFrame(**frame))  # type: ignore[arg-type]

    async def reply(self, identity: str, content: bytes = REPLY, session: Session | None = None) -> None:
        """Let the node send a whole reply."""
        await self.say(session, reply=self.reply_frame(identity, content))
        for offset in range(1024, len(content), 1024):
            chunk = pb.Chunk(message_id=identity, offset=offset, data=content[offset : offset + 1024])
            await self.say(session, chunk=chunk)

    @staticmethod
    def reply_frame(identity: str, content: bytes = REPLY, **changed: object) -> pb.Reply:
        """Return the frame that begins a reply."""
        fields: dict[str, object] = {
            "message_id": identity,
            "member_id": "alder",
            "total_bytes": len(content),
            "sha256": sha(content),
            "offset": 0,
            "data": content[:1024],
        }
        return pb.Reply(**(fields | changed))  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh bench."""
    return Bench(tmp_path)


async def test_task_goes_out_in_chunks_and_its_reply_comes_in(bench: Bench) -> None:
    """Welcome, the task, a receipt for the reply; the run is told where the reply lies."""
    identity = bench.ask()
    welcome, *frames = await bench.sent()
    assert welcome.welcome.roster_version == 4
    assert [frame.WhichOneof("frame") for frame in frames] == ["task", "chunk", "chunk"]
    assert frames[0].task.data + b"".join(frame.chunk.data for frame in frames[1:]) == CONTENT
    await bench.reply(identity)
    assert [frame.receipt.message_id for frame in await bench.sent()] == [identity]
    assert [(a.message_id, a.reply.read_bytes()) for a in bench.answers if a.reply] == [(identity, REPLY)]


async def test_window_bounds_what_a_node_has_unanswered(bench: Bench) -> None:
    """The third task waits until one of the first two has been answered."""
    ids = [bench.ask(number=number, content=b"x") for number in (1, 2, 3)]
    assert [f.task.message_id for f in (await bench.sent())[1:]] == ids[:2]
    await bench.reply(ids[0])
    assert [f.task.message_id for f in await bench.sent() if f.HasField("task")] == ids[2:]


async def test_same_reply_twice_is_receipted_twice_and_told_once(bench: Bench) -> None:
    """Exactly once for the run, however often the node sends."""
    identity = bench.ask()
    await bench.sent()
    await bench.reply(identity)
    await bench.reply(identity)
    assert [f.receipt.message_id for f in await bench.sent()] == [identity, identity]
    assert len(bench.answers) == 1


async def test_reply_goes_on_where_a_broken_stream_left_it(bench: Bench) -> None:
    """The next stream's welcome says how much there is, also after a restart of the coordinator."""
    identity = bench.ask()
    await bench.sent()
    await bench.say(reply=bench.reply_frame(identity))
    bench.session.release()
    bench.book = bench.new_book()
    again = bench.new_session(held=[identity])
    (welcome,) = await bench.sent(again)
    assert [(p.message_id, p.received_bytes) for p in welcome.welcome.partial] == [(identity, 1024)]
    await bench.say(again, reply=bench.reply_frame(identity, offset=1024, data=REPLY[1024:2048]))
    await bench.say(again, chunk=pb.Chunk(message_id=identity, offset=2048, data=REPLY[2048:]))
    assert bench.answers == []
    bench.ask()
    assert [a.message_id for a in bench.answers] == [identity]


async def test_task_goes_on_where_a_broken_stream_left_it(bench: Bench) -> None:
    """What the node says it has of a task is not sent again; what it holds whole is not sent at all."""
    whole, part = bench.ask(number=1), bench.ask(number=2)
    partial = [pb.Progress(message_id=part, received_bytes=2000)]
    again = bench.new_session(held=[whole], partial=partial)
    _, task = await bench.sent(again)
    assert (task.task.message_id, task.task.offset, task.task.data) == (part, 2000, CONTENT[2000:])


async def test_node_is_told_what_it_may_forget(bench: Bench) -> None:
    """Tasks that nobody waits for and runs that have ended are named in the welcome."""
    identity = bench.ask()
    again = bench.new_session(held=[identity, "e" * 64], runs=["run", "old-run"])
    welcome = (await bench.sent(again))[0].welcome
    assert list(welcome.forgotten) == ["e" * 64]
    assert list(welcome.ended_runs) == ["old-run"]


async def test_node_may_forget_what_has_been_answered(bench: Bench) -> None:
    """A receipt that a broken stream swallowed comes with the next welcome."""
    identity = bench.ask()
    await bench.sent()
    await bench.reply(identity)
    again = bench.new_session(held=[identity])
    assert list((await bench.sent(again))[0].welcome.forgotten) == [identity]


async def test_late_reply_is_cancelled_not_refused(bench: Bench) -> None:
    """A slow node has broken no rule."""
    identity = bench.ask()
    await bench.sent()
    bench.book.withdraw("run", [identity])
    await bench.say(reply=bench.reply_frame(identity))
    await bench.say(chunk=pb.Chunk(message_id=identity, offset=1024, data=b"more"))
    assert [f.cancel.message_id for f in await bench.sent()] == [identity]


async def test_reply_withdrawn_while_under_way_leaves_nothing(bench: Bench) -> None:
    """Its chunks are dropped, and no file stays behind."""
    identity = bench.ask()
    await bench.sent()
    await bench.say(reply=bench.reply_frame(identity))
    bench.book.withdraw("run", [identity])
    for offset in range(1024, len(REPLY), 1024):
        await bench.say(chunk=pb.Chunk(message_id=identity, offset=offset, data=REPLY[offset : offset + 1024]))
    assert list((bench.folder / "run" / "in").iterdir()) == []
    assert bench.answers == []


async def test_failure_reaches_the_run_and_the_task_can_be_asked_again(bench: Bench) -> None:
    """With code and reason; the node has forgotten the task then."""
    identity = bench.ask()
    await bench.sent()
    failure = pb.Failure(message_id=identity, member_id="alder", code="refused", reason="not today")
    await bench.say(failure=failure)
    assert [(a.code, a.reason) for a in bench.answers] == [("refused", "not today")]
    bench.ask()
    assert [f.WhichOneof("frame") for f in await bench.sent()] == ["receipt", "task", "chunk", "chunk"]


async def refused(bench: Bench, kind: type[JointriskError], text: str, **frame: object) -> None:
    """Check that a frame is refused."""
    with pytest.raises(kind, match=text):
        await bench.say(None, **frame)


async def test_reply_in_another_name_is_refused(bench: Bench) -> None:
    """The certificate says who speaks, never the payload."""
    identity = bench.ask()
    await refused(bench, RefusedError, "certificate is alder's", reply=bench.reply_frame(identity, member_id="birch"))
    failure = pb.Failure(message_id=identity, member_id="birch")
    await refused(bench, RefusedError, "certificate is alder's", failure=failure)


async def test_reply_to_what_another_member_was_asked_is_refused(bench: Bench) -> None:
    """Also once it has been answered and closed."""
    identity = bench.ask(member="birch")
    await refused(bench, RefusedError, "has not been asked", reply=bench.reply_frame(identity))
    bench.book.withdraw("run", [identity])
    await refused(bench, RefusedError, "has not been asked", reply=bench.reply_frame(identity))


async def test_reply_to_what_nobody_was_asked_is_refused(bench: Bench) -> None:
    """A replay from another run, or an invention."""
    for frame in (
        {"reply": bench.reply_frame("e" * 64)},
        {"receipt": pb.Receipt(message_id="e" * 64)},
        {"failure": pb.Failure(message_id="e" * 64, member_id="alder")},
        {"chunk": pb.Chunk(message_id="e" * 64, data=b"x")},
    ):
        await refused(bench, RefusedError, "has not been asked", **frame)


@pytest.mark.parametrize("closed", [False, True])
async def test_other_content_for_an_answered_task_is_refused(bench: Bench, closed: bool) -> None:
    """The first answer stands, before and after its round is complete; the same answer again is only receipted."""
    identity = bench.ask()
    await bench.sent()
    await bench.reply(identity)
    if closed:
        bench.book.release("run", 1)
    await bench.reply(identity)
    await refused(bench, ConflictError, "answered before", reply=bench.reply_frame(identity, b"another answer"))


async def test_other_content_for_a_begun_reply_is_refused(bench: Bench) -> None:
    """The id is bound to the first announcement."""
    identity = bench.ask()
    await bench.say(reply=bench.reply_frame(identity))
    await refused(bench, ConflictError, "other content", reply=bench.reply_frame(identity, b"another answer"))


BROKEN: list[tuple[type[JointriskError], str, Callable[[str], dict[str, object]]]] = [
    (InvalidInputError, "64 hex digits", lambda _: {"reply": Bench.reply_frame("../../x")}),
    (InvalidInputError, "32 bytes", lambda m: {"reply": Bench.reply_frame(m, sha256=b"short")}),
    (TooLargeError, "at most 4096", lambda m: {"reply": Bench.reply_frame(m, total_bytes=5000)}),
    (TooLargeError, "at most 1024", lambda m: {"reply": Bench.reply_frame(m, data=REPLY[:1025])}),
    (InvalidInputError, "offset 0", lambda m: {"reply": Bench.reply_frame(m, offset=7)}),
    (TooLargeError, "announced", lambda m: {"reply": Bench.reply_frame(m, b"ab", data=b"abc")}),
    (CorruptError, "SHA-256", lambda m: {"reply": Bench.reply_frame(m, b"ab", data=b"xy")}),
    (InvalidInputError, "begins the message first", lambda m: {"chunk": pb.Chunk(message_id=m, data=b"x")}),
    (InvalidInputError, "got hello", lambda _: {"hello": pb.Hello()}),
    (InvalidInputError, "nothing readable", lambda _: {}),
]


@pytest.mark.parametrize(("kind", "text", "frame"), BROKEN, ids=[text for _, text, _ in BROKEN])
async def test_broken_frame_is_refused(
    bench: Bench, kind: type[JointriskError], text: str, frame: Callable[[str], dict[str, object]]
) -> None:
    """Each kind of malformed or oversized frame ends the stream with an error that says what is wrong."""
    await refused(bench, kind, text, **frame(bench.ask()))


async def test_wrong_protocol_and_wrong_name_are_refused_at_the_greeting(bench: Bench) -> None:
    """Before anything is said."""
    with pytest.raises(VersionMismatchError, match="versions 7 to 9"):
        bench.new_session(protocol_min=7, protocol_max=9)
    with pytest.raises(RefusedError, match="certificate is alder's"):
        bench.new_session(member_id="birch")


async def test_silent_node_loses_its_lease(bench: Bench) -> None:
    """Heartbeats keep it, silence ends the stream."""
    await bench.sent()
    bench.now = 29.0
    await bench.say(heartbeat=pb.Heartbeat())
    bench.now = 58.0
    assert [f.WhichOneof("frame") for f in await bench.sent()] == ["heartbeat"]
    bench.now = 60.0
    with pytest.raises(DeadlineError, match="nothing heard for 31 s"):
        await bench.sent()


async def test_record_cut_short_by_a_power_cut_is_forgotten(bench: Bench) -> None:
    """The task is then asked again as if for the first time."""
    identity = bench.ask()
    (bench.folder / "run" / "in" / f"{identity}.json").write_text('{"member": "al')
    bench.book = bench.new_book()
    bench.ask()
    frames = await bench.sent(bench.new_session())
    assert [f.WhichOneof("frame") for f in frames] == ["welcome", "task", "chunk", "chunk"]
