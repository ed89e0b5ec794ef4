"""The default model: encoded by federated counts, trained in rounds, judged by summed histograms.

Before the first round members count (two queries), and the encoding follows from the totals; it goes with every
message. Evaluation returns sums over the held-out part. Nothing else of a row leaves a lender.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from jointrisk.errors import DataBreachError, InvalidInputError, RefusedError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import preparation, validation
from jointrisk.learning.aggregation import WEIGHT, Form, Ranges
from jointrisk.learning.architectures import fitting, load_architecture, trees
from jointrisk.learning.flower import (
    ArrayRecord,
    ClientApp,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.tasks import Assignment, Growth, MemberData, Model, Query, Task, Totals
from jointrisk.learning.tasks.records import arrays_of, bytes_of, record, reply, whole_number
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.learning.trees.lending import Terms

_MOMENTS = "adamw"
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

    def initial_arrays(
        self, settings: DefaultModelSettings, contract: FeatureContract | None, run_seed: int, prepared: bytes
    ) -> ArrayRecord:
        """Return fresh networks' weights, or a forest without trees."""
        if settings.architecture == "trees":
            terms = trees.terms_of(settings, _present(contract), _prepared(prepared), run_seed=run_seed)
            return record(trees.initial_arrays(terms))
        plan = load_architecture(settings.architecture).plan(settings)
        return record(plan.initial_arrays(_prepared(prepared).encoding.width, run_seed))

    def growth(
        self,
        settings: DefaultModelSettings,
        contract: FeatureContract | None,
        run_seed: int,
        prepared: bytes,
        arrays: ArrayRecord,
    ) -> Growth | None:
        """Return how one more tree is grown; None for networks, of which a round is a mean."""
        if settings.architecture != "trees":
            return None
        terms = trees.terms_of(settings, _present(contract), _prepared(prepared), run_seed=run_seed)
        return _grown(terms, arrays)

    def metrics(self, sums: Totals) -> dict[str, float]:
        """Return AUC, KS, Gini, log-loss, Brier score and calibration error."""
        return validation.metrics_of(sums)

    def model(self, settings: DefaultModelSettings, prepared: bytes) -> Model:
        """Return encoding and architecture."""
        known = _prepared(prepared)
        said = _architecture(settings) | _means(settings, known)
        return Model(known.encoding.model_dump(mode="json"), settings.architecture, said)

    def client_app(self, assignment: Assignment) -> ClientApp:
        """Return the member's app."""
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        lender = _Lender.of(assignment)
        app = ClientApp()
        app.query("coarse")(lender.count_coarsely)
        app.query("fine")(lender.count_finely)
        if lender.settings.architecture == "trees":
            _serve_trees(app, _TreeLender(lender))
        else:
            app.train()(lender.train)
            app.evaluate()(lender.evaluate)
        return app


@dataclass(frozen=True)
class _Lender:
    """One member's part: its rows, in two parts, and what it was asked."""

    settings: DefaultModelSettings
    run_seed: int
    number: int
    contract: FeatureContract
    training: MemberData
    held_out: MemberData
    rounds: int

    @classmethod
    def of(cls, assignment: Assignment) -> "_Lender":
        """Split the rows.

        Raises:
            DataBreachError: there are too few rows to split.
        """
        settings, data = assignment.settings, assignment.data
        if not isinstance(settings, DefaultModelSettings) or data is None:
            raise InvalidInputError("the default model needs its settings and rows")
        out = validation.held_out(len(data.labels), settings.held_out)
        if not out.any() or out.all():
            raise DataBreachError(f"rows: expected enough to hold some out, got {len(out)}")
        training, kept = (MemberData(data.features[part], data.labels[part]) for part in (~out, out))
        contract, number = _present(assignment.contract), assignment.number
        return cls(settings, assignment.run_seed, number, contract, training, kept, assignment.rounds)

    def count_coarsely(self, message: Message, context: Context) -> Message:
        """Count on the grid that everybody knows."""
        del context
        counts = preparation.coarse_counts(self.contract, self.training.features, self.training.labels)
        return reply(message, counts, len(self.training.labels))

    def count_finely(self, message: Message, context: Context) -> Message:
        """Count inside the intervals that were sent."""
        del context
        sent = arrays_of(message.content.array_records["arrays"])
        intervals = [np.asarray(sent[name], dtype=np.float64) for name in sorted(sent)]
        counts = preparation.fine_counts(self.contract, self.training.features, intervals)
        return reply(message, counts, len(self.training.labels))

    def train(self, message: Message, context: Context) -> Message:
        """Train on the lender's rows, from the round's arrays and the lender's own moments."""
        config = message.content.config_records["config"]
        prepared = _prepared(bytes_of(config, "prepared"))
        ensemble = self._ensemble(message, prepared)
        number = whole_number(config, "server-round")
        turn = fitting.Turn(
            number=number,
            rounds=whole_number(config, "rounds"),
            seed=(self.run_seed, number, self.number),
            proximal=float(config.get("proximal-mu", 0.0)),  # type: ignore[arg-type]
        )
        moments = arrays_of(context.state.array_records.get(_MOMENTS, ArrayRecord()))
        part = fitting.Part(prepared.encoding, self.training.features, self.training.labels)
        loss, moments = fitting.train(ensemble, part, self._recipe(prepared), turn, moments)
        context.state[_MOMENTS] = record(moments)
        metrics = MetricRecord({WEIGHT: len(part), "train_loss": loss})
        return Message(RecordDict({"arrays": record(ensemble.arrays()), "metrics": metrics}), reply_to=message)

    def evaluate(self, message: Message, context: Context) -> Message:
        """Return sums over the held-out rows."""
        del context
        prepared = _prepared(bytes_of(message.content.config_records["config"], "prepared"))
        part = fitting.Part(prepared.encoding, self.held_out.features, self.held_out.labels)
        sums = validation.sums_of(fitting.log_odds(self._ensemble(message, prepared), part), part.labels)
        return reply(message, sums, len(part))

    def _ensemble(self, message: Message, prepared: Prepared) -> fitting.Ensemble:
        plan = load_architecture(self.settings.architecture).plan(self.settings)
        return plan.ensemble(prepared.encoding, arrays_of(message.content.array_records["arrays"]))

    def _recipe(self, prepared: Prepared) -> fitting.Recipe:
        settings, usual = self.settings, load_architecture(self.settings.architecture)
        return fitting.Recipe(
            learning_rate=settings.learning_rate or usual.learning_rate,
            weight_decay=settings.weight_decay or usual.weight_decay,
            warm_up=settings.warm_up,
            steps=settings.steps or usual.steps,
            epochs=settings.local_epochs,
            offset=self.offset(prepared),
        )

    def offset(self, prepared: Prepared) -> float:
        """Return how far the lender's log odds are from the common ones, where members train against that."""
        bads = int(self.training.labels.sum())
        own = _log_odds(len(self.training.labels) - bads, bads)
        return own - _log_odds(prepared.goods, prepared.bads) if self.settings.label_shift else 0.0


