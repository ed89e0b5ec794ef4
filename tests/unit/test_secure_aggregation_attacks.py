"""What a coordinator or a member that cheats can play without a network: each move is refused by its rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jointrisk.errors import ConflictError, InvalidInputError, JointriskError, UnavailableError
from jointrisk.learning.secure_aggregation import (
    Aggregator,
    Contributions,
    Kind,
    Participant,
    Policy,
    Rule,
    RuleError,
    SeriesAggregator,
    SeriesMember,
    Terms,
    encoding,
    keys,
    messages,
    sharing,
)
from jointrisk.learning.secure_aggregation.session import advert_of
from simulation.secagg_sample import (
    COUNTED,
    REQUEST,
    STATEMENT,
    TRAINED,
    Member,
    assert_right,
    identity,
    members_of,
    names,
    pinned,
    play,
    policy,
    question,
    random_input,
    randomness,
    seeded,
    series_terms,
    terms,
)

BANKS = names(7)
VICTIM, COLLUDER = BANKS[0], BANKS[6]


class Arena:
    """A round with seven members of which one may collude, and a coordinator that a test plays."""

    def __init__(self, of: Terms | None = None) -> None:
        self.of = of or terms(BANKS, 1)
        self.nodes = members_of(self.of)
        self.inputs = {name: random_input(TRAINED, seeded(name)) for name in BANKS}
        self.aggregator = Aggregator(self.of)

    def ask(self, name: str, request: bytes) -> bytes:
        """Ask a member."""
        return self.nodes[name].ask(self.of, request, question(self.inputs[name]))

    def frame(self, kind: Kind, body: bytes) -> bytes:
        """Return a request of this session."""
        return messages.request_frame(kind, self.of, body)

    def until(self, kind: Kind, absent: tuple[str, ...] = ()) -> "Arena":
        """Play by the rules until a step begins."""
        while self.aggregator.kind < kind:
            for name, request in self.aggregator.requests().items():
                if name not in absent:
                    self.aggregator.take(name, self.ask(name, request))
            self.aggregator.advance()
        return self

    def refused(self, name: str, kind: Kind, body: bytes) -> Rule:
        """Ask something and return the rule by which it was refused. The member goes on as before."""
        node = self.nodes[name]
        before = (node.states.get(self.of.digest), node._known.encode())
        with pytest.raises(RuleError) as refusal:
            self.ask(name, self.frame(kind, body))
        party = node.running[self.of.digest]
        assert (party.state(), node._known.encode()) == before
        return refusal.value.rule


def places(*numbers: int) -> bytes:
    """Return places as bytes."""
    return encoding.places(numbers)


def rule_of(call: Callable[[], object]) -> Rule:
    """Return the rule by which a call was refused."""
    with pytest.raises(RuleError) as refusal:
        call()
    assert str(refusal.value).startswith(refusal.value.rule)
    return refusal.value.rule


def begin(of: Terms, of_node: Policy | None = None, contributions: Contributions | None = None) -> Participant:
    """Enter a session as the victim."""
    return Participant.begin(
        of,
        VICTIM,
        policy=of_node or policy(BANKS, 1),
        contributions=contributions or Contributions(),
        sign=identity(VICTIM).sign,
        randomness=randomness(1),
    )


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"threshold": 4}, Rule.THRESHOLD),
        ({"threshold": 8}, Rule.THRESHOLD),
        ({"minimum": 3}, Rule.MINIMUM),
        ({"minimum": 8}, Rule.MINIMUM),
        ({"colluders": 0}, Rule.COLLUDERS),
        ({"contract_version": 2}, Rule.SESSION),
        ({"federation": "other"}, Rule.SESSION),
    ],
)
def test_a_lie_about_the_numbers_is_refused(changed: dict[str, Any], rule: Rule) -> None:
    """2t > n + f, minimum > n - t + f, f as the node says, its own federation and contract."""
    assert rule_of(lambda: begin(replace(terms(BANKS, 1), **changed))) is rule


def test_sybils_and_other_keys_are_refused() -> None:
    """Members that nobody admitted, members under other keys, two members, or terms without the node itself."""
    sybils = (VICTIM, *(f"sybil-{number}" for number in range(6)))
    assert rule_of(lambda: begin(terms(sybils, 1))) is Rule.PINNED_MEMBERS
    other = dict(pinned(BANKS)) | {BANKS[3]: bytes(32)}
    assert rule_of(lambda: begin(replace(terms(BANKS, 1), members=tuple(other.items())))) is Rule.PINNED_MEMBERS
    assert rule_of(lambda: begin(terms(BANKS[1:], 1))) is Rule.PINNED_MEMBERS
    two = replace(terms(BANKS[:3]), threshold=2, minimum=2, members=tuple(pinned(BANKS[:2]).items()))
    assert rule_of(lambda: begin(two, policy(BANKS))) is Rule.PARTIES
    few = replace(policy(BANKS, 1), minimum=5)
    assert rule_of(lambda: begin(terms(BANKS, 1), few)) is Rule.MINIMUM
    with pytest.raises(InvalidInputError):
        begin(replace(terms(BANKS, 1), members=tuple(pinned(BANKS).items())[::-1]))


def test_different_terms_have_no_mask_in_common() -> None:
    """A member that was told of fewer others, or of another request, is in another session: nothing of it fits."""
    arena, other = Arena(), terms(BANKS[:6], 1)
    request = messages.request_frame(Kind.KEYS, other, other.encoded)
    assert rule_of(lambda: arena.ask(VICTIM, request)) is Rule.SESSION
    reply = Member(VICTIM, policy(BANKS, 1)).ask(other, request)
    assert rule_of(lambda: arena.aggregator.take(VICTIM, reply)) is Rule.SESSION


def test_substituted_keys_are_refused() -> None:
    """Keys of the coordinator's own in a member's place, before first sight: the pinned key did not sign them."""
    arena = Arena().until(Kind.SHARES)
    known, stranger = arena.aggregator._keys, identity("stranger")
    drawn = begin(arena.of)._secrets
    forged = advert_of(arena.of, BANKS[2], drawn, stranger.sign)
    substituted = keys.KeyList(arena.of, known.adverts | {3: forged})
    assert arena.refused(VICTIM, Kind.SHARES, substituted.encoded) is Rule.SIGNED_KEYS
    own = keys.KeyList(arena.of, known.adverts | {1: advert_of(arena.of, VICTIM, drawn, identity(VICTIM).sign)})
    assert arena.refused(VICTIM, Kind.SHARES, own.encoded) is Rule.SIGNED_KEYS


def test_keys_of_another_session_are_refused() -> None:
    """A replay: keys that a member signed for another attempt are not for this one."""
    arena = Arena().until(Kind.SHARES)
    old = Arena(terms(BANKS, 1, session=bytes(15) + b"\1")).until(Kind.SHARES)
    mixed = keys.KeyList(arena.of, arena.aggregator._keys.adverts | {4: old.aggregator._keys.adverts[4]})
    assert arena.refused(VICTIM, Kind.SHARES, mixed.encoded) is Rule.SIGNED_KEYS


def test_keys_are_not_substituted_after_first_sight() -> None:
    """A second list of keys, also one that everybody signed, is another request for an answered step."""
    arena = Arena().until(Kind.MASKED)
    fewer = dict(list(arena.aggregator._keys.adverts.items())[:6])
    assert arena.refused(VICTIM, Kind.SHARES, keys.KeyList(arena.of, fewer).encoded) is Rule.ONE_ANSWER


def test_too_few_keys_are_refused() -> None:
    """A list of keys below threshold and minimum."""
    arena = Arena().until(Kind.SHARES)
    few = dict(list(arena.aggregator._keys.adverts.items())[:4])
    assert arena.refused(VICTIM, Kind.SHARES, keys.KeyList(arena.of, few).encoded) is Rule.MINIMUM


def test_small_order_keys_are_refused() -> None:
    """A member whose key agrees with everybody on zero is refused by coordinator and members."""
    arena = Arena()
    signed = keys.sign_advert(arena.of, COLLUDER, bytes(32), bytes(32), bytes(32), identity(COLLUDER).sign)
    reply = messages.reply_frame(Kind.KEYS, arena.of, signed.encoded)
    assert rule_of(lambda: arena.aggregator.take(COLLUDER, reply)) is Rule.SIGNED_KEYS
    arena.until(Kind.SHARES)
    weak = keys.KeyList(arena.of, arena.aggregator._keys.adverts | {7: signed})
    assert arena.refused(VICTIM, Kind.SHARES, weak.encoded) is Rule.SIGNED_KEYS


def test_two_inputs_under_one_mask_are_refused() -> None:
    """Another cohort, after the input was masked for one: their difference would be of masks alone."""
    arena = Arena().until(Kind.SIGN)
    aggregator = arena.aggregator
    smaller = messages.cohort_body(1, aggregator._cohort[:6], aggregator._deals)
    assert arena.refused(VICTIM, Kind.MASKED, smaller) is Rule.ONE_ANSWER


def test_an_identical_request_gets_identical_bytes() -> None:
    """Also after a restart, and whatever the member's data says by then."""
    arena = Arena()
    for _ in range(5):
        for name, request in arena.aggregator.requests().items():
            reply = arena.ask(name, request)
            arena.inputs[name] = random_input(TRAINED, seeded("other rows"))
            arena.nodes[name].restart()
            assert arena.ask(name, request) == reply
            arena.aggregator.take(name, reply)
        arena.aggregator.advance()


