"""``kill -9`` while a lender asks, and while nodes fetch the log: every answer is right, or there is none."""

import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from types import TracebackType
from typing import Self

import grpc
import pytest

from ceremonies_held import parsed
from demo_listings import Asking
from listing_federation import ListingFederation, row
from listings_compared import (
    charges,
    count,
    has_fetched,
    log_on_disk,
    require_counted,
    require_listed,
    require_replicas,
)
from local_federation import Daemon, wait_until

pytestmark = [pytest.mark.federation, pytest.mark.slow, pytest.mark.timeout(400)]

LISTED, STRANGERS = range(200), range(500, 520)
COMING = range(1000, 10_000)
"""Persons who are listed and withdrawn again, one after the other."""
_SECONDS = 60.0
_STORM_SECONDS = 120.0
_NOT_NOW = 7


@dataclass(frozen=True)
class Told:
    """One answer.

    Attributes:
        number: of the person.
        listings: how many.
        unopened: whether entries did not open.
    """

    number: int
    listings: int
    unopened: bool


@dataclass
class Questions:
    """A lender's system that asks about listed persons and strangers, on and on, in a thread.

    Args:
        node: the lender's.
    """

    node: Daemon
    told: list[Told] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unexpected: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_SECONDS)

    def _ask_on(self) -> None:
        asking = Asking(self.node)
        try:
            for number in cycle([LISTED[3], STRANGERS[0], LISTED[150], STRANGERS[7]]):
                if self._stop.is_set():
                    return
                self._ask(asking, number)
        except BaseException as error:  # noqa: BLE001 - told by the test, not by a thread that nobody sees
            self.unexpected.append(error)
        finally:
            asking.close()

    def _ask(self, asking: Asking, number: int) -> None:
        try:
            signal = asking.about(number)
        except grpc.RpcError as error:
            self.failed.append(str(error))
            time.sleep(0.02)
            return
        self.told.append(Told(number, len(signal.listings), bool(signal.unopened)))

    def wait_for(self, more: int) -> None:
        """Wait until so many more questions are answered."""
        wanted = len(self.told) + more
        wait_until(lambda: len(self.told) >= wanted or bool(self.unexpected), f"{more} more answers", _SECONDS)

    def require_right(self) -> None:
        """Whoever is listed was found, once, and nobody else; errors are errors of what was down."""
        assert not self.unexpected, self.unexpected
        wrong = [one for one in self.told if one.listings != int(one.number in LISTED) or one.unopened]
        assert not wrong, f"{len(wrong)} of {len(self.told)} answers are wrong: {wrong[:3]}"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListingFederation]:
    """Three members, 2 of 3; ash lists 200 persons."""
    with ListingFederation(tmp_path_factory.mktemp("signals-killed") / "federation") as made:
        made.begin(more="\n[holder.quotas.cedar]\nadmission = 10000000\nepoch_ceiling = 10000000\n")
        made.publish("ash", made.file("listed.csv", [row("ash", number) for number in LISTED]))
        made.wait_live(2 * len(LISTED))
        for name in made.nodes:
            made.sync(name)
        yield made


@contextmanager
def killed(daemon: Daemon, federation: ListingFederation) -> Iterator[None]:
    """Let a daemon be dead for a while."""
    daemon.kill()
    yield
    federation.start_again()


def wait_for_growth(number: Callable[[], int], what: str) -> None:
    """Wait until a number on somebody's disk is greater than now, looking a thousand times a second."""
    before, deadline = number(), time.monotonic() + _SECONDS
    while number() == before:
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.001)


def wait_fetched(federation: ListingFederation, names: Sequence[str] = ("ash", "birch", "cedar")) -> None:
    """Wait until nodes reach the coordinator again, and have fetched what is new."""
    for name in names:
        wait_until(partial(has_fetched, federation, name), f"{name} at the coordinator", _SECONDS)


def require_same(federation: ListingFederation) -> None:
    """Every copy is the log, and whoever is listed is in it once."""
    wait_fetched(federation)
    require_listed(federation, 1, LISTED[::9], STRANGERS)
    require_replicas(federation, 1)


def test_no_answer_is_wrong_when_somebody_is_killed(federation: ListingFederation) -> None:
    """Each holder in turn dies with a question that it has just charged, then the coordinator, then who asks."""
    cedar = federation.nodes["cedar"]
    with Questions(cedar) as questions:
        for name in ("ash", "birch"):
            questions.wait_for(4)
            holder = federation.nodes[name]
            wait_for_growth(partial(charges, holder), f"a question that {name} charges")
            with killed(holder, federation):
                questions.wait_for(4)
        with killed(federation.coordinator, federation):
            questions.wait_for(4)
        with killed(cedar, federation), suppress(TimeoutError):
            time.sleep(0.1)
        questions.wait_for(8)
    questions.require_right()
    require_counted(federation, {"cedar": 1})