class _TreeLender:
    """A lender's part where trees are grown. What it knows of rows and trees it makes of the first message."""

    def __init__(self, lender: _Lender) -> None:
        self._lender = lender
        self._begun: tuple[bytes, trees.TreeMember] | None = None

    def level(self, kind: str) -> Callable[[Message, Context], Message]:
        """Return what answers for a level."""

        def answer(message: Message, context: Context) -> Message:
            del context
            arrays = arrays_of(message.content.array_records["arrays"])
            return reply(message, self._member(message).level(kind, arrays), len(self._lender.training.labels))

        return answer

    def evaluate(self, message: Message, context: Context) -> Message:
        """Return sums over the held-out rows."""
        del context
        arrays, labels = arrays_of(message.content.array_records["arrays"]), self._lender.held_out.labels
        log_odds = self._member(message).held_out_log_odds(arrays)
        return reply(message, validation.sums_of(log_odds, labels), len(labels))

    def _member(self, message: Message) -> trees.TreeMember:
        payload = bytes_of(message.content.config_records["config"], "prepared")
        if self._begun is None:
            self._begun = payload, self._begin(_prepared(payload))
        if self._begun[0] != payload:
            raise RefusedError("expected the counts that the run began with, got others")
        return self._begun[1]

    def _begin(self, prepared: Prepared) -> trees.TreeMember:
        lender = self._lender
        terms = trees.terms_of(
            lender.settings, lender.contract, prepared, run_seed=lender.run_seed, rounds=lender.rounds
        )
        return trees.TreeMember(terms, lender.training, lender.held_out, lender.offset(prepared))


def _serve_trees(app: ClientApp, lender: _TreeLender) -> None:
    for kind in trees.KINDS:
        app.train(kind)(lender.level(kind))
    app.evaluate()(lender.evaluate)


def _grown(terms: Terms, arrays: ArrayRecord) -> Growth:
    return record((yield from trees.grow(terms, arrays_of(arrays))))


def _architecture(settings: DefaultModelSettings) -> dict[str, Any]:
    """Return what is said of an architecture to whoever scores with it."""
    if settings.architecture == "trees":
        return settings.trees.model_dump()
    return load_architecture(settings.architecture).plan(settings).facts()


def _means(settings: DefaultModelSettings, prepared: Prepared) -> dict[str, Any]:
    """Return the mean input, which networks' contributions are told against; trees have their own expectation."""
    return {"means": list(prepared.means)} if prepared.means and settings.architecture != "trees" else {}


def _log_odds(goods: int, bads: int) -> float:
    """Return the log odds of being bad, half a row added to both sides so that none of them is empty."""
    return float(np.log((bads + 0.5) / (goods + 0.5)))


@lru_cache(maxsize=2)
def _prepared(payload: bytes) -> Prepared:
    """Return what was prepared; it comes with every message and stays the same."""
    return Prepared.from_payload(payload)


def _present(contract: FeatureContract | None) -> FeatureContract:
    if contract is None:
        raise InvalidInputError("the default model needs a feature contract")
    return contract


def make() -> Task:
    """Return the task."""
    return DefaultModel()
