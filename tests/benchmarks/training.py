"""Suite ``training``: rounds, their cost in time, bytes and memory, beside Flower's own processes."""

from collections.abc import Sequence

from benchmarks.command_line import measure_help
from benchmarks.federation_rounds import measure_three, measure_training, measure_twenty
from benchmarks.flower_superlink import round_seconds
from benchmarks.report import Measure


def measure_flower_superlink(*, quick: bool) -> list[Measure]:
    """Measure a round of a trivial job on Flower's own processes with three nodes."""
    seconds = round_seconds(nodes=3, rounds=2 if quick else 6)
    return [Measure("flower_superlink_round_seconds", seconds, "s")]


def ratio_to_flower_superlink(measures: Sequence[Measure]) -> list[Measure]:
    """Return our warm round with three nodes as a share of Flower's, where both were measured."""
    found = {measure.name: measure.value for measure in measures}
    try:
        ratio = found["round_seconds_3"] / found["flower_superlink_round_seconds"]
    except KeyError:
        return []
    return [Measure("ratio_to_flower_superlink", ratio, "ratio", goal=0.05)]


PARTS = (measure_help, measure_flower_superlink, measure_three, measure_twenty, measure_training)
DERIVED = (ratio_to_flower_superlink,)
