"""Scoring files and queries as a stream: batches of applications in, result tables out."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jointrisk.learning.scoring import Scorer
from jointrisk_node.data.applications import ApplicationBatch, Applications
from jointrisk_node.scoring.reason_columns import ReasonColumns
from jointrisk_node.scoring.scale import Scale

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[int], None]
"""Told from time to time how many rows have been scored."""

OWN_COLUMNS = ("row", "pd", "points", "band", "reason")
"""What a result table has beside the columns that are carried along."""


@dataclass
class ScoreReport:
    """What came of a scoring pass: numbers of rows and rules, never a value.

    Attributes:
        rows: how many rows there were.
        scored: how many of them have a score.
        bands: how many of those are in each band.
        breaches: how often each rule of the contract was broken, by column and rule.
    """

    rows: int = 0
    scored: int = 0
    bands: Counter[str] = field(default_factory=Counter)
    breaches: Counter[tuple[str, str]] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        broken = [
            {"column": column, "rule": rule, "rows": count} for (column, rule), count in sorted(self.breaches.items())
        ]
        return {"rows": self.rows, "scored": self.scored, "bands": dict(self.bands), "breaches": broken}


class BatchScoring:
    """One pass over applications.

    Args:
        applications: what is scored.
        scorer: the model.
        scale: points and bands.
        reasons: what is told of why; None to tell nothing.
    """

    def __init__(
        self, applications: Applications, scorer: Scorer, scale: Scale, reasons: ReasonColumns | None = None
    ) -> None:
        self._applications = applications
        self._scorer = scorer
        self._scale = scale
        self._told = reasons
        self.report = ScoreReport()

    def tables(self, progress: Progress | None = None) -> "Iterator[pa.Table]":
        """Yield the result of every batch: row, columns carried along, pd, points, band, reason, and reasons.

        A row that breaks the contract has the reason and no score.

        Raises:
            JointriskError: the source cannot be read; see `Applications.batches`.
            RefusedError: reasons are asked for, and the model is of before there were any.
        """
        for batch in self._applications.batches():
            yield self._table(batch)
            if progress is not None:
                progress(self.report.rows)

    def _table(self, batch: ApplicationBatch) -> "pa.Table":
        import numpy as np
        import pyarrow as pa

        sound = batch.sound
        every = bool(sound.all())
        places = np.cumsum(sound) - 1
        absent = None if every else ~sound
        rows = batch.features if every else batch.features[sound]
        scores = self._scale.scores(self._scorer.log_odds(rows))
        self._count(batch, scores.band)
        taken = pa.array(np.maximum(places, 0), mask=absent)
        bands = pa.array(self._scale.names).take(pa.array(scores.band))
        columns = {"row": pa.array(batch.numbers), **batch.kept}
        columns |= {"pd": pa.array(scores.pd).take(taken), "points": pa.array(scores.points).take(taken)}
        columns |= {"band": bands.take(taken), "reason": self._reasons(batch, sound)}
        if self._told is not None:
            told = self._told.columns(self._scorer.contributions(rows))
            columns |= {name: column.take(taken) for name, column in told.items()}
        return pa.table(columns)

    def _reasons(self, batch: ApplicationBatch, sound: Any) -> "pa.Array":
        import numpy as np
        import pyarrow as pa

        if sound.all():
            return pa.nulls(len(sound), pa.string())
        reasons: list[str | None] = [None] * len(sound)
        for place in np.flatnonzero(~sound):
            breaches = self._applications.breaches(batch, int(place))
            reasons[place] = "; ".join(
                f"{breach.column}: {breach.rule} (expected {breach.expected})" if breach.column else str(breach.rule)
                for breach in breaches
            )
            self.report.breaches.update((breach.column, str(breach.rule)) for breach in breaches)
        return pa.array(reasons, pa.string())

    def _count(self, batch: ApplicationBatch, bands: Any) -> None:
        import numpy as np

        self.report.rows += len(batch.numbers)
        self.report.scored += len(bands)
        for number, count in zip(*np.unique(bands, return_counts=True), strict=True):
            self.report.bands[self._scale.names[number]] += int(count)
