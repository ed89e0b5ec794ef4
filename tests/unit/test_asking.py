"""Asking holders: over real mutual TLS on loopback, with every way in which holders can fail."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from asking_arena import CONSENT, NAMES, arena
from evaluation_federation import (
    EPOCH,
    DealtKey,
    persons,
)
from jointrisk.errors import DeadlineError, InvalidInputError, NotFoundError, QuotaError, UnavailableError
from jointrisk.evaluation import EvaluationAnswer, EvaluationRequest, Purpose, consent_commitment, sign_answer
from jointrisk.federation.signing import Signed
from jointrisk.oprf.group import GENERATOR
from jointrisk_node.asking.outcome import Blame, Consent
from jointrisk_node.asking.settings import AskingSettings
from jointrisk_node.evaluations.desk import Answered, EvaluationDesk
from jointrisk_node.evaluations.settings import HolderSettings, QuotaSettings
from roster_forge import key_of

SHORT = AskingSettings(
    online=timedelta(seconds=4), online_call=timedelta(milliseconds=400), avoid_liar=timedelta(minutes=5)
)


class LyingDesk(EvaluationDesk):
    """Signs an answer that its share did not give."""

    async def evaluate(self, request: EvaluationRequest, signature: bytes, time_left: float | None) -> Answered:
        """Exchange the first element."""
        honest = await super().evaluate(request, signature, time_left)
        return self.say(honest, GENERATOR + honest.answer.elements[32:])

    def say(self, honest: Answered, elements: bytes) -> Answered:
        """Return the false answer."""
        answer = replace(honest.answer, elements=elements)
        return replace(honest, answer=answer, signature=sign_answer(answer, key_of(answer.holder)))


class DenyingDesk(LyingDesk):
    """Lies, and signs something else."""

    def say(self, honest: Answered, elements: bytes) -> Answered:
        """Keep the signature of the honest answer."""
        return replace(honest, answer=replace(honest.answer, elements=elements))


class ShortDesk(LyingDesk):
    """Leaves out an element."""

    def say(self, honest: Answered, elements: bytes) -> Answered:
        """Return one element fewer."""
        return super().say(honest, elements[32:])


class GarbledDesk(LyingDesk):
    """Sends what is no element and no proof."""

    def say(self, honest: Answered, elements: bytes) -> Answered:
        """Return ones everywhere."""
        answer = EvaluationAnswer(honest.answer.request, honest.answer.holder, b"\xff" * len(elements), b"\xff" * 64)
        return replace(honest, answer=answer, signature=sign_answer(answer, key_of(answer.holder)))


class SlowDesk(EvaluationDesk):
    """Never answers."""

    async def evaluate(self, request: EvaluationRequest, signature: bytes, time_left: float | None) -> Answered:
        """Wait."""
        await asyncio.sleep(60)
        return await super().evaluate(request, signature, time_left)


async def test_a_question_is_answered_and_on_record_at_both_sides(tmp_path: Path) -> None:
    """With its own share the asker needs one other; records match by the request's id, consents by commitment."""
    async with arena(tmp_path) as made:
        ant, bee = made.start("ant"), await made.serve("bee")
        evaluated = await made.ask(3)
        assert (evaluated.quorum, evaluated.generation, evaluated.proofs_verified) == (("ant", "bee"), 1, 1)
        # The last one: cat, which is down, may have been asked before.
        asked, (answered,) = ant.records("evaluation.asked")[-1], bee.records("evaluation.answered")
    assert asked["request_id"] == answered["request_id"] == evaluated.request_ids[0].hex()
    assert (asked["consent"], asked["count"], asked["quorum"]) == (CONSENT.reference, 3, "ant,bee")
    nonce = bytes.fromhex(str(asked["nonce"]))
    assert consent_commitment(nonce, CONSENT.reference).hex() == answered["consent"]


async def test_every_quorum_gives_what_the_whole_key_gives(tmp_path: Path) -> None:
    """Whichever two of three answer, and whether or not the asker holds a share: the same keys."""
    async with arena(tmp_path, holders=("bee", "cat", "dog")) as made:
        made.start("ant")
        await made.serve("bee")
        await made.serve("cat")
        assert (await made.ask(2)).quorum == ("bee", "cat")
        made.dealt = DealtKey(2, 2, NAMES)
        for node in made.nodes.values():
            node.keep(made.dealt)
        await made.nodes["ant"].known.reload()
        seen: set[tuple[str, ...]] = set()
        while seen != {("ant", "bee"), ("ant", "cat")}:
            evaluated = await made.ask(2)
            assert (evaluated.generation, evaluated.proofs_verified) == (2, 1)
            seen.add(evaluated.quorum)