def test_small_or_foreign_cohorts_are_refused() -> None:
    """A cohort below the minimum, without the member itself, or with one that gave no keys."""
    arena = Arena().until(Kind.MASKED, absent=(BANKS[5],))
    deals = arena.aggregator._deals
    assert arena.refused(VICTIM, Kind.MASKED, messages.cohort_body(1, (1, 2, 3, 4), deals)) is Rule.MINIMUM
    without = messages.cohort_body(2, (2, 3, 4, 5, 7), deals)
    assert arena.refused(VICTIM, Kind.MASKED, places(2, 3, 4, 5, 7) + bytes(5 * 146)) is Rule.COHORT
    foreign = messages.cohort_body(1, (1, 2, 3, 4, 5), deals)
    assert arena.refused(VICTIM, Kind.MASKED, places(1, 2, 3, 4, 5, 6) + foreign[6:] + bytes(146)) is Rule.COHORT
    assert len(without) == 6 + 4 * 146


def test_content_that_is_not_what_the_terms_name_is_refused() -> None:
    """Members that were given different models, or queries, do not mask one sum."""
    arena = Arena().until(Kind.MASKED)
    request = arena.aggregator.requests()[VICTIM]
    other = replace(question(arena.inputs[VICTIM]), request=bytes(32))
    assert rule_of(lambda: arena.nodes[VICTIM].ask(arena.of, request, other)) is Rule.SAME_REQUEST


