"""A coordinator with all its keys, and all other members' programs, against the secure sums of one real node.

The node is what its daemon is made of: link, gate, worker process, desk and database, over real mutual TLS. Each attack
is refused by a rule that the refusal names, at the attacker's end and in the node's audit log.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete

from jointrisk.federation.signing import public_bytes
from jointrisk.learning.flower import Array, ArrayRecord, RecordDict, encode
from jointrisk.learning.secure_aggregation import Kind, Mode, Terms, agreement, encoding, keys, messages
from jointrisk.learning.secure_aggregation.messages import SumRequest, request_frame
from jointrisk.learning.secure_aggregation.session import advert_of
from jointrisk.learning.secure_runs import Asked
from jointrisk_node.sums.tables import SumSession
from secure_sums_stage import NAMES, RUN, VICTIM, Course, Stage, changed_terms, offer, secrets_of, stage

pytestmark = [pytest.mark.federation, pytest.mark.asyncio(loop_scope="module")]  # with worker processes

EVERYBODY, FOUR = (1, 2, 3, 4, 5), (1, 2, 3, 4)
FEWER = NAMES[:4]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A node that has accepted a run with secure sums."""
    async with stage(tmp_path_factory.mktemp("sums")) as made:
        await made.accept()
        yield made


def places(*numbers: int) -> bytes:
    """Return places as bytes."""
    return encoding.places(numbers)


def signed_by(course: Course, survivors: tuple[int, ...], signers: tuple[int, ...]) -> bytes:
    """Return signatures over a set of survivors, with the members' own identity keys."""
    aggregator, identity = course.aggregator, course.stage.world.identity
    signed = messages.survivors_signed(aggregator._keys, aggregator._cohort, survivors)
    return messages.signatures_body({place: identity(NAMES[place - 1]).sign(signed) for place in signers})


async def test_by_the_rules_there_is_a_sum_and_nothing_else(scene: Stage) -> None:
    """The attacks below begin from courses like this one: the same members come to the right sum of all five."""
    course = await Course(scene).until(Kind.SUM)
    outcome = course.aggregator.outcome
    assert outcome is not None
    assert outcome.members == NAMES
    own = 5 * outcome.sums.values[0] - (1 + 3 + 4 + 5)
    assert outcome.sums.weight == 4 + NAMES.index(VICTIM) + 1
    assert np.ptp(own) < 1e-6
    assert scene.records("training.sum_answered")[-1]["members"] == 5


LIES: dict[str, tuple[str, dict[str, Any]]] = {
    "t of whom two sets may be signed": ("threshold", {"threshold": 3}),
    "t above n": ("threshold", {"threshold": 6}),
    "a minimum of two": ("minimum", {"minimum": 2}),
    "no colluders, to lower t": ("colluders", {"colluders": 0, "threshold": 3}),
    "another federation": ("session", {"federation": "other"}),
    "another contract": ("session", {"contract_version": 7}),
}


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_about_the_numbers_is_refused(scene: Stage, name: str) -> None:
    """2t > n + f, a minimum of three, f as the node's policy says, its own federation and contract."""
    rule, changed = LIES[name]
    terms = scene.terms(scene.fresh(), **changed)
    assert await scene.refused(request_frame(Kind.KEYS, terms, terms.encoded)) == rule


def _rosters(stage: Stage) -> dict[str, tuple[str, tuple[tuple[str, bytes], ...]]]:
    own = stage.world.public_keys()
    sybils = {f"sybil-{number}": public_bytes(Ed25519PrivateKey.generate()) for number in range(4)}
    other = own | {"cedar": public_bytes(Ed25519PrivateKey.generate())}
    return {
        "sybils": ("pinned-members", tuple(sorted((sybils | {VICTIM: own[VICTIM]}).items()))),
        "a key of the coordinator's": ("pinned-members", tuple(sorted(other.items()))),
        "without the node": ("pinned-members", tuple((name, own[name]) for name in NAMES if name != VICTIM)),
        "two": ("parties", tuple((name, own[name]) for name in ("alder", VICTIM))),
    }


