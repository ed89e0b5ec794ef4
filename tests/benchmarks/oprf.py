"""The threshold oblivious function: what asker and holder pay beside what libsodium takes for the arithmetic.

Times of single operations are processor time of one core, in the median of many short turns. A floor is the sum of the
primitives that the protocol asks for, measured in the same turn.
"""

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median

from voprf import ristretto as package

from benchmarks.ceremony import measure_ceremony
from benchmarks.repeats import Case, interleaved, one_core, quietest
from benchmarks.report import Measure
from jointrisk.oprf import dleq, group
from jointrisk.oprf.bulk import MAX_BATCH
from jointrisk.oprf.group import Element, Scalar
from jointrisk.oprf.holder import Evaluation, evaluate, evaluate_unproven
from jointrisk.oprf.requester import Batch, blind
from jointrisk.oprf.sharing import invert_all
from jointrisk.oprf.suite import VOPRF
from jointrisk.oprf.threshold import summed
from oprf_sample import SharedKey

_ITEMS = 512
_INPUTS = [b"resident ID %d" % number for number in range(_ITEMS)]
_HOLDERS = (1, 3)


class _Scene:
    """A key of 2 of 3, a batch, the answers to it, and raw material for the primitives."""

    def __init__(self) -> None:
        self.shared = SharedKey(2, 3)
        self.quorum = self.shared.quorum(_HOLDERS)
        self.batch: Batch = blind(_INPUTS, os.urandom)
        self.answers: dict[int, Evaluation] = self.shared.answers(_HOLDERS, self.batch)
        self.key: Scalar = self.shared.polynomial.share(1)

    def columns(self) -> list[tuple[Element, ...]]:
        """Return the evaluated elements of each holder."""
        return [answer.elements for answer in self.answers.values()]


def measure_one_core(*, quick: bool) -> list[Measure]:
    """Measure each side's operations and their primitives, in turns, on one core."""
    scene = _Scene()
    with one_core():
        cases = _primitives(scene) | _operations(scene) | _package()
        turns = interleaved(cases, 12 if quick else 60, time.thread_time)
    each = {name: [seconds / _ITEMS * 1e6 for seconds in taken] for name, taken in turns.items()}
    floors = _asker_floors(each)
    return [
        _microseconds("raw_mult_us", each["multiply"]),
        _microseconds("raw_add_us", each["add"]),
        _microseconds("hash_to_group_us", each["hash_to_group"]),
        _microseconds("blind_us", each["blind"]),
        _microseconds("evaluate_us", each["evaluate"]),
        _microseconds("evaluate_with_proof_us", each["evaluate_with_proof"]),
        _ratio("evaluate_ratio_to_raw", each["multiply"], each["evaluate"], 0.95),
        _ratio("evaluate_with_proof_ratio_to_raw", each["multiply"], each["evaluate_with_proof"], 0.42),
        _microseconds("verify_us", each["verify"]),
        _microseconds("finalize_2of3_us", each["finalize"]),
        _microseconds("asker_us_per_item_2of3", each["asker"]),
        Measure("asker_ratio_to_floor", _median_ratio(each["asker"], floors), "ratio", 1.15),
        # The package has no threshold: one blinding, and the verified answers of two servers.
        _microseconds("voprf_package_us", each["package"]),
    ]


def measure_two_cores(*, quick: bool) -> list[Measure]:
    """Measure how much sooner a full batch is evaluated with two cores, beside what two processes reach."""
    elements = blind([b"%d" % number for number in range(MAX_BATCH)], os.urandom).elements
    key = group.random_scalar(os.urandom)
    halves = elements[::2], elements[1::2]
    with ProcessPoolExecutor(2) as processes:
        turns = quietest(
            {
                "one": _alone(lambda: evaluate_unproven(key, elements)),
                "two": lambda: evaluate_unproven(key, elements),
                "processes": lambda: list(processes.map(multiply_here, [key, key], halves)),
            },
            7 if quick else 15,
            limit=20 if quick else 60,
        )
    return [
        _ratio("two_core_speedup", turns["one"], turns["two"], 1.7),
        # Two processes that share nothing: what this machine's second core was worth while this ran.
        _ratio("two_process_speedup", turns["one"], turns["processes"], None),
    ]