def test_one_survivor_set_is_signed() -> None:
    """A split view: members are told of different survivors. Each signs one set, and none that singles it out."""
    arena = Arena().until(Kind.SIGN)
    assert arena.refused(VICTIM, Kind.SIGN, places(1, 2, 3, 4)) is Rule.MINIMUM
    assert arena.refused(VICTIM, Kind.SIGN, places(2, 3, 4, 5, 6)) is Rule.COHORT
    arena.ask(VICTIM, arena.frame(Kind.SIGN, places(1, 2, 3, 4, 5, 6, 7)))
    assert arena.refused(VICTIM, Kind.SIGN, places(1, 2, 3, 4, 5)) is Rule.ONE_ANSWER
    assert arena.refused(VICTIM, Kind.SIGN, places(1, 2, 3, 4, 5, 7)) is Rule.ONE_ANSWER


def test_survivors_were_in_the_cohort() -> None:
    """Who was not masked with cannot be said to have survived."""
    arena = Arena().until(Kind.SIGN, absent=(BANKS[5],))
    assert arena.refused(VICTIM, Kind.SIGN, places(1, 2, 3, 4, 5, 6)) is Rule.COHORT


def test_shares_need_t_signatures_over_the_set_that_the_member_signed() -> None:
    """Too few, over another set, of somebody who dropped out, of another session, or forged: no share is released."""
    arena = Arena().until(Kind.SIGN, absent=())
    everybody, six = tuple(range(1, 8)), tuple(range(1, 7))
    aggregator = arena.aggregator
    signed = {place: messages.survivors_signed(aggregator._keys, aggregator._cohort, six) for place in six}
    signatures = {place: identity(BANKS[place - 1]).sign(data) for place, data in signed.items()}
    arena.ask(VICTIM, arena.frame(Kind.SIGN, places(*six)))

    def asked(given: dict[int, bytes]) -> Rule:
        return arena.refused(VICTIM, Kind.RELEASE, messages.signatures_body(given))

    assert asked(dict(list(signatures.items())[:4])) is Rule.SURVIVOR_SIGNATURES
    other = messages.survivors_signed(aggregator._keys, aggregator._cohort, everybody)
    split = {place: identity(BANKS[place - 1]).sign(other) for place in six}
    assert asked(split) is Rule.SURVIVOR_SIGNATURES
    assert asked(signatures | {7: identity(COLLUDER).sign(signed[1])}) is Rule.SURVIVOR_SIGNATURES
    assert asked(signatures | {2: signatures[3]}) is Rule.SURVIVOR_SIGNATURES
    repeated = b"\6" + b"\2" * 0 + (b"\2" + signatures[2]) * 6
    with pytest.raises(InvalidInputError):
        arena.ask(VICTIM, arena.frame(Kind.RELEASE, repeated))
    arena.ask(VICTIM, arena.frame(Kind.RELEASE, messages.signatures_body(signatures)))


