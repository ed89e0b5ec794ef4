"""How long a key generation computes: all parties and the board in one process, without network and disk."""

import statistics
import time

from benchmarks.report import Measure
from ceremony_sample import SUITE, begin, exchange, generation_terms
from jointrisk.oprf.ceremony import Board


def measure_ceremony(*, quick: bool) -> list[Measure]:
    """Measure the median processor time of whole generations, 2 of 3 and 5 of 9."""
    repeats = 3 if quick else 9
    return [
        Measure("dkg_2of3_ms", statistics.median(_milliseconds(2, 3) for _ in range(3 * repeats)), "ms"),
        Measure("dkg_5of9_ms", statistics.median(_milliseconds(5, 9) for _ in range(repeats)), "ms"),
    ]


def _milliseconds(threshold: int, count: int) -> float:
    terms = generation_terms(threshold, count)
    board = Board(terms, SUITE)
    begun = time.thread_time()
    exchange(begin(terms), board)
    took = time.thread_time() - begun
    if board.outcome is None or not board.outcome.is_committed:
        raise RuntimeError("expected a ceremony that goes well to be committed, got another end")
    return 1e3 * took
