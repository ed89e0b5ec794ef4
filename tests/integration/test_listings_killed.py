"""``kill -9`` of any process while listings are published and withdrawn: everybody goes on as if nothing had happened.

Progress is read on the disks, and whoever is to die dies as soon as it shows.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count as numbers_from
from pathlib import Path

import pytest

from ceremonies_held import parsed
from listing_federation import MEMBERS, ListingFederation, row
from listings_compared import charges, count, require_counted, require_listed, require_replicas
from local_federation import Daemon, wait_until

pytestmark = [pytest.mark.federation, pytest.mark.timeout(400)]

EVERYTHING, COMMAND, HOLDERS = "everything", "command", "holders"
VICTIMS = (COMMAND, "ash", HOLDERS, "coordinator", EVERYTHING)
ROWS, MANY_ROWS = 300, 4200
"""Of a file in one part, and in two: a part is 8,192 identifiers."""
_SAMPLE = 97
_TRIED_FOR = 120.0
_LATER = {0, 7}
"""Exit codes of a command among daemons that are being started: done, not possible now."""

Phase = Callable[[ListingFederation], int]


def asked(federation: ListingFederation) -> int:
    """Count requests that holders have bound and charged."""
    return sum(charges(node) for node in federation.nodes.values())


def stored(federation: ListingFederation) -> int:
    """Count entries that the lister has sealed and stored."""
    return count(federation.nodes["ash"], "count(*) FROM own_entry")


def taken(federation: ListingFederation) -> int:
    """Count entries that the coordinator has acknowledged, or is about to."""
    return count(federation.coordinator, "sum(entries) FROM listing_log")


def released(federation: ListingFederation) -> int:
    """Count entries and marks of the logs."""
    return count(federation.coordinator, "sum(size) FROM listing_log")


def ending(federation: ListingFederation) -> int:
    """Count rows whose withdrawal is durable at the lister."""
    return count(federation.nodes["ash"], "count(*) FROM listed_row WHERE state IN ('withdrawing', 'withdrawn')")


def marked(federation: ListingFederation) -> int:
    """Count tombstones and the like that the coordinator has taken."""
    return count(federation.coordinator, "sum(marks) FROM listing_log")


PUBLISHING: dict[str, Phase] = {"asked": asked, "stored": stored, "taken": taken, "released": released}
WITHDRAWING: dict[str, Phase] = {"ending": ending, "marked": marked, "released": released}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListingFederation]:
    """Three members that hold a key, 2 of 3."""
    with ListingFederation(tmp_path_factory.mktemp("listings-killed") / "federation") as made:
        made.begin(more="\n[holder.quotas.ash]\ncustomers = 5000000\n")
        yield made


_fresh = numbers_from()


def some_persons(how_many: int) -> range:
    """Return persons whom nobody lists yet."""
    first = next(_fresh) * 10_000
    return range(first, first + how_many)


def victims(federation: ListingFederation, who: str) -> list[Daemon]:
    """Return the daemons that die; none when it is the command."""
    chosen = {HOLDERS: {"birch", "cedar"}, EVERYTHING: {one.name for one in federation.daemons}, COMMAND: set()}
    return [daemon for daemon in federation.daemons if daemon.name in chosen.get(who, {who})]


def interrupted(federation: ListingFederation, phase: Phase, who: str, *words: object) -> None:
    """Run a command of ash's people, and kill somebody as soon as a number grows; start who is down again."""
    before = phase(federation)
    process = federation.starting("ash", *words)
    deadline = time.monotonic() + _TRIED_FOR
    while phase(federation) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    kill(federation, who, process)
    process.communicate(timeout=_TRIED_FOR)
    assert phase(federation) > before, "the command has not come that far"
    federation.start_again()


def kill(federation: ListingFederation, who: str, process: "subprocess.Popen[str]") -> None:
    """Kill a command or daemons."""
    if who in {COMMAND, EVERYTHING}:
        process.kill()
    for daemon in victims(federation, who):
        daemon.kill()


def done_at_last(federation: ListingFederation, *words: object) -> None:
    """Give a command of ash's people again until it is through and nothing waits for the coordinator."""

    def is_done() -> bool:
        ended = federation.listings("ash", *words, "--json")
        assert ended.code in _LATER, ended
        return ended.code == 0 and parsed(ended)["waiting"] == 0

    wait_until(is_done, f"the end of listings {words[0]}", _TRIED_FOR)