@pytest.mark.parametrize("name", ["sybils", "a key of the coordinator's", "without the node", "two"])
async def test_a_roster_of_sybils_is_refused(scene: Stage, name: str) -> None:
    """Names that nobody admitted, a member under a key that the node has not pinned, and fewer than three."""
    rule, members = _rosters(scene)[name]
    count = len(members)
    terms = replace(scene.terms(scene.fresh()), members=members, threshold=(count + 1) // 2 + 1, minimum=3)
    assert await scene.refused(request_frame(Kind.KEYS, terms, terms.encoded)) == rule


async def test_substituted_keys_are_refused_before_first_sight_and_after(scene: Stage) -> None:
    """Keys that no member signed, the node's own that it did not make, and then another list than the first."""
    course = await Course(scene).until(Kind.SHARES)
    honest, stranger = course.aggregator._keys, Ed25519PrivateKey.generate()
    drawn = secrets_of(course.others["cedar"].running[course.terms.digest])
    forged = keys.KeyList(course.terms, honest.adverts | {3: advert_of(course.terms, "cedar", drawn, stranger.sign)})
    assert await course.refused(Kind.SHARES, forged.encoded) == "signed-keys"
    own = scene.world.identity(VICTIM).sign  # even with the node's signature
    mine = keys.KeyList(course.terms, honest.adverts | {2: advert_of(course.terms, VICTIM, drawn, own)})
    assert await course.refused(Kind.SHARES, mine.encoded) == "signed-keys"
    await course.until(Kind.MASKED)
    fewer = keys.KeyList(course.terms, {place: honest.adverts[place] for place in FOUR})
    assert await course.refused(Kind.SHARES, fewer.encoded) == "one-answer"


async def test_old_messages_are_of_no_use(scene: Stage) -> None:
    """Keys of one session in the list of another; a session's messages after a newer attempt; another run's session."""
    old = await Course(scene).until(Kind.SHARES)
    new = await Course(scene, round=old.terms.round, attempt=2).until(Kind.SHARES)
    mixed = keys.KeyList(new.terms, new.aggregator._keys.adverts | {4: old.aggregator._keys.adverts[4]})
    assert await new.refused(Kind.SHARES, mixed.encoded) == "signed-keys"
    assert await old.refused(Kind.SHARES, old.aggregator._keys.encoded) == "attempt"
    assert await scene.refused(old.frame(Kind.KEYS, old.terms.encoded)) == "attempt"
    await scene.accept("run-2")
    request = new.request()
    assert await scene.refused(request, run_id="run-2") == "session"


async def test_another_model_than_the_others_have_is_refused(scene: Stage) -> None:
    """A model that singles the node out is not what the terms name, which all masks are bound to."""
    course = await Course(scene).until(Kind.MASKED)
    request, course.asked = course.request(), scene.fresh()
    assert await course.refused(Kind.MASKED, request[34:]) == "same-request"


async def test_metrics_that_the_task_does_not_declare_are_refused(scene: Stage) -> None:
    """Asked for by name, they would be in the sum in clear bounds of the coordinator's choice."""
    asked = replace(scene.fresh(), names=("rounds_kept", "secret"))
    course = await Course(scene, asked).until(Kind.MASKED)
    assert await course.refused(Kind.MASKED, course.request()[34:]) == "input"


async def test_a_cohort_is_of_those_that_gave_keys_and_is_one(scene: Stage) -> None:
    """Too few to hide among, somebody without keys, the node left out; and after the first cohort no other."""
    course = await Course(scene).until(Kind.MASKED, {"elder": Kind.KEYS})
    deals = course.aggregator._deals

    def of(*cohort: int) -> bytes:
        return messages.cohort_body(2, cohort, deals)

    assert await course.refused(Kind.MASKED, of(1, 2, 3)) == "minimum"
    assert await course.refused(Kind.MASKED, places(*EVERYBODY) + of(*FOUR)[5:] + bytes(146)) == "cohort"
    course = await Course(scene).until(Kind.SIGN)
    body = messages.cohort_body(2, FOUR, course.aggregator._deals)
    assert await course.refused(Kind.MASKED, body) == "one-answer"


async def test_two_sets_of_survivors_are_not_signed(scene: Stage) -> None:
    """A split view: the set with everybody is signed, so that without one member is not; nor one of three."""
    course = await Course(scene).until(Kind.SIGN)
    assert await course.refused(Kind.SIGN, places(1, 2, 3)) == "minimum"
    assert await course.refused(Kind.SIGN, places(1, 3, 4, 5)) == "cohort"
    await course.ask(course.frame(Kind.SIGN, places(*EVERYBODY)))
    for other in (FOUR, (1, 2, 3, 5)):
        assert await course.refused(Kind.SIGN, places(*other)) == "one-answer"


async def test_both_kinds_of_shares_of_one_member_are_not_released(scene: Stage) -> None:
    """Shares of a seed or of a mask key, never both.

    Neither with too few signatures, nor with four over another set, nor after the release.
    """
    course = await Course(scene).until(Kind.SIGN)
    await course.ask(course.frame(Kind.SIGN, places(*EVERYBODY)))
    assert await course.refused(Kind.RELEASE, signed_by(course, EVERYBODY, (1, 3, 4))) == "survivor-signatures"
    assert await course.refused(Kind.RELEASE, signed_by(course, FOUR, FOUR)) == "survivor-signatures"
    reply = await course.ask(course.frame(Kind.RELEASE, signed_by(course, EVERYBODY, EVERYBODY)))
    assert await course.refused(Kind.RELEASE, signed_by(course, FOUR, FOUR)) == "one-answer"
    released = messages.read_released(messages.read_reply(reply, course.terms, Kind.RELEASE), EVERYBODY)
    assert set(released) == set(EVERYBODY)
    for dealer, share in released.items():
        names = (NAMES[dealer - 1], VICTIM)
        dealt = course.aggregator._deals[dealer][2]
        bound = (course.aggregator._keys.digest, *names)
        assert agreement.share_commitment(share, 1, *bound) == dealt.seed_commitment
        assert agreement.share_commitment(share, 0, *bound) != dealt.key_commitment


async def test_of_who_dropped_out_only_the_mask_key_is_opened(scene: Stage) -> None:
    """The other half of the rule: who is not among the survivors keeps its own mask."""
    course = await Course(scene).until(Kind.RELEASE, {"elder": Kind.MASKED})
    reply = await course.ask(course.request())
    released = messages.read_released(messages.read_reply(reply, course.terms, Kind.RELEASE), EVERYBODY)
    dealt = course.aggregator._deals[5][2]
    bound = (course.aggregator._keys.digest, "elder", VICTIM)
    assert agreement.share_commitment(released[5], 0, *bound) == dealt.key_commitment
    assert agreement.share_commitment(released[5], 1, *bound) != dealt.seed_commitment


@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "after a restart"])
async def test_a_sum_is_not_repeated_with_others(scene: Stage, restarted: bool) -> None:
    """Not as another attempt, nor as another round, statistic or run about the same model and rows."""
    course = await Course(scene).until(Kind.SUM)
    if restarted:
        await scene.restart()
    again = changed_terms(scene.terms(course.asked, FEWER), round=course.terms.round, attempt=2)
    assert await scene.refused(request_frame(Kind.KEYS, again, again.encoded)) == "never-again"
    for changed in ({}, {"statistic": "other"}):
        later = await Course(scene, course.asked, members=FEWER, **changed).until(Kind.SIGN)
        assert await later.refused(Kind.SIGN, places(*FOUR)) == "one-cohort"


