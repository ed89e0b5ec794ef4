"""Suite ``secagg``: what secure sums cost beside plain ones, in time and bytes.

3, 5 and 10 members are real federations: daemons, mutual TLS, databases. 30 and 100 members are in one process: the
protocol's computing and Flower's encoding only, members at the same time (`secagg_members`).
"""

import os
import time
from statistics import median

import numpy as np

from benchmarks.repeats import interleaved, one_core
from benchmarks.report import Measure
from benchmarks.secagg_auc import measure_auc
from benchmarks.secagg_levels import measure_levels
from benchmarks.secagg_members import Members, Spent, secure
from benchmarks.secagg_rounds import measure_federations
from benchmarks.secagg_series import measure_series
from jointrisk.learning.aggregation import PlainAggregation
from jointrisk.learning.flower import ArrayRecord, pack
from jointrisk.learning.secure_aggregation import Parameters, masks
from jointrisk.learning.secure_aggregation.masks import SumContext

MODEL_SHAPES = ((128, 267), (128,), (128, 128), (128,), (1, 128), (1,)) * 3
"""Of the default model on the contract of GMSC: 152,835 numbers."""
_MASK_BYTES = 64 << 20
_KEYS = 100_000
_WORD_BITS = 64


def default_arrays() -> ArrayRecord:
    """Return arrays as large as those of the default model."""
    generator = np.random.default_rng(0)
    made = [generator.normal(0, 0.1, shape).astype(np.float32) for shape in MODEL_SHAPES]
    return ArrayRecord({f"{place:02}": pack(one) for place, one in enumerate(made)})


def measure_masks(*, quick: bool) -> list[Measure]:
    """Measure how fast masks are added on one core, and how many bits of a word they make unpredictable."""
    words = np.zeros(_MASK_BYTES // 8, dtype="<u8")
    with one_core():
        taken = interleaved({"add": lambda: masks.add(words, os.urandom(32))}, 5 if quick else 25, time.thread_time)
    return [
        Measure("mask_mb_per_s", _MASK_BYTES / 1e6 / median(taken["add"]), "MB/s", 100, "higher"),
        Measure("mask_bits_effective", effective_bits(_mask_words(_KEYS)), "bits of 64", better="higher"),
    ]


def effective_bits(words: np.ndarray) -> float:
    """Return the entropy of the bits of 64-bit words, of each by itself, added up: 64 at most.

    A bit that is always 0 or 1 counts nothing. Words that occur twice show a short seed, whatever their bits look like:
    then it is the entropy of the collisions, log2 of the pairs for each pair that is equal.
    """
    count = len(words)
    ones = np.array([int(((words >> np.uint64(bit)) & np.uint64(1)).sum()) for bit in range(_WORD_BITS)]) / count
    chances = np.stack([ones, 1 - ones])
    logs = np.log2(chances, out=np.zeros_like(chances), where=chances > 0)
    by_bits = float(-(chances * logs).sum())
    _, repeats = np.unique(words, return_counts=True)
    equal = int((repeats * (repeats - 1) // 2).sum())
    return min(by_bits, float(np.log2(count * (count - 1) / 2 / equal))) if equal else by_bits


def _mask_words(count: int) -> np.ndarray:
    """Return the first word of so many masks, each of a pair of its own."""
    context = SumContext(os.urandom(32), os.urandom(32), os.urandom(32), 1, 0, os.urandom(32))
    keys = (masks.pair_key(os.urandom(32), context, "alder", "birch") for _ in range(count))
    return np.frombuffer(b"".join(masks.stream(key, 8) for key in keys), dtype="<u8")


def measure_thirty(*, quick: bool) -> list[Measure]:
    """Measure a round of 30 members in one process."""
    return _in_one_process(30, 2 if quick else 5)


def measure_hundred(*, quick: bool) -> list[Measure]:
    """Measure a round of 100 members in one process."""
    return _in_one_process(100, 1 if quick else 3)


def _in_one_process(count: int, rounds: int) -> list[Measure]:
    """Return what a round (training and evaluation) takes more than a plain one; both in turns."""
    members = Members(count, default_arrays())
    plainly, securely = PlainAggregation(), secure(members)
    plain, found = list[Spent](), list[Spent]()
    for _ in range(rounds):
        plain.append(members.train_and_evaluate(plainly))
        found.append(members.train_and_evaluate(securely))
    seconds = [median(one.seconds for one in these) for these in (plain, found)]
    sizes = [median(one.bytes_per_member for one in these) for these in (plain, found)]
    return [
        Measure(f"extra_seconds_{count}", seconds[1] - seconds[0], "s"),
        Measure(f"member_seconds_{count}", median(one.members for one in found), "s"),
        Measure(f"bytes_per_node_{count}", sizes[1], "bytes"),
        Measure(f"bytes_ratio_to_plain_{count}", sizes[1] / sizes[0], "ratio"),
    ]


def measure_recovery(*, quick: bool) -> list[Measure]:
    """Measure the coordinator's unmasking of a training sum after 10 of 30 members dropped out with their masks in."""
    spent = [_recovery() for _ in range(2 if quick else 5)]
    return [Measure("recover_seconds_10_of_30", median(spent), "s")]


def _recovery() -> float:
    members = Members(30, default_arrays(), lost=10)
    return members.mean(secure(members, Parameters.choose(30, 9))).after_replies


PARTS = (
    measure_masks,
    measure_series,
    measure_levels,
    measure_recovery,
    measure_thirty,
    measure_hundred,
    measure_federations,
    measure_auc,
)
