"""The unmasked sum is the plain sum to quantisation, whoever drops out, and below the minimum there is none."""

from random import Random

import numpy as np
import pytest

from jointrisk.errors import CorruptError, InvalidInputError, UnavailableError
from jointrisk.learning.secure_aggregation import (
    Aggregator,
    Count,
    Input,
    Kind,
    Layout,
    Parameters,
    Real,
    Rule,
    RuleError,
    SeriesAggregator,
)
from jointrisk.learning.secure_aggregation.messages import read_reply
from simulation.secagg_sample import (
    COUNTED,
    REQUEST,
    TRAINED,
    assert_right,
    members_of,
    names,
    play,
    question,
    random_input,
    randomness,
    seeded,
    series_terms,
    take,
    terms,
)

ROUND_STEPS = (Kind.KEYS, Kind.SHARES, Kind.MASKED, Kind.SIGN, Kind.RELEASE)


def random_layout(random: Random, parties: int) -> Layout:
    """Return a layout of random blocks whose words do not overflow for so many members."""
    weighted = random.random() < 0.5
    heaviest = random.choice((1, 1000, 1 << 24))
    blocks: list[Real | Count] = []
    for _ in range(random.randint(1, 4)):
        size = random.choice((0, 1, 7, 300))
        if weighted or random.random() < 0.5:
            low = random.uniform(-10, 10)
            blocks.append(Real(size, low, low + random.uniform(0.1, 20), 1 << random.randint(16, 32)))
        else:
            blocks.append(Count(size, random.choice((1, 1000, 1 << 40))))
    layout = Layout(tuple(blocks), heaviest, weighted)
    layout.width(parties)
    return layout


