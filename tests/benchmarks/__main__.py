"""Run suites: ``python -m benchmarks [SUITE ...] [--quick]``, all of them when none is named.

Exits 1 when something could not be measured. A missed goal is shown and does not change the exit status:
figures depend on the machine, and who compares them reads the JSON.
"""

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console

from benchmarks import listings, models, oprf, secagg, training
from benchmarks.machine import ROOT, commit, describe_machine
from benchmarks.report import Measure, Report, missed

Part = Callable[..., list[Measure]]
Derived = Callable[[Sequence[Measure]], list[Measure]]


class Suite(NamedTuple):
    """What a suite measures, and what follows from the figures."""

    parts: Sequence[Part]
    derived: Sequence[Derived] = ()


SUITES = {
    "training": Suite(training.PARTS, training.DERIVED),
    "oprf": Suite(oprf.PARTS),
    "listings": Suite(listings.PARTS),
    "secagg": Suite(secagg.PARTS),
    "models": Suite(models.PARTS),
}


def main() -> None:
    """Run the named suites, write their JSON, print their tables."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"one of: {', '.join(SUITES)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, at most three minutes a suite")
    arguments = parser.parse_args()
    # Ends like Ctrl-C, so that every process that was started is ended on the way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if unknown := sorted(set(arguments.suites) - set(SUITES)):
        parser.error(f"no suite {', '.join(unknown)}; there are: {', '.join(SUITES)}")
    console = Console()
    complete = [run_suite(suite, console, quick=arguments.quick) for suite in arguments.suites or SUITES]
    sys.exit(0 if all(complete) else 1)


def run_suite(suite: str, console: Console, *, quick: bool) -> bool:
    """Run one suite and report it; return whether every part of it could be measured."""
    machine = describe_machine()
    measures: list[Measure] = []
    failed: list[str] = []
    for part in SUITES[suite].parts:
        name = part.__name__.removeprefix("measure_")
        begin = time.monotonic()
        with console.status(f"{suite}: {name}"):
            try:
                measures += part(quick=quick)
            except Exception:  # noqa: BLE001 one part that fails leaves the others' figures standing
                failed.append(name)
                console.print(f"[red]{suite}: {name} could not be measured[/red]\n{traceback.format_exc()}")
        console.print(f"{suite}: {name} took {time.monotonic() - begin:.0f} s")
    for derive in SUITES[suite].derived:
        measures += derive(measures)
    report = Report(suite, commit(), machine, tuple(measures))
    report.show(console)
    console.print(f"goals missed: {', '.join(missed(measures)) or 'none'}")
    console.print(f"written to {report.write(ROOT / 'build' / 'bench').relative_to(ROOT)}")
    return not failed


if __name__ == "__main__":
    main()
