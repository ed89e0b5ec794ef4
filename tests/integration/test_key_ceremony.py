"""The life of a key among real processes: made, refreshed, passed on to other holders, replaced by another.

One federation does all of it once, and the tests look at what was written down: see `course`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest

from ceremonies_held import QUICK, CeremonyFederation, Status, key_of, posted
from jointrisk.oprf import group
from jointrisk.oprf.group import Scalar
from needles import Needle, everything_under, found_in, secret_needles
from sealed_witness import SealedWitness

pytestmark = pytest.mark.federation

NAMES = ("ash", "birch", "cedar", "dill")


@dataclass(frozen=True)
class Step:
    """One ceremony of the course, when all had settled.

    Attributes:
        done: what the coordinator shows.
        listed: the generations that each node lists.
        shares: of the generation that was made, by index.
    """

    done: Status
    listed: dict[str, list[dict[str, Any]]]
    shares: dict[int, Scalar] = field(repr=False)

    @property
    def key(self) -> str:
        """The group key."""
        text: str = self.done["group_key"]
        return text

    @property
    def threshold(self) -> int:
        """How many shares it takes."""
        number: int = self.done["threshold"]
        return number


@dataclass(frozen=True)
class Course:
    """What is left of the whole life.

    Attributes:
        steps: start, refresh, resharing, rotation.
        places: every file and log right afterwards, while all daemons run.
        deleted: sealed bytes that were in a database once and are no more: the node, what it was, the bytes.
        secrets: everything that was under seal at any node at any time.
    """

    steps: tuple[Step, Step, Step, Step]
    places: dict[str, bytes] = field(repr=False)
    deleted: list[tuple[str, str, bytes]] = field(repr=False)
    secrets: set[bytes] = field(repr=False)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeremonyFederation]:
    """Four members, no key."""
    root = tmp_path_factory.mktemp("ceremony")
    with CeremonyFederation(root / "federation", founding_members=len(NAMES)) as made:
        made.populate(NAMES, QUICK)
        yield made


@pytest.fixture(scope="module")
def course(federation: CeremonyFederation) -> Course:
    """2 of 3; the same refreshed; moved to a member that held nothing from one that leaves; another key."""
    with SealedWitness(federation.nodes) as witness:
        steps = (
            step(federation, "start", "--threshold", 2, "--holders", "ash,birch,cedar"),
            step(federation, "refresh"),
            step(federation, "reshare", "--threshold", 2, "--holders", "birch,cedar,dill"),
            step(federation, "rotate", "--threshold", 3, "--holders", "ash,birch,dill"),
        )
    secrets = {secret for name in NAMES for secret in witness.secrets(name, federation.master_key(name))}
    return Course(steps, everything_of(federation), list(witness.deleted()), secrets)


def step(federation: CeremonyFederation, *words: object) -> Step:
    """Hold a ceremony."""
    done = federation.hold(*words)
    assert done["state"] == "done", done
    listed = federation.settled(done)
    indices = {name: index for index, name in enumerate(done["holders"], 1)}
    return Step(done, listed, {indices[name]: federation.held(name)[done["generation"]] for name in indices})


def everything_of(federation: CeremonyFederation) -> dict[str, bytes]:
    """Return every file of all state directories, and every log."""
    places: dict[str, bytes] = {}
    for daemon in federation.daemons:
        places |= everything_under(daemon.home)
        places[f"log of {daemon.name}"] = (daemon.home.parent / f"{daemon.name}.log").read_bytes()
    return places


# -- what a key's life comes to ----------------------------------------------------------------------------------------


def test_refresh_and_resharing_keep_the_key_and_rotation_makes_another(course: Course) -> None:
    """Generations count on; the epoch and the group key are the same until a rotation."""
    made = [step.done for step in course.steps]
    assert [one["kind"] for one in made] == ["generate", "refresh", "reshare", "generate"]
    assert [(one["epoch"], one["generation"]) for one in made] == [(1, 1), (1, 2), (1, 3), (2, 4)]
    first, second, third, fourth = (step.key for step in course.steps)
    assert first == second == third != fourth
    group.element(bytes.fromhex(first))
    group.element(bytes.fromhex(fourth))


def test_every_member_verifies_and_lists_the_same_generations(course: Course) -> None:
    """Also who took no part in a ceremony: number, epoch, threshold, holders and group key."""
    for number, step in enumerate(course.steps, 1):
        known = {name: [{**one, "ours": ""} for one in listed] for name, listed in step.listed.items()}
        assert all(known[name] == known["dill"] for name in NAMES)
        assert len(known["dill"]) == number
        newest = known["dill"][-1]
        assert {field: newest[field] for field in newest if field != "ours"} == {
            field: step.done[field] for field in ("generation", "epoch", "threshold", "holders", "group_key")
        }


def test_each_node_has_the_newest_share_of_an_epoch_and_no_older_one(course: Course) -> None:
    """The leaver's is deleted as well; a rotation leaves the epoch before as it is."""
    has, had, never = "holds a share", "its share is deleted", "holds none"
    assert {name: [one["ours"] for one in listed] for name, listed in course.steps[-1].listed.items()} == {
        "ash": [had, had, never, has],
        "birch": [had, had, has, has],
        "cedar": [had, had, has, never],
        "dill": [never, never, has, has],
    }