@pytest.mark.parametrize("seed", range(24))
def test_the_sum_is_the_plain_sum(seed: int) -> None:
    """For random members, thresholds, drops, sizes and weights."""
    random = seeded(seed)
    parties = random.randint(3, 8) if seed % 6 else random.randint(9, 20)
    colluders = random.randint(0, max(0, (parties - 2) // 3))
    layout = random_layout(random, parties)
    members, least = names(parties), Parameters.choose(parties, colluders)
    threshold = random.randint(least.threshold, parties)
    minimum = random.randint(max(3, parties - threshold + colluders + 1), parties)
    of = terms(members, colluders, layout=layout, threshold=threshold, minimum=minimum)
    dropping = random.sample(members, random.randint(0, of.parameters.droppable))
    drops = {name: random.choice(ROUND_STEPS) for name in dropping}
    inputs = {name: random_input(layout, random) for name in members}
    outcome = play(of, members_of(of, seed), inputs, drops=drops)
    assert_right(layout, outcome, inputs)
    assert set(outcome.members) == {name for name in members if drops.get(name, Kind.SIGN) >= Kind.SIGN}
    assert outcome.dropped == {name: kind for name, kind in drops.items() if kind < Kind.SIGN}
    assert set(outcome.silent) == {name for name, kind in drops.items() if kind >= Kind.SIGN}


@pytest.mark.parametrize("step", ROUND_STEPS)
def test_as_many_as_may_drop_out_at_each_step(step: Kind) -> None:
    """N - t members fall silent at one step, and the sum of the others is right; one more, and there is none."""
    members = names(7)
    of = terms(members, colluders=1)
    assert of.parameters.droppable == 7 - of.threshold == 2
    inputs = {name: random_input(TRAINED, seeded(name)) for name in members}
    outcome = play(of, members_of(of), inputs, drops=dict.fromkeys(members[1:3], step))
    assert_right(TRAINED, outcome, inputs)
    with pytest.raises((RuleError, UnavailableError)):
        play(of, members_of(of), inputs, drops=dict.fromkeys(members[:3], step))


def test_a_series_of_sums() -> None:
    """Keys once, then one message for each sum; each sum has masks of its own, the same after a restart."""
    members = names(4)
    of = series_terms(members, colluders=1)
    nodes, series = members_of(of), SeriesAggregator(of)
    for _ in (Kind.KEYS, Kind.AGREE):
        for name, request in series.requests().items():
            series.take(name, nodes[name].ask(of, request))
        series.advance()
    sent: dict[str, set[bytes]] = {name: set() for name in members}
    for number in (1, 2, 3):
        inputs = {name: random_input(COUNTED, seeded(name)) for name in members}
        series.ask(number, REQUEST, COUNTED)
        for name, request in series.requests().items():
            reply = nodes[name].ask(of, request, question(inputs[name]))
            nodes[name].restart()
            assert nodes[name].ask(of, request, question(inputs[name])) == reply
            sent[name].add(bytes(read_reply(reply, of, Kind.SUM).rest()))
            series.take(name, reply)
        assert_right(COUNTED, series.outcome(), inputs)
    assert all(len(words) == 3 for words in sent.values())


def test_who_drops_out_ends_a_series() -> None:
    """There is no sum without everybody, and none from keys that were deleted."""
    of = series_terms(names(4))
    nodes, series = members_of(of), SeriesAggregator(of)
    for _ in (Kind.KEYS, Kind.AGREE):
        for name, request in series.requests().items():
            series.take(name, nodes[name].ask(of, request))
        series.advance()
    series.ask(1, REQUEST, COUNTED)
    given = random_input(COUNTED, seeded(1))
    for name, request in list(series.requests().items())[1:]:
        series.take(name, nodes[name].ask(of, request, question(given)))
    with pytest.raises(RuleError) as refused:
        series.outcome()
    assert refused.value.rule is Rule.COHORT


def test_one_members_words_look_random() -> None:
    """What the coordinator gets of one member is uniform: the same input gives bits that agree with nothing."""
    members = names(3)
    of = terms(members, layout=Layout((Real(4096, -1, 1),), 1, weighted=False))
    assert of.layout is not None
    given = Input([np.zeros(4096)], 1)
    seen: dict[str, np.ndarray[tuple[int], np.dtype[np.uint32]]] = {}

    def look(name: str, kind: Kind, reply: bytes) -> bytes:
        if kind is Kind.MASKED:
            seen[name] = np.frombuffer(bytes(read_reply(reply, of, kind).rest())[1:], dtype="<u4")
        return reply

    play(of, members_of(of), dict.fromkeys(members, given), forge=look)
    for words in seen.values():
        bits = np.unpackbits(words.view(np.uint8))
        assert abs(bits.mean() - 0.5) < 0.01
        assert len(np.unique(words)) > 4080


def test_an_input_that_is_none_shows_in_the_sum() -> None:
    """Random words in place of an input make totals that no inputs have: an error, and no sum."""
    of = terms(names(4), layout=Layout((Real(64, 0.0, 1.0),), 1000, weighted=True))
    inputs = {name: Input([np.full(64, 0.5)], 10) for name in of.names}

    def garbage(name: str, kind: Kind, reply: bytes) -> bytes:
        if (name, kind) != (of.names[1], Kind.MASKED):
            return reply
        return reply[:-260] + seeded(1).randbytes(260)

    with pytest.raises(CorruptError):
        play(of, members_of(of), inputs, forge=garbage)


def test_a_coordinator_that_restarts_comes_to_the_same_sum() -> None:
    """The aggregator is a function of its calls: made again from stored replies it goes on, and ends the same."""
    of = terms(names(4))
    nodes, inputs = members_of(of), {name: random_input(TRAINED, seeded(name)) for name in names(4)}
    stored: list[tuple[str, bytes] | None] = []
    aggregator = Aggregator(of)
    for _ in ROUND_STEPS:
        for name, request in aggregator.requests().items():
            reply = nodes[name].ask(of, request, question(inputs[name]))
            aggregator.take(name, reply)
            stored.append((name, reply))
            before, aggregator = aggregator.requests(), Aggregator(of)
            for call in stored:
                aggregator.advance() if call is None else aggregator.take(*call)
            assert aggregator.requests() == before
        aggregator.advance()
        stored.append(None)
    assert aggregator.outcome is not None
    assert_right(TRAINED, aggregator.outcome, inputs)
    assert aggregator.requests() == {}


def test_words_are_as_narrow_as_the_largest_sum_allows() -> None:
    """The width follows from levels, weights and members, and a layout that could overflow is refused."""
    assert Layout((Count(1, (1 << 32) // 100 - 1),), 1, weighted=False).width(100) == 4
    assert Layout((Count(1, (1 << 32) // 4),), 1, weighted=False).width(4) == 8
    assert Layout((Real(1, 0, 1, 1 << 32),), 1 << 24, weighted=True).width(100) == 8
    with pytest.raises(InvalidInputError):
        Layout((Real(1, 0, 1, 1 << 32),), 1 << 32, weighted=True).width(100)


@pytest.mark.parametrize("parties", [3, 100])
def test_the_largest_inputs_do_not_overflow(parties: int) -> None:
    """With every value and weight at its greatest the sum is exact."""
    for layout in (
        Layout((Real(2, -8, 8, 1 << 32),), (1 << 25) - 1, weighted=True),
        Layout((Count(2, (1 << 32) // parties - 1),), 5, weighted=False),
    ):
        block = layout.blocks[0]
        top = 8.0 if isinstance(block, Real) else block.largest
        given = Input([np.full(2, top)], layout.heaviest)
        one, total = layout.quantised(given, parties, randomness(1)), layout.empty(parties)
        for _ in range(parties):
            total += one
        sums = layout.sums(total, parties)
        assert int(total[0]) == parties * int(one[0])
        assert sums.weight == parties * layout.heaviest
        assert (sums.values[0] == (8.0 if isinstance(block, Real) else parties * top)).all()


def test_rounding_is_right_on_average() -> None:
    """Stochastic rounding: the mean of many is the value, far below one level."""
    block = Real(200_000, 0.0, 1.0)
    layout = Layout((block,), 1, weighted=False)
    value = 1000.3 * block.step
    words = layout.quantised(Input([np.full(block.size, value)], 1), 3, randomness(5))[:-1]
    assert set(words.tolist()) == {1000, 1001}
    assert abs(float(words.mean()) - 1000.3) < 0.01


@pytest.mark.parametrize(
    "given",
    [
        Input([np.array([1.0, np.nan])], 1),
        Input([np.array([1.0, np.inf])], 1),
        Input([np.zeros(3)], 1),
        Input([np.zeros(2), np.zeros(2)], 1),
        Input([np.zeros(2)], 0),
        Input([np.zeros(2)], 11),
    ],
)
def test_inputs_that_do_not_fit_are_refused(given: Input) -> None:
    """Numbers that are none, other sizes, weights out of bounds."""
    with pytest.raises(InvalidInputError):
        Layout((Real(2, 0, 1),), 10, weighted=True).quantised(given, 3, randomness(1))


@pytest.mark.parametrize("counts", [[-1, 0], [0, 11], [0.5, 1.0]])
def test_counts_are_never_clipped_or_rounded(counts: list[float]) -> None:
    """A count out of bounds is an error and not another count."""
    with pytest.raises(InvalidInputError):
        Layout((Count(2, 10),), 10, weighted=False).quantised(Input([np.array(counts)], 1), 3, randomness(1))


def test_values_outside_of_the_range_are_clipped() -> None:
    """An update counts for at most what was declared."""
    layout = Layout((Real(2, -1.0, 1.0),), 1, weighted=False)
    words = layout.quantised(Input([np.array([-50.0, 50.0])], 1), 3, randomness(1))
    assert words[:2].tolist() == [0, (1 << 16) - 1]


def test_wrong_reply_is_refused_and_changes_nothing() -> None:
    """The coordinator takes no words of another length, and takes the right ones afterwards."""
    of = terms(names(3))
    nodes, aggregator = members_of(of), Aggregator(of)
    inputs = {name: random_input(TRAINED, seeded(name)) for name in of.names}
    for _ in ROUND_STEPS:
        for name, request in aggregator.requests().items():
            reply = nodes[name].ask(of, request, question(inputs[name]))
            assert not take(aggregator, name, reply[:-1])
            assert not take(aggregator, name, reply + b"\0")
            assert take(aggregator, name, reply)
            assert take(aggregator, name, reply)
        aggregator.advance()
    assert aggregator.outcome is not None
    assert_right(TRAINED, aggregator.outcome, inputs)
