"""Holders that lie to who asks, and askers that lie to holders; over mutual TLS, with everybody's real classes."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator_at_test import MovableClock
from evaluation_federation import EPOCH, EvaluationNode, persons, with_whole_key
from hostile_asker import HOLDERS, Siege, besieged, guesses, send
from hostile_holders import (
    GarbledHead,
    HostileDesk,
    Huge,
    HugeHead,
    Never,
    OldShare,
    OtherProof,
    Replays,
    SaysNothingIsListed,
    SignsGarbage,
    Swapped,
    WeighsOtherwise,
    WrongShare,
)
from jointrisk.clock import utc_now
from jointrisk.errors import (
    ConflictError,
    InvalidInputError,
    JointriskError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from jointrisk.evaluation import Purpose, sign_request
from jointrisk.oprf.group import GENERATOR, ORDER
from jointrisk.rpc.evaluations import request_to_message
from jointrisk_node.asking.outcome import Blame, Consent, Evaluated
from jointrisk_node.asking.settings import AskingSettings
from jointrisk_node.evaluations.desk import EvaluationDesk
from roster_forge import key_of

CONSENT = Consent("app-1")
SHORT = AskingSettings(online=timedelta(seconds=5), online_call=timedelta(milliseconds=500))
ATTEMPTS = 40
"""Who of two holders is asked first is drawn: forty times the same is one chance in 10^12."""

LIARS: list[type[HostileDesk]] = [
    WrongShare,
    OldShare,
    WeighsOtherwise,
    OtherProof,
    Swapped,
    Replays,
    SaysNothingIsListed,
]


@pytest.mark.parametrize("desk", LIARS)
async def test_a_lying_holder_changes_no_answer_and_is_convicted(tmp_path: Path, desk: type[HostileDesk]) -> None:
    """Whatever it sends: every key is the right one, the liar is named, its signed answer is kept as evidence."""
    async with besieged(tmp_path) as siege:
        ant = await asking(siege, bee=desk)
        blamed = {one.member for one in await asked_until_blamed(ant)}
        assert blamed == {"bee"}
        (kept,) = ant.evidence.all()
        assert kept.member == "bee"
        # An answer to another request convicts nobody: it was signed for that one.
        assert kept.convicts is (desk is not Replays)


@pytest.mark.parametrize("desk", [Huge, Never, HugeHead, GarbledHead, SignsGarbage])
async def test_what_is_no_false_element_accuses_nobody(tmp_path: Path, desk: type[EvaluationDesk]) -> None:
    """Too much, nothing, a head or a signature that is none: questions are answered rightly all the same."""
    async with besieged(tmp_path) as siege:
        ant = await asking(siege, bee=desk)
        for _ in range(6):
            evaluated = await asked(ant)
            assert evaluated.blamed == ()
        assert ant.evidence.all() == []
        assert all(len(head.payload) <= 4096 for _, head in ant.heads.brought)


@pytest.mark.parametrize("desk", [WrongShare, SaysNothingIsListed, Huge, Never])
async def test_when_all_lie_nothing_is_said(tmp_path: Path, desk: type[EvaluationDesk]) -> None:
    """An error that names them; never keys, so never "not found"."""
    async with besieged(tmp_path) as siege:
        ant = await asking(siege, bee=desk, cat=desk)
        with pytest.raises(JointriskError, match=r"bee .*cat ") as told:
            await asked(ant)
        assert isinstance(told.value, UnavailableError)


# -- askers ------------------------------------------------------------------------------------------------------------

LARGEST = {"epoch": 2**32 - 1, "generation": 2**32 - 1}
SMALL_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]
"""The identity, and points of small order on the curve below the group: an answer would tell the share modulo 8."""
BROKEN = {
    "the order of the group": ORDER.to_bytes(32, "little"),
    "the field's prime": bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    "all ones": b"\xff" * 32,
    "the last bit set": GENERATOR[:31] + bytes([GENERATOR[31] | 0x80]),
}


async def test_elements_that_would_tell_of_the_share_are_not_answered(tmp_path: Path) -> None:
    """Alone or among good ones, first or last, in small batches and large: the batch is refused whole, and charged."""
    async with besieged(tmp_path) as siege:
        await siege.hold("bee")
        good = b"".join(guesses(70).elements)
        sent = 0
        for bad in (*SMALL_ORDER, *BROKEN.values()):
            for elements in (bad, good[:32] + bad, bad + good, good + bad):
                with pytest.raises(InvalidInputError):
                    await siege.ask("bee", siege.request("dog", ("ant", "bee"), elements, purpose=Purpose.PORTFOLIO))
                sent += len(elements) // 32
        assert sum(int(one["charged"]) for one in siege.nodes["bee"].records("evaluation.answered")) == sent


async def test_batches_beyond_the_limits_are_refused_before_they_cost_anything(tmp_path: Path) -> None:
    """4,097 elements, two megabytes, half an element: nothing is charged or computed."""
    async with besieged(tmp_path) as siege:
        await siege.hold("bee")
        for elements, kind in ((GENERATOR * 4097, TooLargeError), (GENERATOR * 65536, JointriskError)):
            with pytest.raises(kind):
                await siege.ask("bee", siege.request("dog", ("ant", "bee"), elements))
        with pytest.raises(InvalidInputError):
            await siege.ask("bee", siege.request("dog", ("ant", "bee"), GENERATOR[:31]))
        assert siege.nodes["bee"].records("evaluation.answered") == []


async def test_anothers_request_is_of_no_use(tmp_path: Path) -> None:
    """Seen on its way, or at the holder that got it: neither its quota nor its answer is anybody else's."""
    async with besieged(tmp_path) as siege:
        await siege.hold("bee")
        request = siege.request("dog", ("ant", "bee"), guesses(1))
        await siege.ask("bee", request)
        for thief in ("ant", "cat"):
            with pytest.raises(UnauthenticatedError, match="not signed"):
                await siege.ask("bee", request, certificate=thief)
            with pytest.raises(UnauthenticatedError, match="not signed"):
                await siege.ask("bee", request, signer=thief)
        records = siege.nodes["bee"].records("evaluation.answered")
        assert [one["asker"] for one in records] == ["dog"]