async def test_a_holder_that_is_down_is_replaced_and_asked_last_from_then_on(tmp_path: Path) -> None:
    """Both are needed at some time: with one down each question is answered; with both, the error names them."""
    async with arena(tmp_path) as made:
        ant = made.start("ant", asking=SHORT)
        await made.serve("bee")
        for _ in range(4):
            assert (await made.ask()).quorum == ("ant", "bee")
        await made.stop("bee")
        with pytest.raises(UnavailableError) as told:
            await made.ask()
        text = told.value.message
        assert "bee (" in text
        assert "cat (" in text
        assert text.count("since 20") == 2
        assert len(ant.records("evaluation.asked")) >= 6


async def test_a_slow_holder_is_waited_for_a_moment_only(tmp_path: Path) -> None:
    """Another is asked with the same elements instead; if there is none, the error says that it did not answer."""
    async with arena(tmp_path) as made:
        made.start("ant", asking=SHORT)
        await made.serve("bee", SlowDesk)
        with pytest.raises(UnavailableError, match=r"bee .*since"):
            await made.ask()
        cat = await made.serve("cat")
        assert (await made.ask_soon()).quorum == ("ant", "cat")
        assert len(cat.records("evaluation.answered")) == 1


async def test_all_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    """A question has one limit for everything that is tried."""
    hurried = AskingSettings(online=timedelta(milliseconds=300), online_call=timedelta(seconds=3))
    async with arena(tmp_path) as made:
        made.start("ant", asking=hurried)
        await made.serve("bee", SlowDesk)
        await made.serve("cat", SlowDesk)
        before = asyncio.get_running_loop().time()
        with pytest.raises((DeadlineError, UnavailableError)):
            await made.ask()
        assert asyncio.get_running_loop().time() - before < 2


@pytest.mark.parametrize(
    ("desk", "why", "convicts"),
    [
        (LyingDesk, "its proof does not hold", True),
        (DenyingDesk, "its proof does not hold", False),
        (ShortDesk, "it sent 32 bytes for 2 elements", True),
        (GarbledDesk, "it sent what is no proof", True),
    ],
)
async def test_a_liar_is_named_convicted_and_avoided(
    tmp_path: Path, desk: type[EvaluationDesk], why: str, convicts: bool
) -> None:
    """The answer is right all the same; the false one is kept with its signature, and the liar asked no more."""
    async with arena(tmp_path, holders=("bee", "cat", "ant")) as made:
        ant = made.start("ant")
        await made.serve("bee", desk)
        await made.serve("cat")
        blamed: list[Blame] = []
        while not blamed:  # who of the two is asked first is drawn
            evaluated = await made.ask(2)
            blamed += evaluated.blamed
        assert blamed == [Blame("bee", why)]
        assert evaluated.quorum == ("ant", "cat")
        for _ in range(5):
            assert (await made.ask(2)).blamed == ()
        (kept,) = ant.evidence.all()
        assert (kept.member, kept.why, kept.convicts) == ("bee", why, convicts)
        (record,) = ant.records("evaluation.false_answer")
        assert (record["member_id"], record["request_id"], record["signed"]) == ("bee", kept.request_id.hex(), convicts)
        await made.stop("cat")
        with pytest.raises(UnavailableError, match=r"bee \(answered falsely at .*, avoided until "):
            await made.ask()


async def test_a_used_up_quota_is_an_error_that_names_it_and_another_holder_helps(tmp_path: Path) -> None:
    """A holder that refuses is replaced; when too few are willing the error says so, and other purposes go on."""
    stingy = HolderSettings(quota=QuotaSettings(admission=2))
    async with arena(tmp_path) as made:
        made.start("ant")
        await made.serve("bee", holder=stingy)
        await made.ask(2)
        with pytest.raises(QuotaError, match=r"bee \(refuses.*cat \(.*since"):  # cat is down
            await made.ask(1)
        await made.serve("cat", holder=stingy)
        assert (await made.ask_soon(2)).quorum == ("ant", "cat")
        with pytest.raises(QuotaError, match=r"bee \(refuses.*cat \(refuses"):
            await made.ask(1)
        await made.ask(1, Purpose.INVESTIGATION)


async def test_the_same_elements_go_to_the_next_quorum_for_nothing(tmp_path: Path) -> None:
    """An honest holder is charged with the liar's quorum, and not again with the next one's; request ids differ."""
    async with arena(tmp_path, holders=("bee", "cat", "dog")) as made:
        ant = made.start("ant")
        await made.serve("bee", LyingDesk)
        honest = [await made.serve(name) for name in ("cat", "dog")]
        while not (await made.ask(1)).blamed:
            pass
        charged = [record["charged"] for node in honest for record in node.records("evaluation.answered")]
        assert charged.count(0) == 1
        asked = [record["request_id"] for record in ant.records("evaluation.asked")]
        assert len({*asked}) == len(asked) > 1