async def test_an_attempt_is_not_ended_to_take_a_difference(scene: Stage) -> None:
    """Masked inputs of two attempts, with and without a member: fresh masks in each, and only the newest is signed."""
    first = await Course(scene).until(Kind.SIGN)
    second = Course(scene, first.asked, members=FEWER, round=first.terms.round, attempt=2)
    await second.until(Kind.SIGN)
    words = [np.frombuffer(one.victim[Kind.MASKED][35:], dtype="<u8") for one in (first, second)]
    assert (np.abs((words[0] - words[1]).astype(np.int64)) > 1 << 40).all()
    assert await first.refused(Kind.SIGN, places(*EVERYBODY)) == "attempt"
    await second.until(Kind.SUM)
    assert await first.refused(Kind.SIGN, places(*EVERYBODY)) == "attempt"
    assert second.aggregator.outcome is not None


async def test_after_a_restart_the_same_request_gets_the_same_bytes_and_no_other_is_answered(scene: Stage) -> None:
    """Two inputs under one mask would give their difference."""
    course = await Course(scene).until(Kind.SIGN)
    repeated = course.frame(Kind.MASKED, messages.cohort_body(2, EVERYBODY, course.aggregator._deals))
    await scene.restart()
    assert await course.ask(repeated) == course.victim[Kind.MASKED]
    other = messages.cohort_body(2, FOUR, course.aggregator._deals)
    assert await course.refused(Kind.MASKED, other) == "one-answer"
    await course.until(Kind.SUM)
    assert course.aggregator.outcome is not None


async def test_a_session_whose_state_was_lost_is_over(scene: Stage) -> None:
    """A node that cannot know what it answered answers nothing of the session."""
    course = await Course(scene).until(Kind.SIGN)
    store = scene.world.audits[VICTIM]._store
    await scene.restart()
    with store.transaction() as session:
        session.execute(delete(SumSession))
    assert await course.refused(Kind.SIGN, places(*EVERYBODY)) == "attempt"
    assert await scene.refused(course.frame(Kind.KEYS, course.terms.encoded)) == "attempt"


