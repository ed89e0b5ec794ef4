"""What the suite `secagg` compares: that members in one process give the same secure and plain, and what it counts."""

import numpy as np
import pytest

from benchmarks.observed_run import Moment, ObservedRun
from benchmarks.secagg import effective_bits
from benchmarks.secagg_members import RANGES, Members, Spent, secure
from benchmarks.secagg_rounds import round_seconds
from jointrisk.learning.aggregation import PlainAggregation
from jointrisk.learning.flower import ArrayRecord, pack
from jointrisk.learning.secure_aggregation import Parameters

MODEL = ArrayRecord({"w": pack(np.ones((3, 4), dtype=np.float32))})


def test_members_in_one_process_train_the_same_secure_and_plain() -> None:
    """What is timed is a sum that is right; masked words and shares are more bytes than a plain reply."""
    members = Members(4, MODEL)
    means = []
    for seam in (PlainAggregation(), secure(members)):
        members.round += 1
        reply = seam.mean(members, members._asked("train"), RANGES).reply
        assert reply is not None
        means.append(reply.content.array_records["arrays"]["w"].numpy())
    assert np.abs(means[0] - means[1]).max() < 1e-6
    assert not np.array_equal(means[0], MODEL["w"].numpy())
    sizes = [members.train_and_evaluate(seam).bytes_per_member for seam in (PlainAggregation(), secure(members))]
    assert sizes[1] > sizes[0] > 0


def test_members_that_drop_out_with_their_masks_are_recovered_from() -> None:
    """The time after the last reply is that of a sum without them."""
    members = Members(6, MODEL, lost=1)
    spent = members.mean(secure(members, Parameters.choose(6, 1)))
    assert 0 < spent.after_replies < spent.whole


def test_members_compute_at_the_same_time() -> None:
    """An exchange counts the median member once, not all of them."""
    spent = Spent(whole=10.0)
    spent.exchanged([1.0, 2.0, 3.0], [10, 20, 30])
    assert spent.seconds == pytest.approx(10.0 - 6.0 + 2.0)
    assert spent.bytes_per_member == 20


def test_a_short_seed_and_fixed_bits_are_seen_in_the_effective_bits() -> None:
    """Of 64 bits: all of random words, those that are not fixed, and those of a seed of 12 bits."""
    words = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
    assert effective_bits(words) == pytest.approx(64, abs=0.01)
    assert effective_bits(words & np.uint64(2**48 - 1)) == pytest.approx(48, abs=0.01)
    assert effective_bits(words[:4096][words % np.uint64(4096)]) == pytest.approx(12, abs=0.1)


def test_a_round_lasts_from_commit_to_commit() -> None:
    """The first moment at which a round is complete is its end; the first two rounds don't count."""
    moments = [Moment(0, 1.0, 0), Moment(1, 3.0, 0), Moment(2, 4.0, 0), Moment(2, 4.4, 0), Moment(3, 5.5, 0)]
    assert round_seconds(ObservedRun(moments)) == [1.5]
