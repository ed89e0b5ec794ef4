"""A coordinator with all its keys that breaks the rules of the training stream, against a real node daemon."""

from collections.abc import Callable
from typing import Any

import pytest

from hostile_coordinator import HostileCoordinator, HostileStream, offer_of
from jointrisk.rpc.v1 import training_pb2 as pb
from victim_node import Victim

pytestmark = [pytest.mark.federation, pytest.mark.asyncio(loop_scope="session")]

HUGE = 2**63
PATH = "../../x"


def frame(**kind: Any) -> pb.CoordinatorFrame:
    """Return a frame."""
    return pb.CoordinatorFrame(**kind)


Attack = Callable[[HostileStream], Any]
LIMITS: dict[str, tuple[str, dict[str, Any]]] = {
    "heartbeats without end": ("invalid_input", {"heartbeat_ms": 0}),
    "a lease of nothing": ("invalid_input", {"lease_ms": 0}),
    "a lease shorter than heartbeats": ("invalid_input", {"lease_ms": 5000, "heartbeat_ms": 10_000}),
    "chunks of nothing": ("invalid_input", {"chunk_bytes": 0}),
    "chunks of gigabytes": ("invalid_input", {"chunk_bytes": 2**31}),
    "a path among forgotten tasks": ("invalid_input", {"forgotten": [PATH]}),
    "a path among ended runs": ("invalid_input", {"ended_runs": [PATH]}),
}
BEFORE_WELCOME: dict[str, Attack] = {
    "a task": lambda s: s.task("run-1", "offer", offer_of("run-1")),
    "a heartbeat": lambda s: s.say(frame(heartbeat=pb.Heartbeat(roster_version=HUGE))),
    "an empty frame": lambda s: s.say(b""),
    "bytes that are no frame": lambda s: s.say(b"\xff" * 99),
}
AFTER_WELCOME: dict[str, tuple[str, Attack]] = {
    "a second welcome": ("invalid_input", lambda s: s.welcome()),
    "an empty frame": ("invalid_input", lambda s: s.say(b"")),
    "bytes that are no frame": ("invalid_input", lambda s: s.say(b"\xff" * 99)),
    "a task over the agreed limit": ("too_large", lambda s: s.task("r", "offer", b"x", total_bytes=(1 << 20) + 1)),
    "a path for a message id": ("invalid_input", lambda s: s.task("r", "offer", b"x", message_id=PATH)),
    "a path for a run id": ("invalid_input", lambda s: s.task(PATH, "offer", b"x")),
    "no run id": ("invalid_input", lambda s: s.task("", "offer", b"x")),
    "a task of no known kind": ("invalid_input", lambda s: s.task("r", "exec", b"x")),
    "a digest of 31 bytes": ("invalid_input", lambda s: s.task("r", "offer", b"x", sha256=bytes(31))),
    "other bytes than announced": ("corrupt", lambda s: s.task("r", "offer", b"x", sha256=bytes(32))),
    "a beginning that is none": ("invalid_input", lambda s: s.task("r", "offer", b"x", offset=7, total_bytes=9)),
    "more than announced": ("too_large", lambda s: s.task("r", "offer", b"xyz", total_bytes=2)),
    "a chunk over the limit": ("too_large", lambda s: s.task("r", "offer", bytes((64 << 10) + 1))),
    "a path in a receipt": ("invalid_input", lambda s: s.say(frame(receipt=pb.Receipt(message_id=PATH)))),
    "a path to cancel": ("invalid_input", lambda s: s.say(frame(cancel=pb.Cancel(message_id=PATH)))),
    "a path of a run to cancel": ("invalid_input", lambda s: s.say(frame(cancel=pb.Cancel(run_id=PATH)))),
    "a run without a name to cancel": ("invalid_input", lambda s: s.say(frame(cancel=pb.Cancel()))),
}


async def require_broken(victim: Victim, stream: HostileStream, before: int, code: str) -> None:
    """Check that the node ends the stream, has that on record, and is unharmed."""
    await stream.broken_off()
    record = await victim.recorded(before, "training.rule_broken")
    assert record["code"] == code, record
    assert victim.workers() == []
    victim.require_unharmed()


@pytest.mark.parametrize("name", LIMITS)
async def test_a_welcome_that_no_node_can_keep_to_is_refused(
    victim: Victim, hostile: HostileCoordinator, name: str
) -> None:
    """The node neither sends without pause nor writes where it should not, and comes back with another stream."""
    code, changed = LIMITS[name]
    before = victim.last_record()
    async with hostile.stream(welcomed=False) as stream:
        stream.welcome(**changed)
        await require_broken(victim, stream, before, code)


@pytest.mark.parametrize("name", BEFORE_WELCOME)
async def test_nothing_comes_before_the_welcome(victim: Victim, hostile: HostileCoordinator, name: str) -> None:
    """The first frame is the Welcome, or the stream ends."""
    before = victim.last_record()
    async with hostile.stream(welcomed=False) as stream:
        BEFORE_WELCOME[name](stream)
        await require_broken(victim, stream, before, "invalid_input")


@pytest.mark.parametrize("name", AFTER_WELCOME)
async def test_a_frame_that_breaks_a_rule_ends_the_stream(
    victim: Victim, hostile: HostileCoordinator, name: str
) -> None:
    """A record says which rule; what had begun to arrive is forgotten with the next Welcome."""
    code, attack = AFTER_WELCOME[name]
    before = victim.last_record()
    async with hostile.stream() as stream:
        attack(stream)
        await require_broken(victim, stream, before, code)
    async with hostile.stream():
        await victim.wait(lambda: victim.files() == [], "nothing to be left")


async def test_a_message_of_2_to_the_63_bytes_is_refused_whatever_was_agreed(
    victim: Victim, hostile: HostileCoordinator
) -> None:
    """The Welcome cannot lift the node's own limit."""
    before = victim.last_record()
    async with hostile.stream(welcomed=False) as stream:
        stream.welcome(max_message_bytes=HUGE)
        stream.task("run-1", "offer", b"x", total_bytes=HUGE - 1)
        await require_broken(victim, stream, before, "too_large")


async def test_a_frame_beyond_grpcs_own_limit_breaks_only_the_stream(
    victim: Victim, hostile: HostileCoordinator
) -> None:
    """17 MiB in one frame: the node comes back with another stream."""
    async with hostile.stream() as stream:
        stream.say(bytes(17 << 20))
        await stream.broken_off()
    async with hostile.stream():
        victim.require_unharmed()


async def test_words_of_a_goodbye_draw_on_no_terminal(victim: Victim, hostile: HostileCoordinator) -> None:
    """What the node shows of a coordinator's words moves no cursor."""
    async with hostile.stream() as stream:
        stream.say(frame(goodbye=pb.Goodbye(reason="\x1b[2Jgone\r\x07")))
        await stream.broken_off()
        await victim.wait(lambda: "gone" in victim.status().detail, "the reason to be shown")
        assert victim.status().detail.isprintable()


async def test_another_protocol_version_than_offered_is_refused(victim: Victim, hostile: HostileCoordinator) -> None:
    """The node says so in its status, and does not knock again every second."""
    before = victim.last_record()
    async with hostile.stream(welcomed=False) as stream:
        stream.welcome(protocol_version=7)
        await require_broken(victim, stream, before, "version_mismatch")
        await victim.wait(lambda: "version 7" in victim.status().detail, "the reason to be shown")
    victim.restart()