def test_any_threshold_of_shares_makes_the_group_key(course: Course) -> None:
    """Every choice of so many holders, in every generation; one share fewer makes another key."""
    for step in course.steps:
        for chosen in combinations(sorted(step.shares), step.threshold):
            assert key_of({index: step.shares[index] for index in chosen}).hex() == step.key
        for chosen in combinations(sorted(step.shares), step.threshold - 1):
            assert key_of({index: step.shares[index] for index in chosen}).hex() != step.key


def test_shares_of_two_generations_make_no_key(course: Course) -> None:
    """Whoever stole one share before a refresh or a resharing and one afterwards has nothing."""
    first, second, third, _ = course.steps
    tried = 0
    for old, new in ((first, second), (second, third), (first, third)):
        for before, after in ((a, b) for a in old.shares for b in new.shares if a != b):
            assert key_of({before: old.shares[before], after: new.shares[after]}).hex() != first.key
            tried += 1
    assert tried == 3 * 6


def test_a_holder_that_leaves_deals_and_gets_nothing(course: Course) -> None:
    """It posts no keys to seal shares to and confirms nothing."""
    assert posted(course.steps[2].done) == {
        "birch": ["keys", "deal", "echo", "confirm"],
        "cedar": ["keys", "echo", "confirm"],
        "dill": ["keys", "echo", "confirm"],
        "ash": ["deal", "echo"],
    }


# -- what is left behind -----------------------------------------------------------------------------------------------


def test_what_is_deleted_is_in_no_file(course: Course) -> None:
    """Replaced shares and the states of parties, sealed as they were: database, write-ahead log, everything."""
    shares = {(name, what) for name, what, _ in course.deleted if what.startswith("key-share/")}
    assert shares == {(name, f"key-share/{number}") for name in ("ash", "birch", "cedar") for number in (1, 2)}
    assert len({(name, what) for name, what, _ in course.deleted if what.startswith("ceremony/")}) >= len(NAMES)
    needles = [Needle(f"{what} of {name}", sealed[13:]) for name, what, sealed in course.deleted]
    assert found_in(course.places, needles) == []


def test_no_secret_of_a_ceremony_is_anywhere_in_the_clear(course: Course) -> None:
    """Shares, polynomials and recipient keys: in no file and no log of nodes and coordinator, in no spelling."""
    shares = {share for step in course.steps for share in step.shares.values()}
    assert shares <= course.secrets
    assert len(course.secrets) > 2 * len(shares), "the parties' secrets were seen, too"
    needles = [needle for secret in course.secrets for needle in secret_needles("a secret", secret)]
    assert found_in(course.places, needles) == []
