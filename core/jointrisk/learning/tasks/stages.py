"""The stages of the default model: decide, pick, weigh, then once more on all rows.

1. With ``label_shift = "validated"``: a few rounds of a scorecard with the offset and without it; the held-out rows
   decide.
2. Each part (the architecture, or a blend's) is trained without the held-out rows, which pick its best round.
3. Of a blend: the weights of its parts, by the held-out rows.
4. With ``refit``: each part once more, as many rounds as were picked, on all rows.

Everything follows from the settings and from what the stages before came to.
"""

import hashlib
import math
from typing import Final

from jointrisk.learning.flower import ArrayRecord, values
from jointrisk.learning.tasks import Done, Finished, Stage
from jointrisk.learning.tasks.settings import DefaultModelSettings, usual

WEIGHTS: Final = "weights"
"""The stage of a blend's weights, and the array that holds them."""

SHIFT: Final = "label-shift"
"""What goes with a message of networks: 1 where members train against their bad rate's distance from the common one."""

_TRIALS: Final = {"trial.off": 0, "trial.on": 1}
_TRIAL_ROUNDS: Final = 6
_AGAIN: Final = ".all"


def names(settings: DefaultModelSettings) -> tuple[str, ...]:
    """Return the stages that there can be, in their order."""
    weighing = (WEIGHTS,) if settings.architecture == "blend" else ()
    again = tuple(part + _AGAIN for part in settings.parts) if settings.refit else ()
    return (*(_TRIALS if _tries(settings) else ()), *settings.parts, *weighing, *again)


def following(settings: DefaultModelSettings, rounds: int, patience: int, done: Done) -> Stage | None:
    """Return the stage after those that have ended; None when there is none.

    Args:
        settings: the task's.
        rounds: the most of a stage.
        patience: the most rounds without a better one.
        done: what has ended.
    """
    last = next(reversed(tuple(done)), None)
    left = names(settings) if last is None else names(settings)[names(settings).index(last) + 1 :]
    return next((stage for name in left if (stage := _stage(settings, name, rounds, patience, done)).rounds), None)


def architecture_of(stage: str) -> str:
    """Return what a stage trains: a part's architecture, "scorecard" in trials, or "weights"."""
    return "scorecard" if stage in _TRIALS else stage.removesuffix(_AGAIN)


def uses_all_rows(stage: str) -> bool:
    """Tell whether a stage trains on the held-out rows too."""
    return stage.endswith(_AGAIN)


def seed_of(settings: DefaultModelSettings, stage: str, run_seed: int) -> int:
    """Return what the first weights of a stage's networks derive from: no two stages of a run begin alike.

    A member answers what it was asked about arrays for one set of members. If a stage began with the arrays of an
    earlier one, nobody could have left in between.
    """
    if stage in settings.parts:
        return run_seed
    return int.from_bytes(hashlib.sha256(f"{run_seed}/{stage}".encode()).digest()[:8], "big") >> 1


def picked(settings: DefaultModelSettings, done: Done) -> dict[str, ArrayRecord]:
    """Return each part's arrays as the held-out rows picked them, which were not fitted to these rows."""
    return {part: done[part].arrays for part in _kept(settings, done)}


def final(settings: DefaultModelSettings, done: Done) -> dict[str, ArrayRecord]:
    """Return each part's arrays as they are scored with: fitted to all rows, where the settings say so."""
    kept = _kept(settings, done)
    return {part: done[part + _AGAIN if part + _AGAIN in done else part].arrays for part in kept}


def judged(settings: DefaultModelSettings, done: Done) -> Finished:
    """Return the stage whose metrics are the model's: those of the held-out rows before anything was fitted to them."""
    return done[WEIGHTS if settings.architecture == "blend" else settings.architecture]


def weights(settings: DefaultModelSettings, done: Done) -> dict[str, float]:
    """Return how much each part counts; those that count nothing are left out."""
    if WEIGHTS not in done:
        return dict.fromkeys(settings.parts, 1.0)
    found = values(done[WEIGHTS].arrays[WEIGHTS]).tolist()
    return {part: weight for part, weight in zip(settings.parts, found, strict=True) if weight}


def _kept(settings: DefaultModelSettings, done: Done) -> tuple[str, ...]:
    return tuple(weights(settings, done))


def _stage(settings: DefaultModelSettings, name: str, rounds: int, patience: int, done: Done) -> Stage:
    if name in _TRIALS:
        most = min(rounds, _TRIAL_ROUNDS)
        return Stage(name, most, planned=most, config={SHIFT: _TRIALS[name]})
    if name == WEIGHTS:
        return Stage(name, 1)
    part = architecture_of(name)
    planned, patience = _most(settings, part, rounds, patience)
    config = {SHIFT: _shifts(settings, part, done)}
    if not uses_all_rows(name):
        return Stage(name, planned, patience, planned, many=part == "trees", config=config)
    again = done[part].rounds if part in _kept(settings, done) else 0
    return Stage(name, again, planned=planned, evaluated=False, config=config)


def _most(settings: DefaultModelSettings, part: str, rounds: int, patience: int) -> tuple[int, int]:
    """Return a part's rounds and patience: the run's, and in a blend no more than the part usually takes."""
    if settings.architecture != "blend":
        return rounds, patience
    most, patient = usual(part)
    return min(rounds, most), min(patience, patient)


def _tries(settings: DefaultModelSettings) -> bool:
    return settings.label_shift == "validated" and any(part != "trees" for part in settings.parts)


def _shifts(settings: DefaultModelSettings, part: str, done: Done) -> int:
    """Return 1 where members train against the offset. Trees are those of the pooled rows: they have no need of it."""
    if settings.label_shift != "validated" or part == "trees":
        return int(settings.label_shift == "on")
    off, on = (done[trial].metrics.get("log_loss", math.inf) if trial in done else math.inf for trial in _TRIALS)
    return int(on < off)
