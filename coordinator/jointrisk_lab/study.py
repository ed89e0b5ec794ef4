"""The study: alone, shared, personalised and pooled, on the common test and on own books, for each seed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from jointrisk.errors import InvalidInputError
from jointrisk.learning import personal
from jointrisk.learning.areas import area, difference
from jointrisk.learning.local import Local
from jointrisk.learning.scoring import Scorer
from jointrisk.learning.tasks import MemberData
from jointrisk.learning.tasks.settings import DefaultModelSettings
from jointrisk.learning.validation import held_out
from jointrisk_coordinator.runs.settings import RunSettings
from jointrisk_lab.one_process import Trained, train
from jointrisk_lab.reading import Lender, Say, Split, Wanted, open_tables

VALIDATION_SHARE = 0.15
"""Of a lender's book; decides on rounds, architecture and the personalised stage."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """What came out, as `lab.json` has it.

    Attributes:
        mean: over the seeds: ``common``, ``alone``, ``pooled_lightgbm``, ``own``, and ``test_rows`` and ``common_se``.
        seeds: the same of each.
    """

    mean: dict[str, Any]
    seeds: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain data: the mean's keys, and every seed's."""
        return self.mean | {"seeds": list(self.seeds)}


def architectures() -> tuple[str, ...]:
    """Return the names of all there are."""
    return tuple(get_args(DefaultModelSettings.model_fields["architecture"].annotation))


def study(wanted: Wanted, names: Sequence[str], seeds: Iterable[int], rounds: int | None, *, say: Say) -> Result:
    """Read, train and compare.

    Args:
        wanted: which tables.
        names: architectures; none for all.
        seeds: of splits and trainings.
        rounds: of a run; None for what is usual.
        say: told what goes on.

    Raises:
        InvalidInputError: there is no such architecture, or the tables cannot be used; see `open_tables`.
    """
    if unknown := sorted(set(names) - set(architectures())):
        raise InvalidInputError(f"expected architectures of {', '.join(architectures())}, got {', '.join(unknown)}")
    said = set[str]()

    def say_once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    with open_tables(wanted, say_once) as tables:
        say(f"{len(tables.names)} lenders: {', '.join(tables.names)}")
        found = [of_split(tables.split(seed), seed, names or architectures(), rounds, say) for seed in seeds]
    return Result(_mean(found), tuple(found))


def of_split(split: Split, seed: int, names: Sequence[str], rounds: int | None, say: Say) -> dict[str, Any]:
    """Return the figures of one seed, as `lab.json` has them."""
    return _Seed(split, seed, say).figures(names, rounds)


class _Seed:
    """One split and all that is fitted to it."""

    def __init__(self, split: Split, seed: int, say: Say) -> None:
        self._split = split
        self._seed = seed
        self._say = say
        self._labels = np.concatenate([lender.test.labels for lender in split.lenders])

    def figures(self, names: Sequence[str], rounds: int | None) -> dict[str, Any]:
        """Fit everything and return the figures."""
        shared = {name: self._shared(name, rounds) for name in names}
        # By validation rows alone.
        best = min(shared, key=lambda name: shared[name].log_loss)
        self._say(f"seed {self._seed}: alone and pooled")
        alone = {lender.name: self._local(lender.book) for lender in self._split.lenders}
        pooled = self._local(_joined([lender.book for lender in self._split.lenders]))
        own = [self._own(lender, shared[best], alone[lender.name]) for lender in self._split.lenders]
        return {
            "seed": self._seed,
            "test_rows": len(self._labels),
            "shared": best,
            "common": {name: self._common(one.model.log_odds) for name, one in shared.items()},
            "common_se": area(self._labels, self._scores(shared[best].model.log_odds)).error,
            "alone": {name: self._common(model.log_odds) for name, model in alone.items()},
            "pooled_lightgbm": self._common(pooled.log_odds),
            "own": [one | {"pooled_lightgbm": self._on_own(one["lender"], pooled)} for one in own],
        }

    def _shared(self, name: str, rounds: int | None) -> Trained:
        self._say(f"seed {self._seed}: shared, {name}")
        asked: dict[str, Any] = {
            "task_settings": {"architecture": name, "held_out": VALIDATION_SHARE},
            "run_seed": self._seed,
            "aggregation": "plain",
            "minimum_members": len(self._split.lenders),
        }
        settings = RunSettings.model_validate(asked | ({} if rounds is None else {"rounds": rounds}))
        # Names of lenders are the tables' and could be anything.
        books = {f"lender-{place}": lender.book for place, lender in enumerate(self._split.lenders, start=1)}
        with TemporaryDirectory(prefix="jointrisk-lab-") as folder:
            return train(Path(folder) / "run", settings, self._split.contract, books)

    def _local(self, data: MemberData) -> Local:
        return Local.fit(self._split.contract, data, self._seed)

    def _own(self, lender: Lender, shared: Trained, alone: Local) -> dict[str, Any]:
        """Return a lender's figures on its own test rows."""
        labels, rows = lender.test.labels, lender.test.features
        ours, theirs = alone.log_odds(rows), shared.model.log_odds(rows)
        mixed = self._personal(lender, shared.picked).log_odds(theirs, ours)
        gain = difference(labels, mixed, ours)
        return {
            "lender": lender.name,
            "rows": len(lender.book.labels) + len(labels),
            "alone": area(labels, ours).value,
            "shared": area(labels, theirs).value,
            "personalised": area(labels, mixed).value,
            "se": gain.error,
        }

    def _personal(self, lender: Lender, shared: Scorer) -> personal.Personal:
        """Choose on the rows that the run held out too, with models that have not seen them."""
        book = lender.book
        out = held_out(len(book.labels), VALIDATION_SHARE)
        model = self._local(MemberData(book.features[~out], book.labels[~out]))
        rows = book.features[out]
        return personal.choose(shared.log_odds(rows), model.log_odds(rows), book.labels[out])

    def _scores(self, log_odds: Callable[[NDArray[np.float32]], Scores]) -> Scores:
        return np.concatenate([log_odds(lender.test.features) for lender in self._split.lenders])

    def _common(self, log_odds: Callable[[NDArray[np.float32]], Scores]) -> float:
        return area(self._labels, self._scores(log_odds)).value

    def _on_own(self, name: str, model: Local) -> float:
        lender = next(one for one in self._split.lenders if one.name == name)
        return area(lender.test.labels, model.log_odds(lender.test.features)).value


def _joined(books: Sequence[MemberData]) -> MemberData:
    return MemberData(np.concatenate([b.features for b in books]), np.concatenate([b.labels for b in books]))


def _mean(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of every number; lenders are the same in all seeds. A mean of errors is an upper bound."""
    first = found[0]
    return {
        "test_rows": first["test_rows"],
        "common": {name: fmean(one["common"][name] for one in found) for name in first["common"]},
        "common_se": fmean(one["common_se"] for one in found),
        "alone": {name: fmean(one["alone"][name] for one in found) for name in first["alone"]},
        "pooled_lightgbm": fmean(one["pooled_lightgbm"] for one in found),
        "own": [_mean_own([one["own"][place] for one in found]) for place in range(len(first["own"]))],
    }


def _mean_own(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    figures = ("alone", "shared", "personalised", "se", "pooled_lightgbm")
    return {"lender": found[0]["lender"], "rows": found[0]["rows"]} | {
        name: fmean(one[name] for one in found) for name in figures
    }
