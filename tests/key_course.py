"""The whole life of a key in one federation, and what is left of it to look at."""

from dataclasses import dataclass, field
from typing import Any

from ceremonies_held import CeremonyFederation, Status
from jointrisk.oprf.group import Scalar
from needles import everything_under
from sealed_witness import SealedWitness

MEMBERS = ("ash", "birch", "cedar", "dill")


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


def live(federation: CeremonyFederation) -> Course:
    """Hold the ceremonies: 2 of 3; refreshed; one leaves and one that had nothing comes; another key.

    Args:
        federation: with four members and no key.
    """
    with SealedWitness(federation.nodes) as witness:
        steps = (
            step(federation, "start", "--threshold", 2, "--holders", "ash,birch,cedar"),
            step(federation, "refresh"),
            step(federation, "reshare", "--threshold", 2, "--holders", "birch,cedar,dill"),
            step(federation, "rotate", "--threshold", 3, "--holders", "ash,birch,dill"),
        )
    secrets = {secret for name in MEMBERS for secret in witness.secrets(name, federation.master_key(name))}
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
