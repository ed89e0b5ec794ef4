"""The active model, kept ready in memory, and scores of single applicants with it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jointrisk.errors import NotFoundError
from jointrisk.federation.contract import FeatureContract
from jointrisk.learning.reasons import Code, Groups
from jointrisk.learning.scoring import Scorer
from jointrisk_node.data.report import Breach
from jointrisk_node.models import ModelDesk
from jointrisk_node.models.personal import Mark, PersonalModels
from jointrisk_node.scoring.applicant import ApplicantCheck, Value
from jointrisk_node.scoring.scale import Scale

if TYPE_CHECKING:
    from jointrisk.learning.encoding import Rows

_AT_ONCE = 16  # applicants that are scored without leaving the event loop


@dataclass(frozen=True)
class ApplicantScore:
    """An applicant's score; without one where there are breaches.

    Attributes:
        pd: probability of default.
        points: whole score points.
        band: the risk band's name.
        breaches: rules of the contract that the applicant's values break.
        reasons: what speaks against the applicant, the strongest first.
    """

    pd: float = 0.0
    points: int = 0
    band: str = ""
    breaches: tuple[Breach, ...] = ()
    reasons: tuple[Code, ...] = ()


@dataclass(frozen=True)
class ReadyModel:
    """A model that can score at once.

    Attributes:
        model_id: its name.
        contract_version: of the feature contract that applicants are checked against.
        check: of applicants.
        scorer: the model.
        scale: points and bands.
        groups: what reasons are told of.
        mark: of its personalisation; None where it is the shared model as it is.
    """

    model_id: str
    contract_version: int
    check: ApplicantCheck
    scorer: Scorer
    scale: Scale
    groups: Groups
    mark: Mark | None = None

    def score(self, applicants: Sequence[Mapping[str, Value]], reasons: int = 0) -> list[ApplicantScore]:
        """Score applicants, in their order.

        Args:
            applicants: their values.
            reasons: how many to tell for each at most.

        Raises:
            InvalidInputError: an applicant has features that the contract does not have.
            RefusedError: reasons are asked for, and the model is of before there were any.
        """
        import numpy as np

        checked = [self.check.check(values) for values in applicants]
        sound = [place for place, one in enumerate(checked) if not one.breaches]
        results = [ApplicantScore(breaches=one.breaches) for one in checked]
        if sound:
            rows = np.stack([checked[place].row for place in sound])
            scores, codes = self.scale.scores(self.scorer.log_odds(rows)), self._codes(rows, reasons)
            for place, pd, points, band, own in zip(sound, scores.pd, scores.points, scores.band, codes, strict=True):
                results[place] = ApplicantScore(float(pd), int(points), self.scale.names[band], reasons=own)
        return results

    def _codes(self, rows: "Rows", reasons: int) -> Sequence[tuple[Code, ...]]:
        if not reasons:
            return [()] * len(rows)
        return self.groups.codes(self.scorer.contributions(rows).values, reasons)


class ScoringDesk:
    """Scores single applicants with whatever model is active.

    Args:
        models: the models of this node.
        contract: returns a version of the feature contract that this node has verified. Raises NotFoundError.
        scale: points and bands.
        personal: the personalised models of this node.
    """

    def __init__(
        self,
        models: ModelDesk,
        contract: Callable[[int], FeatureContract],
        scale: Scale,
        personal: PersonalModels,
    ) -> None:
        self._models = models
        self._personal = personal
        self._contract = contract
        self._scale = scale
        self._ready: ReadyModel | None = None
        self._state = -1

    async def ready(self) -> ReadyModel:
        """Return the active model; read and verified only after models were activated, retired or personalised.

        Raises:
            NotFoundError: no model is active.
            CorruptError, UnauthenticatedError: its file is not what was received.
        """
        state = self._models.ledger.changes
        if state != self._state or self._is_outdated():
            self._ready = await self._load()
            self._state = state
        if self._ready is None:
            raise NotFoundError(
                "no model is active at this node", remedy="Activate one: `jointrisk node models activate NAME`."
            )
        return self._ready

    async def score(
        self, applicants: Sequence[Mapping[str, Value]], reasons: int = 0
    ) -> tuple[ReadyModel, list[ApplicantScore]]:
        """Score applicants, and return with which model.

        Args:
            applicants: their values.
            reasons: how many to tell for each at most.

        Raises:
            NotFoundError: no model is active.
            InvalidInputError: an applicant has features that the contract does not have.
            RefusedError: reasons are asked for, and the model is of before there were any.
        """
        ready = await self.ready()
        # Reasons take a hundred times as long as scores.
        if len(applicants) <= _AT_ONCE and not reasons:
            return ready, ready.score(applicants)
        return ready, await asyncio.to_thread(ready.score, applicants, reasons)

    def _is_outdated(self) -> bool:
        """Tell whether a command has personalised the model, or ended that, since it was read: another process."""
        return self._ready is not None and self._personal.mark(self._ready.model_id) != self._ready.mark

    async def _load(self) -> ReadyModel | None:
        model = await asyncio.to_thread(self._models.ledger.active)
        if model is None:
            return None
        bundle = await self._models.bundle(model)
        facts = bundle.manifest.facts
        contract = await asyncio.to_thread(self._contract, facts.contract_version)
        # Before the file is read, so that one that comes meanwhile is noticed.
        mark = self._personal.mark(model.model_id)
        scorer = await asyncio.to_thread(self._personal.scorer, bundle)
        check, groups = ApplicantCheck(contract), Groups(contract)
        return ReadyModel(model.model_id, contract.version, check, scorer, self._scale, groups, mark)
