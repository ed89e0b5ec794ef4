"""The default model: encoded by federated counts, trained in rounds, judged by summed histograms.

Before the first round members count (two queries), and the encoding follows from the totals; it goes with every
message. Rounds are those of :mod:`jointrisk.learning.tasks.stages`. Evaluation returns sums over the held-out part.
Nothing else of a row leaves a lender; what it answers is in :mod:`jointrisk.learning.tasks.lender`.
"""

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from jointrisk.errors import InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import blend, preparation, validation
from jointrisk.learning.aggregation import Form, Ranges
from jointrisk.learning.architectures import load_architecture, trees
from jointrisk.learning.flower import ArrayRecord, ClientApp
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.scoring import PICKED
from jointrisk.learning.tasks import Assignment, Done, Growth, Model, Query, Stage, Task, Totals, stages
from jointrisk.learning.tasks.lender import WEIGH, client_app
from jointrisk.learning.tasks.records import arrays_of, named, record
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.learning.trees.lending import Terms
from jointrisk.learning.trees.tree import Arrays

_TRAIN_METRICS: Ranges = MappingProxyType({"train_loss": (0.0, 100.0)})


class DefaultModel:
    """See the module."""

    best_metric: str | None = "log_loss"
    evaluation: Form | None = validation.FORM
    train_metrics: Ranges = _TRAIN_METRICS
    evaluate_metrics: Ranges = MappingProxyType({})

    def preparation(
        self, settings: DefaultModelSettings, contract: FeatureContract | None
    ) -> Generator[Query, Totals, bytes]:
        """Ask for coarse counts, then for fine ones; return the encoding and the common bad rate."""
        contract = _present(contract)
        coarse = yield Query("query.coarse", preparation.coarse_form(contract))
        intervals = preparation.intervals_of(coarse, settings.minimum_count)
        sent = {f"{place:04d}": ends for place, ends in enumerate(intervals)}
        fine = yield Query("query.fine", preparation.fine_form(contract), sent)
        made = preparation.prepare(contract, coarse, fine, bins=settings.bins, minimum=settings.minimum_count)
        return made.payload()

    def stage(self, settings: DefaultModelSettings, rounds: int, patience: int, done: Done) -> Stage | None:
        """Return what comes next: trials of the offset, parts, weights, the parts on all rows."""
        return stages.following(settings, rounds, patience, done)

    def initial_arrays(
        self,
        settings: DefaultModelSettings,
        contract: FeatureContract | None,
        run_seed: int,
        prepared: bytes,
        stage: str,
        done: Done,
    ) -> ArrayRecord:
        """Return fresh networks' weights, a forest without trees, or the parts that are going to be weighed."""
        if stage == stages.WEIGHTS:
            even = np.full(len(settings.parts), 1 / len(settings.parts))
            parts = {part: arrays_of(done[part].arrays) for part in settings.parts}
            return record({**_joined(parts), stages.WEIGHTS: even})
        if stages.architecture_of(stage) == "trees":
            return record(trees.initial_arrays(_terms(settings, contract, run_seed, prepared, stage)))
        plan = load_architecture(stages.architecture_of(stage)).plan(settings)
        width = Prepared.from_payload(prepared).encoding.width
        return record(plan.initial_arrays(width, stages.seed_of(settings, stage, run_seed)))

    def growth(
        self,
        settings: DefaultModelSettings,
        contract: FeatureContract | None,
        run_seed: int,
        prepared: bytes,
        stage: str,
        arrays: ArrayRecord,
    ) -> Growth | None:
        """Return how one more tree is grown, or weights are found; None for networks, of which a round is a mean."""
        if stage == stages.WEIGHTS:
            return _weighed(len(settings.parts), arrays)
        if stages.architecture_of(stage) != "trees":
            return None
        return _grown(_terms(settings, contract, run_seed, prepared, stage), arrays)

    def metrics(self, sums: Totals) -> dict[str, float]:
        """Return AUC, KS, Gini, log-loss, Brier score and calibration error."""
        return validation.metrics_of(sums)

    def model(self, settings: DefaultModelSettings, prepared: bytes, done: Done) -> Model:
        """Return the parts' arrays as they are scored with and as validation picked them, and what they are."""
        judged, known = stages.judged(settings, done), Prepared.from_payload(prepared)
        arrays = dict(_arrays(settings, stages.final(settings, done)))
        if settings.refit:
            arrays |= named(PICKED.removesuffix("/"), _arrays(settings, stages.picked(settings, done)))
        return Model(
            encoding=known.encoding.model_dump(mode="json"),
            architecture=settings.architecture,
            settings={**_described(settings, known, done), "held_out": settings.held_out},
            arrays=record(arrays),
            metrics=judged.metrics,
            round=judged.number,
        )

    def client_app(self, assignment: Assignment) -> ClientApp:
        """Return the member's app."""
        return client_app(assignment)


def _terms(
    settings: DefaultModelSettings, contract: FeatureContract | None, run_seed: int, prepared: bytes, stage: str
) -> Terms:
    counted = Prepared.from_payload(prepared)
    counted = counted.with_all_rows() if stages.uses_all_rows(stage) else counted
    return trees.terms_of(settings, _present(contract), counted, run_seed=run_seed)


def _grown(terms: Terms, arrays: ArrayRecord) -> Growth:
    return record((yield from trees.grow(terms, arrays_of(arrays))))


def _weighed(parts: int, arrays: ArrayRecord) -> Growth:
    """Find the weights; where members have left, they stay even."""
    sent = arrays_of(arrays)
    sums = yield Query(f"train.{WEIGH}", blend.form(parts), sent)
    if sums is None:
        return arrays
    return record({**sent, stages.WEIGHTS: np.array(blend.choose(sums, parts).weights)})


def _arrays(settings: DefaultModelSettings, parts: Mapping[str, ArrayRecord]) -> Arrays:
    """Return parts' arrays as a bundle has them: those of a blend under their parts' names."""
    each = {part: arrays_of(one) for part, one in parts.items()}
    return _joined(each) if settings.architecture == "blend" else each[settings.architecture]


def _joined(parts: Mapping[str, Arrays]) -> Arrays:
    return {name: value for part, arrays in parts.items() for name, value in named(part, arrays).items()}


def _described(settings: DefaultModelSettings, prepared: Prepared, done: Done) -> dict[str, Any]:
    """Return what is said of an architecture to whoever scores with it."""
    if settings.architecture != "blend":
        return _part(settings, prepared, settings.architecture)
    return {
        "parts": [
            {"name": part, "architecture": part, "weight": weight, "settings": _part(settings, prepared, part)}
            for part, weight in stages.weights(settings, done).items()
        ]
    }


def _part(settings: DefaultModelSettings, prepared: Prepared, part: str) -> dict[str, Any]:
    """Return what is said of one model; of networks also the mean input, which contributions are told against."""
    if part == "trees":
        return settings.trees.model_dump()
    means = {"means": list(prepared.means)} if prepared.means else {}
    return load_architecture(part).plan(settings).facts() | means


def _present(contract: FeatureContract | None) -> FeatureContract:
    if contract is None:
        raise InvalidInputError("the default model needs a feature contract")
    return contract


def make() -> Task:
    """Return the task."""
    return DefaultModel()