def test_never_both_kinds_of_shares() -> None:
    """After seeds and keys were released for one set, nothing is left to release, and steps are never skipped."""
    arena = Arena().until(Kind.MASKED)
    assert arena.refused(VICTIM, Kind.RELEASE, messages.signatures_body({})) is Rule.STEP
    arena.until(Kind.RELEASE, absent=(BANKS[5],))
    reply = arena.ask(VICTIM, arena.aggregator.requests()[VICTIM])
    reader = messages.read_reply(reply, arena.of, Kind.RELEASE)
    released = messages.read_released(reader, arena.aggregator._cohort)
    assert set(released) == set(range(1, 8))
    party = arena.nodes[VICTIM].running[arena.of.digest]
    assert party._state.held == {}
    assert party._state.secrets is None
    others = messages.signatures_body({place: bytes(64) for place in range(1, 7)})
    assert arena.refused(VICTIM, Kind.RELEASE, others) is Rule.ONE_ANSWER


def test_a_round_is_not_repeated_with_others() -> None:
    """After it has signed a survivor set a member takes part in no attempt at that sum, also after a restart."""
    arena = Arena().until(Kind.RELEASE)
    node = arena.nodes[VICTIM]
    node.restart()
    again = terms(BANKS[:6], 1, attempt=2)
    assert rule_of(lambda: node.ask(again, b"")) is Rule.NEVER_AGAIN


def test_only_the_newest_attempt_goes_on() -> None:
    """When another attempt has begun, the one before is over, and its number is not used again."""
    arena = Arena().until(Kind.SIGN)
    node, again = arena.nodes[VICTIM], terms(BANKS, 1, attempt=2)
    node.ask(again, messages.request_frame(Kind.KEYS, again, again.encoded))
    assert arena.refused(VICTIM, Kind.SIGN, places(*range(1, 8))) is Rule.ATTEMPT
    sibling = terms(BANKS, 1, attempt=2, session=b"another session!")
    assert rule_of(lambda: node.ask(sibling, b"")) is Rule.ATTEMPT


def test_a_session_without_its_state_is_over() -> None:
    """A node that lost what it answered does not begin the session again: its masks could be used twice."""
    arena = Arena().until(Kind.SIGN)
    arena.nodes[VICTIM].lose(arena.of)
    assert rule_of(lambda: arena.ask(VICTIM, arena.aggregator.requests()[VICTIM])) is Rule.ATTEMPT


def test_the_same_state_is_not_summed_with_fewer() -> None:
    """Another statistic's name, or a later round, around the same model and data: answered for one cohort."""
    arena = Arena().until(Kind.RELEASE)
    for later in (terms(BANKS[:6], 1, round=5), terms(BANKS[:6], 1, statistic="tune")):
        again = Arena(later)
        again.nodes[VICTIM] = arena.nodes[VICTIM]
        again.until(Kind.SIGN)
        assert again.refused(VICTIM, Kind.SIGN, places(*range(1, 7))) is Rule.ONE_COHORT


def begun_series(of: Terms, nodes: dict[str, Member]) -> SeriesAggregator:
    """Return a series after keys and agreement."""
    series = SeriesAggregator(of)
    for _ in range(2):
        for name, request in series.requests().items():
            series.take(name, nodes[name].ask(of, request))
        series.advance()
    return series


def test_a_series_is_not_ended_to_take_a_difference() -> None:
    """A coordinator that ends a series and asks the same of fewer members is refused; a new model is summed."""
    of, given = series_terms(BANKS, 1), random_input(COUNTED, seeded(1))
    nodes = members_of(of)
    series = begun_series(of, nodes)
    series.ask(1, REQUEST, COUNTED)
    nodes[VICTIM].ask(of, series.requests()[VICTIM], question(given))
    fewer = series_terms(BANKS[:6], 1, attempt=2)
    second = begun_series(fewer, nodes)
    second.ask(1, REQUEST, COUNTED)
    request = second.requests()[VICTIM]
    assert rule_of(lambda: nodes[VICTIM].ask(fewer, request, question(given))) is Rule.ONE_COHORT
    assert nodes[VICTIM].ask(fewer, request, question(given, statement=bytes(32)))