def test_too_few_holders_never_answer(federation: ListingFederation) -> None:
    """While both others are dead there are errors alone; the first answers afterwards are right."""
    with Questions(federation.nodes["cedar"]) as questions:
        questions.wait_for(2)
        for name in ("ash", "birch"):
            federation.nodes[name].kill()
        wait_until(lambda: bool(questions.failed), "a question that fails", _SECONDS)
        answered, failed = len(questions.told), len(questions.failed)
        wait_until(lambda: len(questions.failed) >= failed + 3, "more questions that fail", _SECONDS)
        assert len(questions.told) == answered
        federation.start_again()
        questions.wait_for(4)
    questions.require_right()
    assert all("ash" in error and "birch" in error for error in questions.failed)


@pytest.mark.parametrize("who", ["birch", "coordinator"])
def test_a_kill_while_a_copy_is_built_again_changes_nothing(federation: ListingFederation, who: str) -> None:
    """The old copy is read meanwhile; in the end the copy is the log."""
    building = federation.starting("birch", "listings", "rebuild")
    folder = federation.nodes["birch"].home / "replica" / "1"
    numbers = {one.name for one in folder.iterdir()}
    deadline = time.monotonic() + _SECONDS
    while {one.name for one in folder.iterdir()} == numbers and time.monotonic() < deadline:
        time.sleep(0.0005)
    next(one for one in federation.daemons if one.name == who).kill()
    building.communicate(timeout=_SECONDS)
    federation.start_again()
    require_same(federation)
    assert parsed(federation.listings("birch", "rebuild", "--json"))["replicas"][0]["refusal"] == ""
    require_same(federation)


def test_what_was_withdrawn_is_not_served_after_a_kill(federation: ListingFederation) -> None:
    """A reader dies right after it has acknowledged the synchronisation; its first answer afterwards knows the end."""
    come_and_go(federation, COMING[0], federation.nodes["cedar"])


def come_and_go(federation: ListingFederation, number: int, victim: Daemon | None) -> None:
    """List a person and withdraw it; when cedar has fetched that somebody dies, and then cedar is asked."""
    settled(federation)
    live = len(log_on_disk(federation, 1).live)
    publish_one(federation, number)
    federation.wait_live(live + 2)
    wait_fetched(federation, ["cedar"])
    assert asked(federation, number) == 1
    wait_until(lambda: withdrawn(federation, number), "the coordinator's word that it has ended", _SECONDS)
    federation.wait_live(live)
    wait_fetched(federation, ["cedar"])
    if victim is not None:
        with killed(victim, federation):
            pass
    assert asked(federation, number) == 0


def settled(federation: ListingFederation) -> None:
    """Wait until nothing of ash waits for the coordinator."""
    waiting = partial(count, federation.nodes["ash"], "count(*) FROM own_entry WHERE todo != ''")
    wait_until(lambda: waiting() == 0, "the coordinator's word about all entries of ash", _SECONDS)
    wait_until(lambda: federation.logs()[1]["pending"] == 0, "the release of all entries", _SECONDS)


def publish_one(federation: ListingFederation, number: int) -> None:
    """Publish one person, however often it takes."""
    file = federation.file("one.csv", [row("ash", number)])
    wait_until(lambda: federation.listings("ash", "publish", file).code == 0, "one person's listing", _SECONDS)


def withdrawn(federation: ListingFederation, number: int) -> bool:
    """Withdraw one person; return whether the coordinator has acknowledged it."""
    ended = federation.listings("ash", "withdraw", "-", "--json", given=f"ash/{number}\n")
    assert ended.code in {0, _NOT_NOW}, ended
    return ended.code == 0 and parsed(ended)["waiting"] == 0


def asked(federation: ListingFederation, number: int) -> int:
    """Ask at cedar until there is an answer; return how many listings it has."""
    wait_until(lambda: federation.query("cedar", number).code == 0, "an answer", _SECONDS)
    return len(federation.answer("cedar", number)["listings"])


@pytest.mark.timeout(900)
def test_a_federation_lives_through_a_storm(federation: ListingFederation) -> None:
    """Persons come and go, cedar asks all the time, and somebody dies every few seconds, whoever it is."""
    seed = int(os.environ.get("STORM_SEED") or secrets.randbits(32))
    print(f"STORM_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)  # noqa: S311
    kills, end, coming = 0, time.monotonic() + _STORM_SECONDS, iter(COMING[100:])
    with Questions(federation.nodes["cedar"]) as questions:
        while time.monotonic() < end:
            victim = chance.choice(federation.daemons)
            striking = threading.Timer(chance.uniform(0.0, 2.0), victim.kill)
            striking.start()
            federation.listings("ash", "publish", federation.file("late.csv", [row("ash", next(coming))]))
            striking.join()
            federation.start_again()
            kills += 1
            come_and_go(federation, next(coming), chance.choice([None, *federation.daemons]))
    questions.require_right()
    require_same(federation)
    print(f"{kills} kills, {len(questions.told)} answers, {len(questions.failed)} errors")  # noqa: T201
    require_counted(federation, {"cedar": 2 * kills})
    federation.require_sound_audits()
