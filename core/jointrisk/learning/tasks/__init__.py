"""What can be learnt: each task has a name, settings, and a module that both sides run.

The names and settings are light; the modules import torch or Flower and are imported by worker processes only.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from jointrisk.learning.strategy_settings import checked
from jointrisk.learning.tasks.settings import DefaultModelSettings, ProbeSettings
from jointrisk.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from jointrisk.federation.contract import FeatureContract
    from jointrisk.learning.aggregation import Bounds, Form, Ranges
    from jointrisk.learning.flower import ArrayRecord, ClientApp

Totals = Mapping[str, "NDArray[np.generic]"]
"""Summed arrays by name."""

_MODELS: dict[str, type[Settings]] = {"default_model": DefaultModelSettings, "probe": ProbeSettings}
_NEED_CONTRACT = frozenset({"default_model"})


@dataclass(frozen=True)
class MemberData:
    """A member's rows under a contract, as the client app sees them.

    Attributes:
        features: float32 [rows, features], NaN where missing, in the contract's order; categories as their codes, words
            of open vocabularies as buckets (:mod:`jointrisk.learning.encoding`).
        labels: uint8 [rows], 1 for bad.
    """

    features: "NDArray[np.float32]"
    labels: "NDArray[np.uint8]"


@dataclass(frozen=True)
class Assignment:
    """What a member has accepted to do.

    Attributes:
        settings: the task's settings.
        run_seed: the run's.
        number: the member's number in the run, from 1.
        contract: the feature contract, where the task needs one.
        data: the member's rows, where the task needs a contract.
        rounds: how many are planned.
    """

    settings: Settings
    run_seed: int
    number: int
    contract: "FeatureContract | None" = None
    data: MemberData | None = None
    rounds: int = 1


@dataclass(frozen=True)
class Query:
    """One sum: a message to every member, and the form of the replies, which are summed.

    Attributes:
        kind: the message's kind, such as "query.coarse" or "train.level_2".
        form: names, shapes and types of a reply's arrays.
        arrays: what is sent.
        most: the greatest number that one member may have in arrays that do not count rows.
    """

    kind: str
    form: "Form"
    arrays: Totals = field(default_factory=dict)
    most: "Bounds" = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """Rounds that go on from each other; a run has one stage or several, one after the other.

    Attributes:
        name: unique in the run; goes with every message.
        rounds: the most there are.
        patience: rounds without a better one after which it ends; 0: never.
        planned: how many rounds learning rates are planned for.
        evaluated: whether members evaluate its rounds.
        many: whether it has so many small rounds that one without an evaluation does no harm: then members are asked
            for all parts of the sum or none, which takes a secure sum one exchange in place of five.
        config: what else goes with every message.
    """

    name: str
    rounds: int
    patience: int = 0
    planned: int = 0
    evaluated: bool = True
    many: bool = False
    config: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """What a stage came to: its best round.

    Attributes:
        rounds: which of the stage's rounds that is, from 1.
        number: the same among all rounds of the run.
        metrics: of that round.
        arrays: after that round.
    """

    rounds: int
    number: int
    metrics: Mapping[str, float]
    arrays: "ArrayRecord"


Done = Mapping[str, Finished]
"""The stages that have ended, by name, in their order."""


@dataclass(frozen=True)
class Model:
    """What a run made, and what somebody who scores with it has to know.

    Attributes:
        encoding: how rows become inputs, as plain JSON data.
        architecture: the name of what the arrays are.
        settings: the architecture's, as plain JSON data.
        arrays: by name.
        metrics: what validation says of it.
        round: the run's round that they are of.
    """

    encoding: dict[str, Any]
    architecture: str
    settings: dict[str, Any]
    arrays: "ArrayRecord"
    metrics: Mapping[str, float]
    round: int


Growth = Generator[Query, Totals | None, "ArrayRecord"]
"""A round that is made of several sums: yields queries of kinds "train.ACTION", is sent their totals, returns the
round's arrays. It is sent None when members have left: then it returns what the sums so far give. Same totals, same
queries and arrays."""


class Task(Protocol):
    """What a task's module offers. At the coordinator everything but the app; at a member the app."""

    best_metric: str | None
    """The metric of evaluation whose smallest value marks the best round; None when there is none."""

    evaluation: "Form | None"
    """The form of a member's sums in evaluation, for :meth:`metrics`; None where members' metrics are averaged."""

    train_metrics: "Ranges"
    """The metrics of training that a secure sum averages, each with the range that it is clipped to."""

    evaluate_metrics: "Ranges"
    """The same of evaluation, where it returns metrics."""

    def preparation(self, settings: Any, contract: "FeatureContract | None") -> Generator[Query, Totals, bytes]:
        """Ask what has to be known before the first round: yield queries, be sent their totals, return the outcome.

        The outcome goes with every message of every round, under "prepared". Same totals, same queries and outcome.
        """

    def stage(self, settings: Any, rounds: int, patience: int, done: Done) -> Stage | None:
        """Return what comes after the stages that have ended; None at the end of the run.

        Args:
            settings: the task's.
            rounds: the most that a stage may have, by the run's settings.
            patience: the same of rounds without a better one.
            done: what has ended.
        """

    def initial_arrays(
        self, settings: Any, contract: "FeatureContract | None", run_seed: int, prepared: bytes, stage: str, done: Done
    ) -> "ArrayRecord":
        """Return what a stage's first round starts from; the same for the same arguments."""

    def growth(
        self,
        settings: Any,
        contract: "FeatureContract | None",
        run_seed: int,
        prepared: bytes,
        stage: str,
        arrays: "ArrayRecord",
    ) -> "Growth | None":
        """Return how a round makes its arrays of those before; None where it is the mean of what members train."""

    def metrics(self, sums: Totals) -> dict[str, float]:
        """Return what the members' summed evaluations say."""

    def model(self, settings: Any, prepared: bytes, done: Done) -> Model | None:
        """Return what a run whose stages have ended made; None for a task that makes no model."""

    def client_app(self, assignment: Assignment) -> "ClientApp":
        """Return the app that does a member's part."""


def task_settings(name: str, values: dict[str, Any]) -> Settings:
    """Return a task's settings, checked.

    Raises:
        InvalidInputError: there is no such task, or it has no such setting.
    """
    return checked("task", _MODELS, name, values)


def needs_contract(name: str) -> bool:
    """Tell whether a task works on rows under a feature contract."""
    return name in _NEED_CONTRACT


def load_task(name: str) -> Task:
    """Import a task's module. For worker processes.

    Raises:
        InvalidInputError: there is no such task.
    """
    checked("task", _MODELS, name, {})
    module = import_module(f"jointrisk.learning.tasks.{name}")
    make: Callable[[], Task] = module.make
    return make()