async def test_a_refresh_that_one_side_has_not_seen_yet(tmp_path: Path) -> None:
    """An asker that is behind reads its ledger; a holder that is behind is asked for the generation before."""
    async with arena(tmp_path) as made:
        ant, bee = made.start("ant"), await made.serve("bee")
        await made.ask()
        newer = DealtKey(2, 2, NAMES)
        ant.keep(newer)
        await ant.known.reload()
        assert (await made.ask()).generation == 1
        bee.keep(newer)
        assert (await made.ask()).generation == 2
        newest = DealtKey(3, 2, NAMES)
        with bee.node.store.transaction() as session:
            bee.generations.keep_in(session, newest.key, "3", newest.shares["bee"], bee.clock())
            bee.generations.delete_older_in(session, EPOCH, 3, bee.clock())
        bee.shares.reload()
        ant.keep(newest)  # in the ledger: nothing told the asker
        assert (await made.ask()).generation == 3


async def test_heads_go_both_ways(tmp_path: Path) -> None:
    """The asker sends its newest head, and has that of the holder compared."""
    heads = [Signed("listing-head", payload, bytes(64), bytes(32)) for payload in (b"{1}", b"{2}")]
    async with arena(tmp_path) as made:
        ant, bee = made.start("ant"), await made.serve("bee")
        ant.heads.own, bee.heads.own = heads
        await made.ask()
        assert [(who, head.payload) for who, head in bee.heads.brought] == [("ant", b"{1}")]
        assert [(who, head.payload) for who, head in ant.heads.brought] == [("bee", b"{2}")]


async def test_a_file_is_cut_in_batches_and_comes_back_in_order(tmp_path: Path) -> None:
    """More than one batch: every key is at its place, each batch has a record, and one proof each is verified."""
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        await made.serve("bee")
        evaluated = await made.ask(4096 + 40, Purpose.PORTFOLIO, bulk=True)
        assert (len(evaluated.request_ids), evaluated.proofs_verified) == (2, 2)
        asked = {record["request_id"]: record["count"] for record in ant.records("evaluation.asked")}
        assert [asked[one.hex()] for one in evaluated.request_ids] == [4096, 40]


async def test_an_error_of_one_batch_is_the_error_of_the_file(tmp_path: Path) -> None:
    """No group of errors, and no part of an answer."""
    async with arena(tmp_path) as made:
        made.start("ant", asking=SHORT)
        with pytest.raises(UnavailableError, match="2 holders are needed"):
            await made.ask(2, Purpose.PORTFOLIO, bulk=True)


async def test_a_renewed_certificate_is_used_after_reopening(tmp_path: Path) -> None:
    """Channels that were open go on with the old certificate, new ones take the new one."""
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        await made.serve("bee")
        await made.ask()
        ant.node.keys.keep_transport(made.federation.pair("ant"))
        ant.channels.reopen()
        await made.ask()
        quota = await ant.channels.quota("bee", EPOCH, timedelta(seconds=2))
        assert quota.epoch_ceiling - quota.epoch_left == 2


async def test_nobody_is_believed_for_another(tmp_path: Path) -> None:
    """A member that listens at another's address is not taken for it: the certificate names it."""
    async with arena(tmp_path) as made:
        made.start("ant", asking=SHORT)
        impostor = made.start("cat")
        impostor.node.keys.keep_transport(made.federation.pair("cat"))
        addresses = impostor.membership.trusted()
        there = replace(addresses["cat"], address=addresses["bee"].address)
        impostor.membership.trusted = lambda: addresses | {"cat": there}  # type: ignore[method-assign]
        async with impostor.serving():
            with pytest.raises(UnavailableError, match=r"bee \("):
                await made.ask()
        assert impostor.records("evaluation.answered") == []


async def test_what_cannot_be_asked_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """No identifiers, an epoch without a key; never an empty answer."""
    async with arena(tmp_path) as made:
        ant = made.start("ant")
        assert ant.asker.epochs() == [EPOCH]
        with pytest.raises(InvalidInputError):
            await ant.asker.evaluate([], Purpose.ADMISSION, CONSENT, epoch=EPOCH)
        with pytest.raises(NotFoundError, match="no group key of epoch 2"):
            await ant.asker.evaluate(persons(1), Purpose.ADMISSION, CONSENT, epoch=2)
        assert ant.records("evaluation.asked") == []


@pytest.mark.parametrize("reference", ["", "a b", "x" * 65, "13912345678"])
def test_a_consent_without_a_proper_reference_cannot_be_made(reference: str) -> None:
    """Not one that is empty, too long, or a phone number."""
    with pytest.raises(InvalidInputError):
        Consent(reference)
