"""A lender's part in runs of the default model: what its client app answers, stage by stage.

What it answers follows from the message, its rows and its settings alone, so that a worker that begins again answers
the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from jointrisk.errors import DataBreachError, InvalidInputError, RefusedError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning import blend, preparation, validation
from jointrisk.learning.aggregation import WEIGHT
from jointrisk.learning.architectures import fitting, load_architecture, trees
from jointrisk.learning.flower import ArrayRecord, ClientApp, ConfigRecord, Context, Message, MetricRecord, RecordDict
from jointrisk.learning.preparation import Prepared
from jointrisk.learning.tasks import Assignment, MemberData, stages
from jointrisk.learning.tasks.records import arrays_of, bytes_of, record, reply, text_of, under, whole_number
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.learning.trees.tree import Arrays

WEIGH = "weigh"
"""The action that asks for the losses of a blend's weightings."""

_MOMENTS = "adamw"
Floats = NDArray[np.float64]


def client_app(assignment: Assignment) -> ClientApp:
    """Return a member's app.

    Raises:
        DataBreachError: there are too few rows to hold some out.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    lender, app = Lender(assignment), ClientApp()
    app.query("coarse")(lender.count_coarsely)
    app.query("fine")(lender.count_finely)
    app.train()(lender.train)
    app.train(WEIGH)(lender.weigh)
    for kind in trees.KINDS:
        app.train(kind)(lender.level(kind))
    app.evaluate()(lender.evaluate)
    return app


@dataclass(frozen=True)
class _Asked:
    """What every message of a round says."""

    stage: str
    number: int
    planned: int
    prepared: Prepared
    shifts: bool
    proximal: float
    arrays: Arrays

    @classmethod
    def of(cls, message: Message, settings: DefaultModelSettings) -> "_Asked":
        """Read a message.

        Raises:
            RefusedError: it is of a stage that the run does not have.
        """
        config = message.content.config_records["config"]
        stage = text_of(config, "stage")
        if stage not in stages.names(settings):
            raise RefusedError("expected a stage that the run's settings have, got another")
        return cls(
            stage=stage,
            number=whole_number(config, "server-round"),
            planned=whole_number(config, "rounds"),
            prepared=_prepared(bytes_of(config, "prepared")),
            shifts=bool(config.get(stages.SHIFT, 0)),
            proximal=_number(config, "proximal-mu"),
            arrays=arrays_of(message.content.array_records["arrays"]),
        )


class Lender:
    """One member: its rows, in two parts, and what it was asked.

    Args:
        assignment: what it has accepted to do.

    Raises:
        DataBreachError: there are too few rows to hold some out.
    """

    def __init__(self, assignment: Assignment) -> None:
        settings, data = assignment.settings, assignment.data
        if not isinstance(settings, DefaultModelSettings) or data is None or assignment.contract is None:
            raise InvalidInputError("the default model needs its settings, rows and a feature contract")
        out = validation.held_out(len(data.labels), settings.held_out)
        if not out.any() or out.all():
            raise DataBreachError(f"rows: expected enough to hold some out, got {len(out)}")
        self._settings = settings
        self._run_seed, self._number, self._rounds = assignment.run_seed, assignment.number, assignment.rounds
        self._contract: FeatureContract = assignment.contract
        self._all = data
        self._picking, self._held_out = (MemberData(data.features[part], data.labels[part]) for part in (~out, out))
        self._begun: dict[str, tuple[Prepared, trees.TreeMember]] = {}

    def count_coarsely(self, message: Message, context: Context) -> Message:
        """Count on the grid that everybody knows."""
        del context
        rows, labels = self._picking.features, self._picking.labels
        counts = preparation.coarse_counts(self._contract, rows, labels, self._held_out.labels)
        return reply(message, counts, len(labels))

    def count_finely(self, message: Message, context: Context) -> Message:
        """Count inside the intervals that were sent."""
        del context
        sent = arrays_of(message.content.array_records["arrays"])
        intervals = [np.asarray(sent[name], dtype=np.float64) for name in sorted(sent)]
        counts = preparation.fine_counts(self._contract, self._picking.features, intervals)
        return reply(message, counts, len(self._picking.labels))

    def train(self, message: Message, context: Context) -> Message:
        """Train on the lender's rows, from the round's arrays and the lender's own moments."""
        asked = _Asked.of(message, self._settings)
        ensemble, rows = self._ensemble(asked.stage, asked.arrays, asked.prepared), self._rows(asked.stage)
        seed = (self._run_seed, asked.number, self._number)
        turn = fitting.Turn(number=asked.number, rounds=asked.planned, seed=seed, proximal=asked.proximal)
        # Those of another stage, from which a member was away since, are none of this one's.
        moments_of = f"{_MOMENTS}/{asked.stage}"
        kept = context.state.array_records.get(moments_of, ArrayRecord())
        part = fitting.Part(asked.prepared.encoding, rows.features, rows.labels)
        offset = self._offset(asked.stage, asked.prepared) if asked.shifts else 0.0
        recipe = recipe_of(self._settings, stages.architecture_of(asked.stage), offset)
        loss, moments = fitting.train(ensemble, part, recipe, turn, arrays_of(kept))
        context.state.clear()
        context.state[moments_of] = record(moments)
        metrics = MetricRecord({WEIGHT: len(part), "train_loss": loss})
        return Message(RecordDict({"arrays": record(ensemble.arrays()), "metrics": metrics}), reply_to=message)

    def level(self, kind: str) -> Callable[[Message, Context], Message]:
        """Return what answers for a level of a tree."""

        def answer(message: Message, context: Context) -> Message:
            context.state.clear()  # moments of networks, whose stage is over
            asked = _Asked.of(message, self._settings)
            sums = self._trees(asked.stage, asked.prepared).level(kind, asked.arrays)
            return reply(message, sums, len(self._rows(asked.stage).labels))

        return answer

    def weigh(self, message: Message, context: Context) -> Message:
        """Return the losses of every weighting of the parts over the held-out rows."""
        del context
        asked = _Asked.of(message, self._settings)
        each = [self._log_odds(part, under(part, asked.arrays), asked.prepared) for part in self._settings.parts]
        return reply(message, blend.sums_of(np.stack(each), self._held_out.labels), len(self._held_out.labels))

    def evaluate(self, message: Message, context: Context) -> Message:
        """Return sums over the held-out rows."""
        del context
        asked = _Asked.of(message, self._settings)
        if stages.uses_all_rows(asked.stage):
            raise RefusedError("expected a stage that leaves rows for evaluation, got one that trains on all")
        log_odds = self._log_odds(asked.stage, asked.arrays, asked.prepared)
        return reply(message, validation.sums_of(log_odds, self._held_out.labels), len(self._held_out.labels))

    def _log_odds(self, stage: str, arrays: Arrays, prepared: Prepared) -> Floats:
        """Return the log odds of the held-out rows."""
        if stage == stages.WEIGHTS:
            parts = self._settings.parts
            each = [self._log_odds(part, under(part, arrays), prepared) for part in parts]
            return blend.blended(each, np.asarray(arrays[stages.WEIGHTS], dtype=np.float64).tolist())
        if stage == "trees":
            return self._trees(stage, prepared).held_out_log_odds(arrays)
        part = fitting.Part(prepared.encoding, self._held_out.features, self._held_out.labels)
        return fitting.log_odds(self._ensemble(stage, arrays, prepared), part).astype(np.float64)

    def _rows(self, stage: str) -> MemberData:
        return self._all if stages.uses_all_rows(stage) else self._picking

    def _ensemble(self, stage: str, arrays: Arrays, prepared: Prepared) -> fitting.Ensemble:
        plan = load_architecture(stages.architecture_of(stage)).plan(self._settings)
        return plan.ensemble(prepared.encoding, arrays)

    def _trees(self, stage: str, prepared: Prepared) -> trees.TreeMember:
        """Return what is known of rows and trees in a stage; made of its first message."""
        begun = self._begun.get(stage)
        if begun is None:
            self._begun.clear()
            begun = self._begun[stage] = prepared, self._begin(stage, prepared)
        if begun[0] is not prepared and begun[0] != prepared:
            raise RefusedError("expected the counts that the run began with, got others")
        return begun[1]

    def _begin(self, stage: str, prepared: Prepared) -> trees.TreeMember:
        counted = prepared.with_all_rows() if stages.uses_all_rows(stage) else prepared
        terms = trees.terms_of(self._settings, self._contract, counted, run_seed=self._run_seed, rounds=self._rounds)
        offset = self._offset(stage, counted) if self._settings.label_shift == "on" else 0.0
        return trees.TreeMember(terms, self._rows(stage), self._held_out, offset)

    def _offset(self, stage: str, prepared: Prepared) -> float:
        """Return how far the lender's log odds are from the common ones."""
        labels = self._rows(stage).labels
        bads = int(labels.sum())
        return _log_odds_of(len(labels) - bads, bads) - _log_odds_of(prepared.goods, prepared.bads)


def recipe_of(settings: DefaultModelSettings, architecture: str, offset: float) -> fitting.Recipe:
    """Return how networks are trained: what the settings leave open is the architecture's own.

    Args:
        settings: the task's.
        architecture: of the networks.
        offset: added to log odds in training.
    """
    usual = load_architecture(architecture)
    return fitting.Recipe(
        learning_rate=settings.learning_rate or usual.learning_rate,
        weight_decay=settings.weight_decay or usual.weight_decay,
        warm_up=settings.warm_up,
        steps=settings.steps or usual.steps,
        epochs=settings.local_epochs,
        offset=offset,
    )


def _log_odds_of(goods: int, bads: int) -> float:
    """Return the log odds of being bad, half a row added to both sides so that none of them is empty."""
    return float(np.log((bads + 0.5) / (goods + 0.5)))


def _number(config: ConfigRecord, name: str) -> float:
    value = config.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


@lru_cache(maxsize=2)
def _prepared(payload: bytes) -> Prepared:
    """Return what was prepared; it comes with every message and stays the same."""
    return Prepared.from_payload(payload)
