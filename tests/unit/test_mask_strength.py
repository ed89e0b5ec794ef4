"""How strong masks are, measured over 10^5 keys: Flower's SecAgg+ has 28 effective bits (PROTOCOL.md, section 3)."""

import math
import random
from itertools import combinations

import numpy as np
import pytest

from jointrisk.learning.secure_aggregation import agreement, masks
from jointrisk.learning.secure_aggregation.masks import SumContext

MEMBERS = 448
"""100,128 pairs."""
CONTEXT = SumContext(bytes(32), bytes(32), bytes(32), 1, 0, bytes(32))
DEVIATIONS = 6.0


@pytest.mark.slow
def test_no_two_of_100_000_masks_have_a_key_in_common_and_no_bit_leans() -> None:
    """Keys from real agreements; the first 16 bytes of a mask are two words of an input.

    With 28 effective bits about 19 pairs of these keys would be equal. None is, in the keys or in the first 64 bits of
    the masks; each of the keys' 256 bits and of the masks' 128 is set in half of them, to six deviations.
    """
    random_bytes = random.Random(6).randbytes  # noqa: S311 - the same keys every time
    private = [random_bytes(32) for _ in range(MEMBERS)]
    public = [agreement.public_key(key) for key in private]
    keys = [
        masks.pair_key(agreement.agree(private[one], public[other]), CONTEXT, f"m{one:03}", f"m{other:03}")
        for one, other in combinations(range(MEMBERS), 2)
    ]
    streams = [masks.stream(key, 16) for key in keys]
    count = len(keys)
    assert count > 100_000
    assert len(set(keys)) == len({stream[:8] for stream in streams}) == count
    most = DEVIATIONS * 0.5 / math.sqrt(count)
    for drawn in (keys, streams):
        bits = np.unpackbits(np.frombuffer(b"".join(drawn), dtype=np.uint8).reshape(count, -1), axis=1)
        assert np.abs(bits.mean(axis=0) - 0.5).max() < most
    words = np.frombuffer(b"".join(streams), dtype="<u4")[::4]
    equal = count - len(np.unique(words))  # of 32 bits, 1.2 are expected
    assert equal < 10


def test_keys_of_28_bits_would_be_seen() -> None:
    """The measure itself: as many keys drawn from 2^28 have about 19 pairs in common."""
    source = np.random.default_rng(1)
    few = source.integers(0, 1 << 28, MEMBERS * (MEMBERS - 1) // 2)
    assert 5 < len(few) - len(np.unique(few)) < 50
