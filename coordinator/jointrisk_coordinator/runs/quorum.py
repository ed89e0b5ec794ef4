"""When to stop waiting for members: one rule for offers and for rounds, pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum

Monotonic = Callable[[], float]
"""Seconds on a clock that never goes back."""


class Verdict(Enum):
    """What to do now."""

    GO = "go"
    """Everybody has answered who will, and that is enough."""
    MISSED = "missed"
    """The quorum is not there and will not be."""
    WAIT = "wait"


@dataclass(frozen=True)
class Rules:
    """How long to wait for whom.

    Attributes:
        quorum: how many good answers are enough.
        deadline: seconds from the beginning after which nobody is waited for.
        grace: seconds that a member without a stream is waited for while the quorum is there without it.
        hear_all: wait for what connected members say even when the quorum is out of reach.
    """

    quorum: int
    deadline: float
    grace: float
    hear_all: bool = False


@dataclass(frozen=True)
class Decision:
    """A verdict, and for WAIT the moment by which to look again even if nothing happens."""

    verdict: Verdict
    until: float


def decide(
    rules: Rules, *, good: int, pending: Collection[str], away_since: Mapping[str, float], began: float, now: float
) -> Decision:
    """Return whether to go on waiting.

    Args:
        rules: the rules.
        good: members whose answer can be used.
        pending: members that have neither answered nor failed.
        away_since: of members without a stream, since when, on the clock of ``now``.
        began: when they were asked.
        now: the present moment, seconds.
    """
    end = began + rules.deadline
    enough = good >= rules.quorum
    at_work = any(member not in away_since for member in pending)
    hopeless = good + len(pending) < rules.quorum and not (rules.hear_all and at_work)
    if not pending or now >= end or hopeless:
        return Decision(Verdict.GO if enough else Verdict.MISSED, now)
    if not enough or at_work:
        return Decision(Verdict.WAIT, end)
    given_up = max(away_since[member] for member in pending) + rules.grace
    return Decision(Verdict.GO, now) if now >= given_up else Decision(Verdict.WAIT, min(end, given_up))