def listed(federation: ListingFederation) -> int:
    """Return how many rows ash has listed."""
    rows: int = federation.lister("ash")["listed"]
    return rows


def listed_file(federation: ListingFederation, persons: range) -> Path:
    """Write a file of ash's with these persons."""
    return federation.file(f"ash-{persons.start}.parquet", [row("ash", number) for number in persons])


def require_live(federation: ListingFederation, persons: range, *, withdrawn: bool = False) -> None:
    """These persons are listed once each, or not at all any more; nobody else has changed."""
    federation.wait_live(listed(federation) * 2)
    sample = persons[:: max(1, len(persons) // _SAMPLE)]
    require_listed(federation, 1, () if withdrawn else sample, sample if withdrawn else ())
    require_replicas(federation, 1)


def publish_interrupted(federation: ListingFederation, phase: str, who: str, rows: int) -> range:
    """Publish a file, killing somebody, publish it again; return who is listed."""
    persons, before = some_persons(rows), listed(federation)
    appends = released(federation)
    file = listed_file(federation, persons)
    interrupted(federation, PUBLISHING[phase], who, "listings", "publish", file)
    done_at_last(federation, "publish", file)
    assert listed(federation) == before + rows
    require_live(federation, persons)
    assert released(federation) == appends + 2 * rows, "an entry was appended twice"
    return persons


def withdraw_interrupted(federation: ListingFederation, phase: str, who: str, persons: range) -> None:
    """Withdraw persons, killing somebody, and once more; at once after the synchronisation nobody serves them."""
    before, marks = listed(federation), released(federation)
    file = federation.file(f"ends-{persons.start}.csv", [{"reference": f"ash/{number}"} for number in persons])
    interrupted(federation, WITHDRAWING[phase], who, "listings", "withdraw", file)
    done_at_last(federation, "withdraw", file)
    assert listed(federation) == before - len(persons)
    require_live(federation, persons, withdrawn=True)
    assert released(federation) == marks + 2 * len(persons), "an entry was ended twice"
    for name in MEMBERS:
        federation.nodes[name].kill()
    federation.start_again()
    for name in MEMBERS:
        assert wait_for_answer(federation, name, persons[0])["listings"] == []


def wait_for_answer(federation: ListingFederation, name: str, number: int) -> dict[str, list[object]]:
    """Ask until there is an answer, among daemons that have just been started."""

    def is_there() -> bool:
        ended = federation.query(name, number)
        assert ended.code in _LATER, ended
        return ended.code == 0

    wait_until(is_there, f"an answer at {name}", _TRIED_FOR)
    return federation.answer(name, number)


@pytest.mark.parametrize(
    ("phase", "who"), [pytest.param("asked", "ash", marks=pytest.mark.slow), ("taken", "coordinator")]
)
def test_a_kill_while_publishing_changes_nothing(federation: ListingFederation, phase: str, who: str) -> None:
    """Every row of the file is listed once; the other phases and victims are in the slow tests."""
    publish_interrupted(federation, phase, who, ROWS)
    require_counted(federation)


@pytest.mark.slow
def test_a_kill_of_everything_while_withdrawing_changes_nothing(federation: ListingFederation) -> None:
    """What was withdrawn is served by nobody after the synchronisation, also not after another kill."""
    persons = some_persons(ROWS)
    done_at_last(federation, "publish", listed_file(federation, persons))
    require_live(federation, persons)
    withdraw_interrupted(federation, "ending", EVERYTHING, persons)
    require_counted(federation)


def test_what_was_acknowledged_outlives_everybody(federation: ListingFederation) -> None:
    """All processes die right after the report that nothing waits: all of it is in the log, without another command."""
    persons = some_persons(ROWS)
    reported = federation.publish("ash", listed_file(federation, persons))
    assert (reported["listed"], reported["waiting"]) == (ROWS, 0)
    for daemon in federation.daemons:
        daemon.kill()
    federation.start_again()
    require_live(federation, persons)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", VICTIMS)
def test_a_kill_in_every_phase_changes_nothing(federation: ListingFederation, who: str) -> None:
    """Each victim in each phase of publishing a file, and of withdrawing some of it."""
    persons = range(0)
    for phase in PUBLISHING:
        persons = publish_interrupted(federation, phase, who, MANY_ROWS if phase == "taken" else 4 * ROWS)
    for place, phase in enumerate(WITHDRAWING):
        withdraw_interrupted(federation, phase, who, persons[place * ROWS : (place + 1) * ROWS])
    require_counted(federation)
    federation.require_sound_audits()
