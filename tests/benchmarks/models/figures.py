"""From what every split finds to the suite's measures: means and spreads over seeds, and the goals."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, stdev
from typing import Final

from benchmarks.models.jobs import Found
from benchmarks.models.shared import ORDER
from benchmarks.report import Measure

_CLOSE: Final = 0.002
"""How much below LightGBM the shared model may be on one set."""
_CALIBRATED: Final = 0.015
_MOST_CPU: Final = {"trees": 10.0, "mlp": 15.0}
"""Of one LightGBM fit."""
_BASELINES: Final = ("lightgbm", "xgboost", "logistic", "alone_mean")
_AUC, _GAIN = "AUC", "AUC difference"


def measures_of(found: Sequence[Found], said: str = "") -> list[Measure]:
    """Return the measures of all sets, and how the shared model compares over all of them.

    Args:
        found: of every set and seed.
        said: of how it was measured, for the table.
    """
    names = list(dict.fromkeys(one.loans for one in found))
    each = [measure for name in names for measure in _of_set([one for one in found if one.loans == name], said)]
    return [*each, *_over_lightgbm(found, said)]


def _of_set(found: Sequence[Found], said: str) -> Iterator[Measure]:
    name = found[0].loans
    lightgbm = fmean(one.auc["lightgbm"] for one in found)
    which = Counter(one.shared for one in found)
    note = "; ".join(filter(None, [f"{', '.join(which)}; {len(found)} seeds", said]))
    yield _mean(f"auc_shared_{name}", _AUC, found, _auc("shared"), lightgbm - _CLOSE, note)
    for baseline in _BASELINES:
        yield _mean(f"auc_{baseline}_{name}", _AUC, found, _auc(baseline))
    for architecture in (one for one in ORDER if one in found[0].spent):
        yield _mean(f"auc_{architecture}_{name}", _AUC, found, _auc(architecture))
        yield _cpu(name, architecture, found)
    yield from _own_books(name, found)
    yield _calibration(name, found)


def _auc(model: str) -> Callable[[Found], float]:
    return lambda found: found.auc[model]


def _mean(
    name: str,
    unit: str,
    found: Sequence[Found],
    value: Callable[[Found], float],
    goal: float | None = None,
    note: str = "",
) -> Measure:
    values = [value(one) for one in found]
    return Measure(name, fmean(values), unit, goal, "higher", spread=_spread(values), note=note)


def _cpu(name: str, architecture: str, found: Sequence[Found]) -> Measure:
    ratios = [one.spent[architecture].learning / one.lightgbm_seconds for one in found]
    transport = fmean(one.spent[architecture].transport / one.lightgbm_seconds for one in found)
    return Measure(
        f"train_cpu_ratio_to_lightgbm_{architecture}_{name}",
        fmean(ratios),
        "ratio",
        _MOST_CPU.get(architecture),
        spread=_spread(ratios),
        note=f"transport apart: {transport:.1f}",
    )


def _own_books(name: str, found: Sequence[Found]) -> Iterator[Measure]:
    gains = [fmean(book.gain for book in one.own) for one in found]
    pooled = [fmean(book.pooled - book.alone for book in one.own) for one in found]
    least, seed = min(((book, one.seed) for one in found for book in one.own), key=lambda pair: pair[0].gain)
    below = [(book, one.seed) for one in found for book in one.own if book.below]
    mean = fmean(pooled)
    yield Measure(f"own_book_gain_mean_{name}", fmean(gains), _GAIN, mean, "higher", spread=_spread(gains))
    worst = f"{least.lender}, {least.rows} rows, error {least.error:.4f}, seed {seed}"
    yield Measure(f"own_book_gain_min_{name}", least.gain, _GAIN, None, "higher", note=worst)
    yield Measure(f"own_book_gain_pooled_lightgbm_{name}", mean, _GAIN, None, "higher", spread=_spread(pooled))
    told = "; ".join(f"{book.lender}, {book.rows} rows, seed {seed}: {book.gain:+.4f}" for book, seed in below)
    books = sum(len(one.own) for one in found)
    yield Measure(f"own_book_below_{name}", len(below), f"of {books} books", 0, note=told)


def _calibration(name: str, found: Sequence[Found]) -> Measure:
    # The strictest of the seeds' bars.
    bar = max(_CALIBRATED, min(one.ece_by_chance for one in found))
    errors = [one.ece for one in found]
    return Measure(f"ece_max_{name}", max(errors), "share", bar, spread=_spread(errors))


def _over_lightgbm(found: Sequence[Found], said: str) -> Iterator[Measure]:
    """Yield the mean paired difference over sets and seeds, and its standard error."""
    differences = [one.auc["shared"] - one.auc["lightgbm"] for one in found]
    error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    note = "; ".join(filter(None, [f"paired, {len(differences)} splits, standard error {error:.4f}", said]))
    yield Measure("auc_shared_over_lightgbm", fmean(differences), _GAIN, 0.0, "higher", note=note)
    yield Measure("auc_shared_over_lightgbm_se", error, _GAIN)


def _spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation over seeds."""
    return stdev(values) if len(values) > 1 else None
