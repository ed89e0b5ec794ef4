"""The whole life of some listings in one federation of processes, and what everybody was told on the way."""

import time
from dataclasses import dataclass, field
from typing import Any

from ceremonies_held import parsed
from command_in_process import Ended, jointrisk
from listing_federation import MEMBERS, Answer, ListingFederation, row
from local_federation import wait_until

HIT, CORRECTED, DISPUTED, WITHDRAWN, EXPOSED, LATER = range(6)
"""Persons whom ash lists; birch lists a loan of the exposed one as well, and the last is withdrawn after a rotation."""
LENT_TWICE, NOBODY, OTHER_NOBODY = 6, 900, 901
LATE, LATE_OLDEST = "dill", 10.0
"""A member that joins when there are two epochs; its copy of the listings may not be older than these seconds."""
_BROKEN = {"phone": "12", "resident_id": "110101199001011234"}


@dataclass
class Course:
    """What was told.

    Attributes:
        answers: by step.
        ended: commands by step.
        reports: of commands about own listings, by step.
        logs: the coordinator's logs by step and epoch.
        watched: questions about the hit while the key was rotated, and when they were answered.
        seconds: for how long the late member answered after the coordinator had gone.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    watched: list[tuple[Ended, float]] = field(default_factory=list)
    seconds: float = 0.0


def live(federation: ListingFederation) -> Course:
    """Publish, change, rotate, grow, lose members.

    Args:
        federation: of ash, birch and cedar, who hold a key.
    """
    course = Course()
    publish(federation, course)
    change(federation, course)
    rotate(federation, course)
    grow(federation, course)
    fail(federation, course)
    remove(federation, course)
    return course


def publish(federation: ListingFederation, course: Course) -> None:
    """Publish from CSV and from Parquet, some rows broken; then ask at each member."""
    broken = [row("ash", 50) | _BROKEN, row("ash", 51, category="gossip"), row("ash", 52, listed_on="2036-01-01")]
    file = federation.file("ash.csv", [*(row("ash", number) for number in range(6)), *broken])
    course.ended["refused file"] = federation.listings("ash", "publish", file, "--json")
    course.logs["refused file"] = federation.logs()
    course.reports["csv"] = parsed(federation.listings("ash", "publish", file, "--skip-refused", "--json"))
    loans = [row("birch", number, "active_loan") for number in (EXPOSED, LENT_TWICE)]
    course.reports["parquet"] = federation.publish("birch", federation.file("birch.parquet", loans))
    course.reports["cedar"] = federation.publish(
        "cedar", federation.file("cedar.csv", [row("cedar", LENT_TWICE, "active_loan")])
    )
    course.reports["again"] = parsed(federation.listings("ash", "publish", file, "--skip-refused", "--json"))
    settle(federation, 12 + 4 + 2)
    for name in MEMBERS:
        course.answers[f"hit at {name}"] = federation.answer(name, HIT)
        course.answers[f"miss at {name}"] = federation.answer(name, NOBODY)
    course.answers["exposed"] = federation.answer("cedar", EXPOSED)
    course.answers["lent twice"] = federation.answer("ash", LENT_TWICE)


def change(federation: ListingFederation, course: Course) -> None:
    """Correct, dispute, withdraw and renew rows."""
    mended = [row("ash", CORRECTED, severity="low"), row("ash", 70)]
    corrected = federation.listings("ash", "correct", federation.file("mended.csv", mended), "--json")
    course.reports["corrected"] = parsed(corrected)
    course.reports["disputed"] = federation.change("ash", "dispute", [f"ash/{DISPUTED}", "ash/none"])
    course.reports["withdrawn"] = federation.change("ash", "withdraw", [f"ash/{WITHDRAWN}"])
    settle(federation, 10 + 4 + 2)
    for what, number in (("corrected", CORRECTED), ("disputed", DISPUTED), ("withdrawn", WITHDRAWN)):
        course.answers[what] = federation.answer("cedar", number)
    course.reports["dispute ended"] = federation.change("ash", "dispute", [f"ash/{DISPUTED}"], "--end")
    course.reports["renewed"] = parsed(federation.listings("ash", "renew", "--json"))
    settle(federation, 10 + 4 + 2)
    course.answers["dispute ended"] = federation.answer("cedar", DISPUTED)


def rotate(federation: ListingFederation, course: Course) -> None:
    """Make the key of another epoch, asking meanwhile; then end a listing that is in both."""
    proposed = federation.propose("rotate", "--threshold", 2, "--holders", ",".join(MEMBERS))

    def is_republished() -> bool:
        watch(federation, course)
        logs = federation.logs()
        return 2 in logs and logs[2]["live"] == logs[1]["live"]

    wait_until(is_republished, "everything to be listed again", 60)
    federation.ended(proposed)
    course.logs["rotated"] = federation.logs()
    settle(federation, 10 + 4 + 2, 2)
    course.answers["after the rotation"] = federation.answer("cedar", HIT)
    federation.change("ash", "withdraw", [f"ash/{LATER}"])
    settle(federation, 8 + 4 + 2, 2)
    course.answers["withdrawn after the rotation"] = federation.answer("cedar", LATER)


def watch(federation: ListingFederation, course: Course) -> None:
    """Ask about the hit."""
    course.watched.append((federation.query("cedar", HIT), time.monotonic()))


def grow(federation: ListingFederation, course: Course) -> None:
    """Let another member join, which holds no share."""
    federation.enter(LATE, oldest=f"{LATE_OLDEST:.0f}s", approved_by=("ash", "birch"))
    federation.nodes[LATE].wait_ready()
    wait_until(lambda: federation.query(LATE, HIT).code == 0, "the late member's first answer", 60)
    course.answers["hit at the late member"] = federation.answer(LATE, HIT)
    course.answers["miss at the late member"] = federation.answer(LATE, NOBODY)


def fail(federation: ListingFederation, course: Course) -> None:
    """Kill one holder, another, and the coordinator; they come back."""
    federation.nodes["birch"].kill()
    course.answers["one holder down"] = federation.answer("cedar", HIT)
    federation.nodes["ash"].kill()
    course.ended["two holders down"] = federation.query("cedar", HIT)
    course.ended["a miss with two holders down"] = federation.query("cedar", OTHER_NOBODY)
    federation.start_again()
    wait_until(lambda: federation.query(LATE, HIT).code == 0, "holders that answer again", 60)
    federation.coordinator.kill()
    began = time.monotonic()
    while (ended := federation.query(LATE, HIT)).code == 0 and time.monotonic() - began < 6 * LATE_OLDEST:
        course.seconds = time.monotonic() - began
        time.sleep(0.2)
    course.ended["an old copy"] = ended
    course.answers["a copy that is not too old"] = federation.answer("cedar", HIT)
    federation.start_again()
    wait_until(lambda: federation.query(LATE, HIT).code == 0, "a copy that is current again", 60)
    course.answers["a copy that is current again"] = federation.answer(LATE, HIT)


def remove(federation: ListingFederation, course: Course) -> None:
    """Remove birch, and then what it has listed."""
    coordinator = ("coordinator", "--home", federation.coordinator.home)
    parsed(jointrisk(*coordinator, "remove", "birch", "--reason", "left the federation", "--json"))
    wait_until(lambda: federation.query("birch", HIT).code != 0, "holders that refuse a removed member", 30)
    course.ended["asked by a removed member"] = federation.query("birch", HIT)
    course.ended["listed by a removed member"] = federation.listings(
        "birch", "publish", federation.file("more.csv", [row("birch", 60, "active_loan")]), "--json"
    )
    course.answers["listed before the removal"] = federation.answer("cedar", EXPOSED)
    withdrawn = jointrisk(*coordinator, "listings", "remove-member", "birch", "--json")
    course.reports["entries of a removed member"] = parsed(withdrawn)
    settle(federation, 8 + 2, 2, without="birch")
    course.answers["removed with its member"] = federation.answer("cedar", EXPOSED)


def settle(federation: ListingFederation, entries: int, epoch: int = 1, *, without: str = "") -> None:
    """Wait until so many entries are live in the epochs up to this one, and have every node fetch them."""
    for each in range(1, epoch + 1):
        federation.wait_live(entries, each)
    for name in federation.nodes:
        if name != without:
            federation.sync(name)
