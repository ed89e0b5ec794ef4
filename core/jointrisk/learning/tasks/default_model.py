"""The default model: encoded by federated counts, trained in rounds, judged by summed histograms.

Before the first round members count (two queries), and the encoding follows from the totals; it goes with every
message. Evaluation returns sums over the held-out part. Nothing else of a row leaves a lender.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from jointrisk.errors import DataBreachError, InvalidInputError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import preparation, validation
from jointrisk.learning.aggregation import WEIGHT, Form, Ranges
from jointrisk.learning.architectures import fitting, load_architecture
from jointrisk.learning.architectures.ensemble import Ensemble
from jointrisk.learning.flower import (
    ArrayRecord,
    ClientApp,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
    pack,
    values,
)
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.tasks import Assignment, Model, Query, Task, Totals
from jointrisk.learning.tasks.settings import DefaultModelSettings

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
        """Return fresh networks' weights."""
        del contract
        plan = load_architecture(settings.architecture).plan(settings)
        return _record(plan.initial_arrays(_prepared(prepared).encoding.width, run_seed))

    def metrics(self, sums: Totals) -> dict[str, float]:
        """Return AUC, KS, Gini, log-loss, Brier score and calibration error."""
        return validation.metrics_of(sums)

    def model(self, settings: DefaultModelSettings, prepared: bytes) -> Model:
        """Return encoding and architecture."""
        plan = load_architecture(settings.architecture).plan(settings)
        layers = {"networks": plan.networks, "hidden": list(plan.hidden), "average": "log odds"}
        return Model(_prepared(prepared).encoding.model_dump(mode="json"), settings.architecture, layers)

    def client_app(self, assignment: Assignment) -> ClientApp:
        """Return the member's app."""
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        lender = _Lender.of(assignment)
        app = ClientApp()
        app.query("coarse")(lender.count_coarsely)
        app.query("fine")(lender.count_finely)
        app.train()(lender.train)
        app.evaluate()(lender.evaluate)
        return app


@dataclass(frozen=True)
class _Rows:
    features: NDArray[np.float32]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class _Lender:
    """One member's part: its rows, in two parts, and what it was asked."""

    settings: DefaultModelSettings
    run_seed: int
    number: int
    contract: FeatureContract
    training: _Rows
    held_out: _Rows

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
        parts = [_Rows(data.features[part], data.labels[part]) for part in (~out, out)]
        return cls(settings, assignment.run_seed, assignment.number, _present(assignment.contract), *parts)

    def count_coarsely(self, message: Message, context: Context) -> Message:
        """Count on the grid that everybody knows."""
        del context
        counts = preparation.coarse_counts(self.contract, self.training.features, self.training.labels)
        return _reply(message, counts, len(self.training.labels))

    def count_finely(self, message: Message, context: Context) -> Message:
        """Count inside the intervals that were sent."""
        del context
        sent = _values(message.content.array_records["arrays"])
        intervals = [np.asarray(sent[name], dtype=np.float64) for name in sorted(sent)]
        counts = preparation.fine_counts(self.contract, self.training.features, intervals)
        return _reply(message, counts, len(self.training.labels))

    def train(self, message: Message, context: Context) -> Message:
        """Train on the lender's rows, from the round's arrays and the lender's own moments."""
        config = message.content.config_records["config"]
        prepared = _prepared(_bytes(config, "prepared"))
        ensemble = self._ensemble(message)
        number = _whole(config, "server-round")
        turn = fitting.Turn(
            number=number,
            rounds=_whole(config, "rounds"),
            seed=(self.run_seed, number, self.number),
            proximal=float(config.get("proximal-mu", 0.0)),  # type: ignore[arg-type]
        )
        moments = _values(context.state.array_records.get(_MOMENTS, ArrayRecord()))
        part = fitting.Part(prepared.encoding, self.training.features, self.training.labels)
        loss, moments = fitting.train(ensemble, part, self._recipe(prepared), turn, moments)
        context.state[_MOMENTS] = _record(moments)
        metrics = MetricRecord({WEIGHT: len(part), "train_loss": loss})
        return Message(RecordDict({"arrays": _record(ensemble.arrays()), "metrics": metrics}), reply_to=message)

    def evaluate(self, message: Message, context: Context) -> Message:
        """Return sums over the held-out rows."""
        del context
        prepared = _prepared(_bytes(message.content.config_records["config"], "prepared"))
        part = fitting.Part(prepared.encoding, self.held_out.features, self.held_out.labels)
        sums = validation.sums_of(fitting.log_odds(self._ensemble(message), part), part.labels)
        return _reply(message, sums, len(part))

    def _ensemble(self, message: Message) -> Ensemble:
        plan = load_architecture(self.settings.architecture).plan(self.settings)
        return Ensemble(plan, _values(message.content.array_records["arrays"]))

    def _recipe(self, prepared: Prepared) -> fitting.Recipe:
        settings = self.settings
        rate = settings.learning_rate or load_architecture(settings.architecture).learning_rate
        bads = int(self.training.labels.sum())
        own = _log_odds(len(self.training.labels) - bads, bads)
        return fitting.Recipe(
            learning_rate=rate,
            weight_decay=settings.weight_decay,
            warm_up=settings.warm_up,
            steps=settings.steps,
            epochs=settings.local_epochs,
            offset=own - _log_odds(prepared.goods, prepared.bads) if settings.label_shift else 0.0,
        )


def _log_odds(goods: int, bads: int) -> float:
    """Return the log odds of being bad, half a row added to both sides so that none of them is empty."""
    return float(np.log((bads + 0.5) / (goods + 0.5)))


def _reply(message: Message, arrays: Mapping[str, NDArray[np.generic]], rows: int) -> Message:
    content = RecordDict({"arrays": _record(arrays), "metrics": MetricRecord({WEIGHT: rows})})
    return Message(content, reply_to=message)


def _record(arrays: Mapping[str, NDArray[np.generic]]) -> ArrayRecord:
    return ArrayRecord({name: pack(value) for name, value in arrays.items()})


def _values(record: ArrayRecord) -> dict[str, NDArray[np.generic]]:
    return {name: values(array) for name, array in record.items()}


@lru_cache(maxsize=2)
def _prepared(payload: bytes) -> Prepared:
    """Return what was prepared; it comes with every message and stays the same."""
    return Prepared.from_payload(payload)


def _whole(config: ConfigRecord, name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int):
        raise InvalidInputError(f"{name}: expected a whole number")
    return value


def _bytes(config: ConfigRecord, name: str) -> bytes:
    value = config.get(name)
    if not isinstance(value, bytes):
        raise InvalidInputError(f"{name}: expected bytes")
    return value


def _present(contract: FeatureContract | None) -> FeatureContract:
    if contract is None:
        raise InvalidInputError("the default model needs a feature contract")
    return contract


def make() -> Task:
    """Return the task."""
    return DefaultModel()