async def test_another_epoch_or_generation_is_not_answered(tmp_path: Path) -> None:
    """There is no share of it, and what is signed for one is not valid for another."""
    async with besieged(tmp_path) as siege:
        await siege.hold("bee")
        request = siege.request("dog", ("ant", "bee"), guesses(1))
        for changed in ({"epoch": 2}, {"epoch": 0}, {"generation": 2}, LARGEST):
            with pytest.raises(ConflictError, match="no share"):
                await siege.ask("bee", siege.request("dog", ("ant", "bee"), guesses(1), **changed))
            message = request_to_message(request, sign_request(request, key_of("dog")))
            for field, value in changed.items():
                setattr(message, field, value)
            async with siege.line("bee", "dog") as stub:
                with pytest.raises(JointriskError):
                    await send(stub, message)
        assert siege.nodes["bee"].records("evaluation.answered") == []


async def test_a_flood_of_refused_requests_fills_no_log_and_holds_nobody_up(tmp_path: Path) -> None:
    """Three hundred unsigned requests of 125 KiB: thirty records a minute, and others are answered meanwhile."""
    async with besieged(tmp_path) as siege:
        await siege.hold("bee")
        garbage = request_to_message(siege.request("dog", ("ant", "bee"), GENERATOR * 4000), b"\xff" * 64)
        async with siege.line("bee", "dog") as stub:

            async def flood() -> None:
                for _ in range(30):
                    with pytest.raises(JointriskError):
                        await send(stub, garbage)

            floods = [asyncio.create_task(flood()) for _ in range(10)]
            waits = []
            while not all(one.done() for one in floods):
                began = asyncio.get_running_loop().time()
                await siege.ask("bee", siege.request("cat", ("ant", "bee"), guesses(1)))
                waits.append(asyncio.get_running_loop().time() - began)
            await asyncio.gather(*floods)
        assert len(siege.nodes["bee"].records("evaluation.refused")) <= 30
        assert waits
        assert sorted(waits)[len(waits) // 2] < 1


async def test_a_removed_member_is_refused_on_its_open_line(tmp_path: Path) -> None:
    """From the roster that removes it on; and a holder whose own roster has expired answers nobody."""
    clock = MovableClock(utc_now())
    async with besieged(tmp_path, clock) as siege:
        await siege.hold("bee")
        async with siege.line("bee", "dog") as removed, siege.line("bee", "cat") as other:

            async def ask(name: str) -> None:
                request = siege.request(name, ("ant", "bee"), guesses(1))
                message = request_to_message(request, sign_request(request, key_of(name)))
                await send(removed if name == "dog" else other, message)

            await ask("dog")
            siege.federation.forge.remove("dog")
            siege.nodes["bee"].membership.apply_roster(siege.federation.signed())
            with pytest.raises(UnauthenticatedError, match="dog is no member"):
                await ask("dog")
            await ask("cat")
            clock.now += timedelta(hours=25)
            with pytest.raises(UnavailableError, match="roster expired"):
                await ask("cat")


async def asking(siege: Siege, **desks: type[EvaluationDesk]) -> EvaluationNode:
    """Let all three hold, some of them with desks of their own; return who asks, which holds a share itself."""
    for name in HOLDERS[1:]:
        await siege.hold(name, desks.get(name, EvaluationDesk))
    return siege.node("ant", asking=SHORT)


async def asked(ant: EvaluationNode) -> Evaluated:
    """Ask about two persons, and see that the keys are right."""
    some = persons(2)
    evaluated = await ant.asker.evaluate(some, Purpose.ADMISSION, CONSENT, epoch=EPOCH)
    assert evaluated.keys == with_whole_key(some)
    return evaluated


async def asked_until_blamed(ant: EvaluationNode) -> tuple[Blame, ...]:
    """Ask until somebody is blamed."""
    for _ in range(ATTEMPTS):
        evaluated = await asked(ant)
        if evaluated.blamed:
            return evaluated.blamed
    pytest.fail("nobody was blamed")
