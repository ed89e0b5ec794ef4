"""The stages of the default model: their order, what validation decides, and what is trained once more."""

from typing import Any

import numpy as np
import pytest

from jointrisk.errors import InvalidInputError
from jointrisk.learning.flower import ArrayRecord, pack
from jointrisk.learning.tasks import Done, Finished, Stage, stages, task_settings
from jointrisk.learning.tasks.settings import DefaultModelSettings


def settings(**changed: Any) -> DefaultModelSettings:
    """Return settings, changed."""
    return DefaultModelSettings.model_validate(changed)


def finished(loss: float, rounds: int = 3, **arrays: list[float]) -> Finished:
    """Return what a stage came to."""
    record = ArrayRecord({name: pack(np.array(value)) for name, value in arrays.items()})
    return Finished(rounds, rounds, {"log_loss": loss}, record)


def course(chosen: DefaultModelSettings, outcome: dict[str, Finished], rounds: int = 200) -> list[Stage]:
    """Return all stages, each of which comes to its outcome."""
    done: dict[str, Finished] = {}
    found = []
    while stage := stages.following(chosen, rounds, 30, done):
        found.append(stage)
        done[stage.name] = outcome.get(stage.name, finished(0.5))
    return found


BLEND: dict[str, Finished] = {
    "trial.off": finished(0.4),
    "trial.on": finished(0.3),
    "mlp": finished(0.3, rounds=7),
    "trees": finished(0.3, rounds=41),
    "weights": finished(0.2, weights=[0.25, 0.75]),
}


def test_a_blend_decides_picks_weighs_and_trains_once_more() -> None:
    """In this order; what is trained once more takes as many rounds as were picked, on the same schedule."""
    found = course(settings(architecture="blend"), BLEND)
    names = [stage.name for stage in found]
    assert names == ["trial.off", "trial.on", "mlp", "trees", "weights", "mlp.all", "trees.all"]
    assert [(stage.rounds, stage.planned) for stage in found[2:4]] == [(16, 16), (200, 200)]
    assert [(stage.rounds, stage.planned, stage.evaluated) for stage in found[5:]] == [
        (7, 16, False),
        (41, 200, False),
    ]


def test_one_architecture_takes_the_rounds_of_the_run() -> None:
    """More than usual too; without refit and trials it is one stage."""
    found = course(settings(architecture="mlp", refit=False, label_shift="off"), {}, rounds=40)
    assert found == [Stage("mlp", 40, 30, 40, config={"label-shift": 0})]


@pytest.mark.parametrize(("on", "shifts"), [(0.3, 1), (0.4, 0), (0.5, 0)])
def test_validation_decides_on_the_offset(on: float, shifts: int) -> None:
    """With it only where the held-out rows say that it is better; trees have no need of it."""
    found = course(settings(architecture="blend"), BLEND | {"trial.on": finished(on)})
    assert [stage.config["label-shift"] for stage in found if stage.name == "mlp"] == [shifts]
    assert [stage.config["label-shift"] for stage in found if stage.name.startswith("trees")] == [0, 0]
    assert [stage.config["label-shift"] for stage in found[:2]] == [0, 1]


def test_trees_alone_try_no_offset() -> None:
    """They compute what trees of the pooled rows are."""
    assert [stage.name for stage in course(settings(architecture="trees"), {})] == ["trees", "trees.all"]


def test_a_part_that_counts_nothing_is_left_out() -> None:
    """It is not trained once more, and not in the model."""
    done: Done = BLEND | {"weights": finished(0.2, weights=[0.0, 1.0]), "trees.all": finished(0.1, ends=[1.0])}
    chosen = settings(architecture="blend")
    assert [stage.name for stage in course(chosen, dict(done))][5:] == ["trees.all"]
    assert stages.weights(chosen, done) == {"trees": 1.0}
    assert set(stages.final(chosen, done)["trees"]) == {"ends"}
    assert set(stages.picked(chosen, done)["trees"]) == set()


def test_a_blend_names_each_part_once() -> None:
    """Two of one kind would be one with another weight."""
    with pytest.raises(InvalidInputError, match="each part once"):
        task_settings("default_model", {"architecture": "blend", "blend": ["mlp", "mlp"]})