def multiply_here(key: Scalar, elements: Sequence[Element]) -> int:
    """Multiply in this process, one after the other, and return how many there were."""
    return len([group.multiply(key, element) for element in elements])


def _primitives(scene: _Scene) -> dict[str, Case]:
    """Return what libsodium and hashing alone take, for as many items as a batch has."""
    out = group._Buffer()  # the floor is libsodium itself, without our checks and copies
    element, key, answer = scene.batch.elements[0], scene.key, scene.answers[1].elements[0]
    return {
        "multiply": _each(lambda: group._multiply(out, key, element)),
        "add": _each(lambda: group._add(out, element, answer)),
        "hash_to_group": _each(lambda: VOPRF.hash_to_group(b"resident ID 123456")),
        "hash_to_scalar": _each(lambda: VOPRF.hash_to_scalar(bytes(154))),
        "random_scalar": _each(lambda: group.random_scalar(os.urandom)),
        "finalize_hash": _each(lambda: VOPRF.finalize(b"resident ID 123456", answer)),
        "invert": lambda: invert_all(scene.batch.blinds),
    }


def _operations(scene: _Scene) -> dict[str, Case]:
    before, key = scene.batch.elements, scene.quorum.keys[1]
    return {
        "blind": lambda: blind(_INPUTS, os.urandom),
        "evaluate": lambda: evaluate_unproven(scene.key, before),
        "evaluate_with_proof": lambda: evaluate(scene.key, before, os.urandom),
        "verify": lambda: dleq.verify(key, before, scene.answers[1].elements, scene.answers[1].proof),
        "finalize": lambda: scene.batch.finalize(summed(scene.columns())),
        "asker": lambda: (blind(_INPUTS, os.urandom), scene.quorum.combine(scene.batch, scene.answers)),
    }


def _package() -> dict[str, Case]:
    """Return an asker's work by the package ``voprf``, as near as it comes: it verifies and finalizes each answer."""
    servers = [package.Evaluator.from_seed(bytes(32), name) for name in (b"one", b"two")]
    clients, blinded = zip(*map(package.Client.blind, _INPUTS), strict=True)
    answers = [(server.evaluate_batch(blinded), server.public_key) for server in servers]

    def ask() -> None:
        for data in _INPUTS:
            package.Client.blind(data)
        for answer, public_key in answers:
            package.Client.finalize_batch(clients, answer, public_key)

    return {"package": ask}


def _asker_floors(each: Mapping[str, Sequence[float]]) -> list[float]:
    """Return what an asker's primitives take for an item of 2 of 3, in each turn.

    Blinding is a scalar, a hash and a multiplication; each of two proofs a weight, two multiplications and two
    additions; the end an addition, an inversion, a multiplication and a hash.
    """
    counts = {"random_scalar": 1, "hash_to_group": 1, "hash_to_scalar": 2, "invert": 1, "finalize_hash": 1}
    counts |= {"multiply": 1 + 2 * 2 + 1, "add": 2 * 2 + 1}
    return [sum(counts[name] * each[name][turn] for name in counts) for turn in range(len(each["multiply"]))]


def _each(operation: Case) -> Case:
    def repeat() -> None:
        for _ in range(_ITEMS):
            operation()

    return repeat


def _alone(operation: Case) -> Case:
    def run() -> None:
        with one_core():
            operation()

    return run


def _microseconds(name: str, values: Sequence[float]) -> Measure:
    return Measure(name, median(values), "us")


def _ratio(name: str, above: Sequence[float], below: Sequence[float], goal: float | None) -> Measure:
    return Measure(name, _median_ratio(above, below), "ratio", goal, "higher")


def _median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(one / other for one, other in zip(above, below, strict=True))


PARTS = (measure_one_core, measure_two_cores, measure_ceremony)