def test_a_sum_of_a_series_is_not_repeated_or_skipped() -> None:
    """Another request under the same number, a number that is not the next, another layout."""
    of, given = series_terms(BANKS, 1), random_input(COUNTED, seeded(1))
    nodes = members_of(of)
    series = begun_series(of, nodes)

    def asked(number: int, request: bytes = REQUEST) -> bytes:
        body = messages.SumRequest(number, request, COUNTED).encoded
        data = messages.request_frame(Kind.SUM, of, body)
        return nodes[VICTIM].ask(of, data, question(given, request=request))

    assert rule_of(lambda: asked(2)) is Rule.STEP
    first = asked(1)
    assert asked(1) == first
    assert rule_of(lambda: asked(1, bytes(32))) is Rule.ONE_ANSWER
    for number in (2, 3):
        asked(number)
    assert len(nodes[VICTIM].running[of.digest].answers) == 2
    assert rule_of(lambda: asked(1)) is Rule.STEP
    series.ask(4, REQUEST, COUNTED)
    other = question(given, request=bytes(32))
    assert rule_of(lambda: nodes[VICTIM].ask(of, series.requests()[VICTIM], other)) is Rule.SAME_REQUEST
    party = nodes[VICTIM].running[of.digest]
    assert isinstance(party, SeriesMember)
    party.end()
    assert rule_of(lambda: asked(4)) is Rule.STEP


def test_messages_of_one_mode_do_nothing_in_the_other() -> None:
    """A series releases no shares, and a round answers no series."""
    of = series_terms(BANKS, 1)
    nodes = members_of(of)
    begun_series(of, nodes)
    release = messages.request_frame(Kind.RELEASE, of, messages.signatures_body({}))
    assert rule_of(lambda: nodes[VICTIM].ask(of, release)) is Rule.STEP
    arena = Arena().until(Kind.SHARES)
    body = messages.SumRequest(1, REQUEST, COUNTED).encoded
    assert arena.refused(VICTIM, Kind.SUM, body) is Rule.STEP
    assert rule_of(lambda: begin(of)) is Rule.SESSION
    assert rule_of(lambda: Aggregator(of)) is Rule.SESSION
    assert rule_of(lambda: SeriesAggregator(arena.of)) is Rule.SESSION


def test_a_member_that_releases_wrong_shares_is_left_out() -> None:
    """The coordinator compares shares with their dealers' commitments, names the liar, and needs it not."""
    arena = Arena()

    def lie(name: str, kind: Kind, reply: bytes) -> bytes:
        if (name, kind) != (COLLUDER, Kind.RELEASE):
            return reply
        return reply[:-1] + bytes((reply[-1] ^ 1,))

    outcome = play(arena.of, arena.nodes, arena.inputs, forge=lie)
    assert_right(TRAINED, outcome, arena.inputs)
    assert outcome.silent == (COLLUDER,)
    second = Arena().until(Kind.RELEASE)
    reply = second.ask(COLLUDER, second.aggregator.requests()[COLLUDER])
    with pytest.raises(RuleError) as refusal:
        second.aggregator.take(COLLUDER, lie(COLLUDER, Kind.RELEASE, reply))
    assert (refusal.value.rule, refusal.value.about) == (Rule.DEALT_SHARES, COLLUDER)


@pytest.mark.parametrize("late", [False, True], ids=["its seed", "its mask key"])
def test_a_member_that_deals_shares_of_nothing_is_named(late: bool) -> None:
    """Shares that fit their commitments and make no secret: the sum is not unmasked, and the dealer is named."""
    arena = Arena().until(Kind.SHARES)
    request = arena.aggregator.requests()[COLLUDER]
    split = sharing.split
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "split", lambda secret, *others: split(bytes(len(secret)), *others))
        arena.aggregator.take(COLLUDER, arena.ask(COLLUDER, request))
    with pytest.raises(RuleError) as refusal:
        arena.until(Kind.SIGN, absent=(COLLUDER,) if late else ()).until(Kind.AGREE)
    assert (refusal.value.rule, refusal.value.about) == (Rule.DEALT_SHARES, COLLUDER)
    assert arena.aggregator.outcome is None


