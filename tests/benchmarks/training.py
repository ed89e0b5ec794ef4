"""Suite ``training``: rounds, their cost in time, bytes and memory, beside Flower's own processes."""

from benchmarks.command_line import measure_help
from benchmarks.flower_superlink import round_seconds
from benchmarks.report import Measure


def measure_flower_superlink(*, quick: bool) -> list[Measure]:
    """Measure a round of a trivial job on Flower's own processes with three nodes."""
    seconds = round_seconds(nodes=3, rounds=3 if quick else 6)
    return [Measure("flower_superlink_round_seconds", seconds, "s")]


PARTS = (measure_help, measure_flower_superlink)