async def test_what_is_not_protected_is_not_answered(scene: Stage) -> None:
    """A plain run against the policy; and in a run that was accepted as secure, a plain task of every kind."""
    assert await scene.task_refused("plain", "offer", offer("plain", aggregation="plain")) == (
        'policy rule "plain_aggregation"'
    )
    assert await scene.task_refused("few", "offer", offer("few", colluders=0)) == 'policy rule "colluders"'
    content = encode(scene.fresh().records)
    for kind in ("train", "evaluate", "query.coarse"):
        assert "aggregation" in await scene.task_refused(RUN, kind, content)


class Series:
    """A series, up to its first sum."""

    def __init__(self, scene: Stage, asked: Asked, of: Terms) -> None:
        self.scene, self.asked, self.of = scene, asked, of
        self.layout = scene.terms(asked).layout
        self.others = scene.others(of)

    async def begin(self) -> "Series":
        """Agree on keys."""
        request = request_frame(Kind.KEYS, self.of, self.of.encoded)
        adverts = {name: one.ask(self.of, request) for name, one in self.others.items()}
        adverts[VICTIM] = await self.scene.ask(request)
        read = {
            place: keys.Advert.read(messages.read_reply(adverts[name], self.of, Kind.KEYS))
            for name, place in self.of.places.items()
        }
        await self.scene.ask(request_frame(Kind.AGREE, self.of, keys.KeyList(self.of, read).encoded))
        return self

    def request(self, number: int) -> bytes:
        """Return the request for a sum."""
        assert self.layout is not None
        body = SumRequest(number, self.asked.digest(), self.layout).encoded
        return request_frame(Kind.SUM, self.of, body)


async def test_a_series_is_not_ended_to_take_a_difference(scene: Stage) -> None:
    """The same of fewer members is refused, and another question under an answered number; the next ends the first."""
    asked = scene.fresh()
    fields: dict[str, Any] = {"mode": Mode.SERIES, "request": None, "layout": None}
    first = await Series(scene, asked, scene.terms(asked, **fields)).begin()
    await scene.ask(first.request(1), asked)
    other = Series(scene, scene.fresh(), first.of)
    assert await scene.refused(other.request(1), other.asked) == "one-answer"
    second = await Series(scene, asked, scene.terms(asked, FEWER, **fields)).begin()
    assert await scene.refused(second.request(1), asked) == "one-cohort"
    assert await scene.refused(second.request(2), asked) == "step"
    assert await scene.refused(first.request(2), asked) == "attempt"


async def test_a_question_in_other_words_is_not_answered(scene: Stage) -> None:
    """Flower takes "train.default" for "train", and an app reads "arrays" alone: for neither a claim would be found."""
    asked = scene.fresh()
    arrays = asked.records.array_records["arrays"]
    decoy = ArrayRecord({"payload": Array(np.ones(1))})
    config = {"config": asked.records.config_records["config"]}
    before = RecordDict({"a": decoy, "arrays": arrays, **config})
    for disguised in (replace(asked, kind="train.default"), replace(asked, records=before)):
        layout = scene.terms(asked).layout
        course = await Course(scene, disguised, layout=layout).until(Kind.MASKED)
        assert await course.refused(Kind.MASKED, course.request()[34:]) == "one-cohort"


async def test_arrays_make_no_other_question_of_a_query() -> None:
    """Histograms of rows do not depend on what is sent along: one claim for all of it, and another for each model."""
    asked = [Asked("query.coarse", "sum", ("n",), _with(value)) for value in (1.0, 2.0)]
    assert asked[0].model_digest() == asked[1].model_digest()
    trained = [replace(one, kind="train") for one in asked]
    assert trained[0].model_digest() != trained[1].model_digest()


async def test_nearly_the_same_model_is_another_question(scene: Stage) -> None:
    """What is left (docs/threat-model.md): one bit more in the model is answered for fewer; the audit log shows it."""
    course = await Course(scene).until(Kind.SUM)
    sent = course.asked.records.array_records["arrays"]["payload"].numpy()
    nearly = np.nextafter(sent, np.float32(np.inf))
    config = {"config": course.asked.records.config_records["config"]}
    records = RecordDict({"arrays": ArrayRecord({"payload": Array(nearly)}), **config})
    later = await Course(scene, replace(course.asked, records=records), members=FEWER).until(Kind.SUM)
    assert later.aggregator.outcome is not None
    answered = scene.records("training.sum_answered")[-2:]
    assert [one["members"] for one in answered] == [5, 4]


def _with(value: float) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord({"payload": Array(np.full(2, value))})})