def test_shares_that_do_not_open_are_complained_about() -> None:
    """Garbage dealt to one member: the sum is right and the pair is named. To more than f: the dealer is named."""
    for spoilt, fails in ((1, False), (4, True)):
        arena = Arena()

        def garbage(name: str, kind: Kind, reply: bytes, spoilt: int = spoilt) -> bytes:
            if (name, kind) != (COLLUDER, Kind.SHARES):
                return reply
            body = bytearray(reply)
            for receiver in range(spoilt):
                body[34 + 146 * receiver + 100] ^= 1
            return bytes(body)

        if fails:
            with pytest.raises(RuleError) as refusal:
                play(arena.of, arena.nodes, arena.inputs, forge=garbage)
            assert (refusal.value.rule, refusal.value.about) == (Rule.DEALT_SHARES, COLLUDER)
        else:
            outcome = play(arena.of, arena.nodes, arena.inputs, forge=garbage)
            assert_right(TRAINED, outcome, arena.inputs)
            assert outcome.complaints == ((VICTIM, COLLUDER),)


def test_false_complaints_do_not_stop_a_sum() -> None:
    """A member that says it has nobody's shares takes away its own help, and nothing else."""
    arena = Arena()

    def complain(name: str, kind: Kind, reply: bytes) -> bytes:
        if name != COLLUDER or kind not in {Kind.MASKED, Kind.RELEASE}:
            return reply
        if kind is Kind.MASKED:
            return reply[:34] + places(1, 2, 3, 4, 5, 6) + reply[35:]
        return reply[:34] + b"\0" * 6 + reply[-34:]

    outcome = play(arena.of, arena.nodes, arena.inputs, forge=complain)
    assert_right(TRAINED, outcome, arena.inputs)
    assert {by for by, _ in outcome.complaints} == {COLLUDER}
    assert outcome.silent == ()


@pytest.mark.parametrize("kind", [Kind.KEYS, Kind.SHARES, Kind.MASKED, Kind.SIGN, Kind.RELEASE])
def test_garbage_from_a_member_is_silence(kind: Kind) -> None:
    """Random bytes, nothing, or another member's reply: refused, and the sum is right without it."""
    arena = Arena()
    first: dict[Kind, bytes] = {}

    def forge(name: str, step: Kind, reply: bytes) -> bytes:
        first.setdefault(step, reply)
        if (name, step) != (COLLUDER, kind):
            return reply
        for other in (
            b"",
            reply[:40],
            seeded(1).randbytes(len(reply)),
            *([first[step]] if step not in {Kind.SHARES, Kind.MASKED} else []),
        ):
            with pytest.raises(JointriskError):
                aggregators[-1].take(COLLUDER, other)
        return b""

    aggregators: list[Aggregator] = []
    with pytest.MonkeyPatch.context() as patch:

        class Kept(Aggregator):
            def __init__(self, of: Terms) -> None:
                super().__init__(of)
                aggregators.append(self)

        patch.setattr("simulation.secagg_sample.Aggregator", Kept)
        outcome = play(arena.of, arena.nodes, arena.inputs, forge=forge)
    assert_right(TRAINED, outcome, arena.inputs)
    assert (COLLUDER in outcome.dropped) == (kind < Kind.SIGN)


def test_a_second_reply_is_refused() -> None:
    """A member that says two things is held to the first; who was not asked is not heard."""
    arena = Arena()
    requests = arena.aggregator.requests()
    reply = arena.ask(VICTIM, requests[VICTIM])
    arena.aggregator.take(VICTIM, reply)
    with pytest.raises(ConflictError):
        arena.aggregator.take(VICTIM, arena.ask(BANKS[1], requests[BANKS[1]]))
    with pytest.raises(ConflictError):
        arena.aggregator.take("stranger", reply)


def test_too_few_signatures_or_shares_can_be_asked_for_again() -> None:
    """Nothing is unmasked with fewer than t, and the round goes on when they come after all."""
    arena = Arena().until(Kind.SIGN)
    for kind in (Kind.SIGN, Kind.RELEASE):
        requests = arena.aggregator.requests()
        for name in BANKS[:4]:
            arena.aggregator.take(name, arena.ask(name, requests[name]))
        assert not arena.aggregator.is_enough
        with pytest.raises(UnavailableError):
            arena.aggregator.advance()
        assert arena.aggregator.kind is kind
        arena.aggregator.take(BANKS[4], arena.ask(BANKS[4], requests[BANKS[4]]))
        assert arena.aggregator.is_enough
        arena.aggregator.advance()
    assert arena.aggregator.outcome is not None
    assert_right(TRAINED, arena.aggregator.outcome, arena.inputs)
    assert STATEMENT in arena.nodes[VICTIM]._known._claims
